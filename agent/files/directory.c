/* SPDX-License-Identifier: Apache-2.0 */

/* mkdir -p */

#include "agent/files/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

/* The mode that was asked for goes past the umask. */
static int set_mode(int dir, const char *name, mode_t mode)
{
        CLEANUP(fd_close)
        int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        char path[PLACE_FD_PATH_SIZE];

        if (fd < 0 || chmod(place_fd_path(fd, path), mode) < 0)
                return -errno;
        return 0;
}

static int make(const struct place *p, int mode)
{
        mode_t first = mode == DIRECTORY_MODE_DEFAULT ? 0777 : (mode_t)mode & 0777;

        if (mkdirat(p->dir, p->name, first) < 0)
                return -errno;
        return mode == DIRECTORY_MODE_DEFAULT ? 0 : set_mode(p->dir, p->name, (mode_t)mode & 07777);
}

/* See the header. */
int directory_make(const struct roots *roots, const char *path, int mode, bool make_parents,
                   bool *ret_is_created, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        bool is_created = false;
        int r;

        r = roots_enter(roots, &scope, path, err);
        if (r != 0)
                return r;
        /* Also for paths such as "a/.." and for an allowed directory itself, which are no names in a directory. */
        r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r == FILES_E_NOT_FOUND) {
                r = place_find(roots, path, PLACE_CREATE, make_parents ? 0777 : 0, &p, err);
                if (r != 0)
                        return explain_missing_parent(roots, path, r, err);
                if (p.fd < 0) {
                        r = make(&p, mode);
                        is_created = r == 0;
                        if (r == -EEXIST) { /* another one was faster */
                                place_done(&p);
                                r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
                                if (r != 0)
                                        return r;
                        }
                        if (r < 0)
                                return files_fail_errno(err, r, path);
                }
        }
        if (r != 0)
                return r;
        if (p.fd >= 0 && !S_ISDIR(p.st.st_mode))
                return files_fail(err, FILES_E_EXISTS, path);
        if (ret_is_created)
                *ret_is_created = is_created;
        return 0;
}
