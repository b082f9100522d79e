/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/workdir.h"

#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/config.h"

#define SDK_WORKSPACE "/workspace"

/* The SDKs name it in every call. Where the workspace is elsewhere, and there is no such directory, that is what they
 * mean. */
static bool means_workspace(const char *workdir)
{
        return str_equal(workdir, SDK_WORKSPACE) && access(SDK_WORKSPACE, F_OK) < 0;
}

/* See the header. */
int workdir_resolve(const struct config *config, const char *workdir, char **ret, struct error *err)
{
        if (workdir && !means_workspace(workdir))
                return path_normalize(config->workspace, workdir, ret, err);
        *ret = xstrdup(config->workspace);
        return 0;
}
