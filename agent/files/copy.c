/* SPDX-License-Identifier: Apache-2.0 */

/* cp -r, to a temporary name and then to the right one. */

#include "agent/files/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/files/copy_tree.h"
#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

/* May a copy of @from take the place @to? What would fail at the end fails here, before anything is copied. */
static int check_target(const struct place *from, const struct place *to, bool overwrite)
{
        bool is_directory = S_ISDIR(from->st.st_mode);

        if (is_directory && path_is_under(to->path, from->path))
                return -EINVAL; /* into itself */
        if (to->fd < 0)
                return 0;
        if (!overwrite)
                return -EEXIST;
        if (to->st.st_dev == from->st.st_dev && to->st.st_ino == from->st.st_ino)
                return -EINVAL; /* onto itself */
        if (S_ISDIR(to->st.st_mode))
                return is_directory ? 0 : -EISDIR;
        if (!S_ISREG(to->st.st_mode))
                return -ENXIO;
        return is_directory ? -ENOTDIR : place_check_writable(to);
}

/* Is it the new place that has made a copy fail with @r? */
static bool is_target_guilty(int r, const struct place *to)
{
        enum files_outcome outcome = files_outcome(r);

        if (outcome == FILES_E_NO_SPACE || outcome == FILES_E_READ_ONLY)
                return true;
        return outcome == FILES_E_DENIED && place_check_changeable(to->dir) < 0;
}

/* -EINVAL of check_target. */
static int fail_itself(const struct place *from, const char *to, struct error *err)
{
        return files_fail_saying(err, FILES_E_INVALID,
                                 S_ISDIR(from->st.st_mode)
                                         ? "A directory cannot be copied into itself"
                                         : "A file cannot be copied onto itself",
                                 to);
}

/* See the header. */
int file_copy(const struct roots *roots, const char *from, const char *to,
              const struct file_copy_options *o, struct file_copied *ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place source = PLACE_INIT;
        CLEANUP(place_done) struct place target = PLACE_INIT;
        struct copy_tree c = { .cancel = o->cancel };
        int r;

        r = roots_enter(roots, &scope, from, err);
        if (r == 0)
                r = place_find(roots, from, PLACE_FOLLOW, 0, &source, err);
        if (r != 0)
                return r;
        r = place_find(roots, to, PLACE_CREATE, o->make_parents ? 0777 : 0, &target, err);
        if (r != 0)
                return explain_missing_parent(roots, to, r, err);
        r = check_target(&source, &target, o->overwrite);
        if (r == 0)
                r = copy_check_empty(&target);
        if (r == -EINVAL)
                return fail_itself(&source, to, err);
        if (r < 0)
                return files_fail_errno(err, r, to);

        r = copy_tree(&source, target.dir, &c);
        if (r < 0 && is_target_guilty(r, &target)) {
                free(c.failed);
                return files_fail_errno(err, r, to);
        }
        if (r < 0) {
                r = files_fail_entry(err, r, from, c.failed);
                if (o->ret_failed)
                        *o->ret_failed = STEAL(c.failed);
                free(c.failed);
                return r;
        }
        r = place_publish(&target, c.name, o->overwrite);
        (void)fd_close(c.fd);
        if (r < 0) {
                temporary_remove(target.dir, c.name);
                return files_fail_errno(err, r, to);
        }
        *ret = (struct file_copied){ c.n_entries, c.n_skipped, c.size, false };
        return 0;
}
