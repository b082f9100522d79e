/* SPDX-License-Identifier: Apache-2.0 */

/* The list of allowed directories. See files/place.c for how paths are opened under it. */

#include "agent/files/roots.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/base/workspace.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

/* Resolves what exists of @path; the rest stays text, so that a link which is made there later does not count. */
static int resolve(const char *path, char **ret, struct error *err)
{
        CLEANUP(mem_free) char *plain = NULL;
        size_t end;
        int r;

        if (path[0] != '/')
                return error_set_field(err, -EINVAL, "", "allowed path %s is not absolute", path);
        r = path_normalize("/", path, &plain, err);
        if (r < 0)
                return r;

        end = strlen(plain);
        for (;;) {
                CLEANUP(mem_free) char *head = xstrndup(plain, MAX(end, (size_t)1));
                CLEANUP(mem_free) char *real = realpath(head, NULL);
                const char *rest = plain[end] ? plain + end + (end == 0) : "";

                if (real) {
                        const char *separator = *rest && *rest != '/' && real[1] ? "/" : "";
                        CLEANUP(mem_free)
                        char *joined = xasprintf("%s%s%s", real, separator, rest);

                        return path_normalize("/", joined, ret, err);
                }
                if (errno != ENOENT || end == 0)
                        return error_set(err, -errno, "allowed path %s", path);
                while (end > 0 && plain[--end] != '/')
                        ;
        }
}

static bool probe_openat2(void)
{
        struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
        long fd = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

        if (fd < 0)
                return false;
        (void)fd_close((int)fd);
        return true;
}

static int add(struct roots *r, const char *path, struct error *err)
{
        char *real = NULL;
        int ret = resolve(path, &real, err);

        if (ret < 0)
                return ret;
        r->paths = strv_append(r->paths, real);
        return 0;
}

/* See the header. */
int roots_new(const struct roots_config *config, struct roots **ret, struct error *err)
{
        CLEANUP(roots_free) struct roots *roots = xnew(struct roots);
        int r;

        r = files_user_init(&roots->user, config->uid, config->gid, config->groups,
                            config->n_groups);
        if (r < 0)
                return error_set(err, r, "groups");
        r = add(roots, config->workspace, err);
        if (r < 0)
                return r;
        for (char *const *p = config->allowed; p && *p; p++) {
                r = add(roots, *p, err);
                if (r < 0)
                        return r;
        }
        r = path_normalize("/", config->workspace, &roots->workspace, err);
        if (r < 0)
                return r;

        roots->has_name = !roots_are_below(roots, WORKSPACE_NAME);
        roots->has_openat2 = probe_openat2();
        place_prepare();
        *ret = STEAL(roots);
        return 0;
}

/* See the header. */
struct roots *roots_free(struct roots *r)
{
        if (!r)
                return NULL;

        files_user_done(&r->user);
        free(r->workspace);
        (void)strv_free(r->paths);
        free(r);
        return NULL;
}

/* See the header. */
bool roots_allow(const struct roots *r, const char *path)
{
        if (path[0] != '/')
                return false; /* "(unreachable)/..." is the kernel's name for what is not below our root */
        for (char **p = r->paths; *p; p++)
                if (path_is_under(path, *p))
                        return true;
        return false;
}

/* See the header. */
bool roots_are_below(const struct roots *r, const char *path)
{
        for (char **p = r->paths; *p; p++)
                if (path_is_under(*p, path))
                        return true;
        return false;
}

/* See the header. */
bool roots_allow_making(const struct roots *r, const char *path)
{
        return roots_allow(r, path) || roots_are_below(r, path);
}

/* See the header. */
int roots_enter(const struct roots *r, struct files_scope *scope, const char *path,
                struct error *err)
{
        int ret = files_scope_enter(scope, &r->user);

        return ret < 0 ? files_fail_errno(err, ret, path) : 0;
}
