/* SPDX-License-Identifier: Apache-2.0 */

/* The build directory mirrors the source tree, so a shim beside the program tells that it was not installed. */

#include "agent/install.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "build_config.h"

static struct {
        char shim[PATH_MAX + 32];
        char keeper[PATH_MAX + 32];
        char driver_dir[PATH_MAX + 32];
} found;

static void find(void)
{
        char self[PATH_MAX] = "";
        ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);
        char *slash = size > 0 ? strrchr(self, '/') : NULL;

        if (slash) {
                *slash = '\0';
                snprintf(found.shim, sizeof(found.shim), "%s/agent-shim", self);
                snprintf(found.keeper, sizeof(found.keeper), "%s/agent-keeper", self);
                snprintf(found.driver_dir, sizeof(found.driver_dir), "%s/proc/runtimes", self);
                if (access(found.shim, X_OK) == 0 && access(found.driver_dir, R_OK) == 0)
                        return;
        }
        snprintf(found.shim, sizeof(found.shim), "%s/agent-shim", VM_AGENT_LIBEXECDIR);
        snprintf(found.keeper, sizeof(found.keeper), "%s/agent-keeper", VM_AGENT_LIBEXECDIR);
        snprintf(found.driver_dir, sizeof(found.driver_dir), "%s/runtimes", VM_AGENT_LIBEXECDIR);
}

/* The exec shim's path. */
const char *install_shim(void)
{
        if (!found.shim[0])
                find();
        return found.shim;
}

/* The path of the parent of background jobs. */
const char *install_keeper(void)
{
        if (!found.keeper[0])
                find();
        return found.keeper;
}

/* The directory of the language drivers. */
const char *install_driver_dir(void)
{
        if (!found.driver_dir[0])
                find();
        return found.driver_dir;
}

/* See the header. */
int install_check(struct error *err)
{
        if (access(install_shim(), X_OK) < 0)
                return error_set(err, -errno, "exec shim %s (is the installation complete?)",
                                 install_shim());
        if (access(install_keeper(), X_OK) < 0)
                return error_set(err, -errno, "keeper of jobs %s (is the installation complete?)",
                                 install_keeper());
        if (access(install_driver_dir(), R_OK | X_OK) < 0)
                return error_set(err, -errno, "language drivers %s (is the installation complete?)",
                                 install_driver_dir());
        return 0;
}
