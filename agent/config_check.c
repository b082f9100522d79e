/* SPDX-License-Identifier: Apache-2.0 */

/* What one row of the option table cannot know: whether the options make sense together, and on this machine. */

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/listen.h"

#define MIN_MEMORY MIB

static int check_path(const char *option, const char *path, struct error *err)
{
        if (!path || path[0] != '/')
                return error_set_field(err, -EINVAL, "", "%s: must be an absolute path", option);
        return 0;
}

static int check_paths(const struct config *c, struct error *err)
{
        int r;

        r = check_path("workspace", c->workspace, err);
        if (r < 0)
                return r;
        r = check_path("runtime-dir", c->runtime_dir, err);
        if (r < 0)
                return r;
        r = check_path("state-dir", c->state_dir, err);
        if (r < 0)
                return r;
        for (size_t i = 0; r == 0 && i < strv_len(c->allowed_paths); i++)
                r = check_path("allowed-path", c->allowed_paths[i], err);
        return r;
}

static int check_user(const char *name, struct error *err)
{
        struct passwd entry;
        struct passwd *found;
        char memory[16 * KIB];
        int r;

        r = getpwnam_r(name, &entry, memory, sizeof(memory), &found);
        if (r > 0)
                return error_set(err, -r, "run-as: look up user '%.64s'", name);
        if (!found)
                return error_set_field(err, -EINVAL, "", "run-as: there is no user '%.64s'", name);
        if (geteuid() != 0 && found->pw_uid != geteuid())
                return error_set_field(err, -EPERM, "",
                                       "run-as: only root can run code as another user");
        return 0;
}

/* An origin as browsers send it: scheme, host, perhaps a port; anything else would never match. */
static int check_origin(const char *origin, struct error *err)
{
        const char *host = strstr(origin, "://");

        if (str_equal(origin, "*"))
                return 0;
        if (!host || host == origin || strlen(host) == strlen("://") ||
            strpbrk(host + strlen("://"), "/?#* ,"))
                return error_set_field(
                        err, -EINVAL, "",
                        "cors-origin: must be * or SCHEME://HOST[:PORT], got '%.64s'", origin);
        return 0;
}

static int check_limits(const struct config *c, struct error *err)
{
        if (c->max_output_total < c->max_output)
                return error_set_field(err, -EINVAL, "",
                                       "max-output-total: must not be less than max-output");
        if (c->max_memory > 0 && c->max_memory < MIN_MEMORY)
                return error_set_field(err, -EINVAL, "",
                                       "max-memory: must be 0 (no limit) or at least 1M");
        return 0;
}

/* Everything that can be found out without opening the socket or reading the key. */
int config_check(const struct config *c, struct error *err)
{
        struct sockaddr_storage address;
        socklen_t len;
        int r;

        r = listen_parse(c->listen, &address, &len, err);
        if (r < 0)
                return error_wrap(err, "listen");
        r = check_paths(c, err);
        if (r < 0)
                return r;
        if (!c->jwt_secret_file)
                return error_set_field(
                        err, -EINVAL, "",
                        "jwt-secret-file: required: name a file with a secret of at least 32 bytes");
        if (c->run_as) {
                r = check_user(c->run_as, err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < strv_len(c->cors_origins); i++) {
                r = check_origin(c->cors_origins[i], err);
                if (r < 0)
                        return r;
        }
        return check_limits(c, err);
}
