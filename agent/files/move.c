/* SPDX-License-Identifier: Apache-2.0 */

/* mv -T */

#include "agent/files/move.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/files/copy_tree.h"
#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/remove.h"
#include "agent/files/walk.h"

/* Where the file system cannot say "unless there is one". */
static int rename_new(const struct place *from, const struct place *to)
{
        if (renameat2(from->dir, from->name, to->dir, to->name, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        if (S_ISDIR(from->st.st_mode)) {
                /* A directory replaces nothing but an empty directory. */
                if (to->fd >= 0)
                        return -EEXIST;
                return renameat(from->dir, from->name, to->dir, to->name) < 0 ? -errno : 0;
        }
        if (linkat(from->dir, from->name, to->dir, to->name, 0) < 0)
                return -errno;
        if (unlinkat(from->dir, from->name, 0) < 0) {
                int r = -errno;

                (void)unlinkat(to->dir, to->name, 0); /* or it would have two names */
                return r;
        }
        return 0;
}

static int rename_place(const struct place *from, const struct place *to, bool overwrite)
{
        if (!overwrite)
                return rename_new(from, to);
        return renameat(from->dir, from->name, to->dir, to->name) < 0 ? -errno : 0;
}

/* Only what was copied is removed, not what took its name meanwhile. */
static int remove_source(const struct place *from)
{
        struct stat st;

        if (fstatat(from->dir, from->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (st.st_dev != from->st.st_dev || st.st_ino != from->st.st_ino)
                return 0;
        return file_remove_at(from->dir, from->name, false, NULL, NULL);
}

static int on_entry(void *data, const struct walk_entry *e)
{
        int r = place_check_removable(e->dir, e->name);

        (void)data;
        if (r < 0 && r != -ENOENT)
                return r;
        /* A copy has none of these; with the source they would be lost. */
        if (e->type != DT_DIR && e->type != DT_REG && e->type != DT_LNK)
                return -ENXIO;
        return e->type == DT_DIR ? WALK_DESCEND : 0;
}

/* Could the source be removed? What would fail behind the copy fails here, before there are two of them. */
static int check_source(const struct place *from, const atomic_bool *cancel)
{
        struct walk_options o = { .is_same_mount = true, .cancel = cancel, .on_entry = on_entry };
        CLEANUP(fd_close) int fd = -1;
        int r;

        r = place_check_removable(from->dir, from->name);
        if (r < 0 || !S_ISDIR(from->st.st_mode))
                return r;
        fd = place_open(from, O_RDONLY | O_DIRECTORY);
        return fd < 0 ? fd : walk_tree(fd, &o);
}

/* Is it the source that has made this fail with @r? */
static bool is_source_guilty(int r, const struct place *from, const struct place *to)
{
        if (r == -ENOENT || place_check_removable(from->dir, from->name) < 0)
                return true;
        switch (files_outcome(r)) {
        case FILES_E_DENIED:
        case FILES_E_BUSY:
                return place_check_changeable(to->dir) == 0 &&
                       (to->fd < 0 || place_check_removable(to->dir, to->name) == 0);
        case FILES_E_SPECIAL:
        case FILES_E_OTHER:
                return true;
        default:
                return false;
        }
}

static int copy_and_remove(const struct place *from, const struct place *to,
                           const struct file_copy_options *o, struct copy_tree *c)
{
        int r;

        if (to->fd >= 0 && !o->overwrite)
                return -EEXIST;
        if (to->fd >= 0 && S_ISDIR(to->st.st_mode) != S_ISDIR(from->st.st_mode))
                return S_ISDIR(to->st.st_mode) ? -EISDIR : -ENOTDIR;
        r = copy_check_empty(to);
        if (r == 0)
                r = check_source(from, o->cancel);
        if (r < 0)
                return r;
        *c = (struct copy_tree){ .cancel = o->cancel, .is_same_mount = true };
        r = copy_tree(from, to->dir, c);
        c->failed = mem_free(c->failed);
        if (r < 0)
                return r;
        r = place_publish(to, c->name, o->overwrite);
        (void)fd_close(c->fd);
        if (r < 0) {
                temporary_remove(to->dir, c->name);
                return r;
        }
        return remove_source(from);
}

/* See the header. */
int file_move(const struct roots *roots, const char *from, const char *to,
              const struct file_copy_options *o, struct file_copied *ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place source = PLACE_INIT;
        CLEANUP(place_done) struct place target = PLACE_INIT;
        struct copy_tree c = { .fd = -1 };
        bool is_renamed;
        int r;

        r = roots_enter(roots, &scope, from, err);
        if (r == 0)
                r = place_find(roots, from, PLACE_ENTRY, 0, &source, err);
        if (r != 0)
                return explain_no_entry(roots, from, r, err);
        if (source.fd < 0)
                return files_fail(err, FILES_E_NOT_FOUND, from);
        r = place_find(roots, to, PLACE_ENTRY, o->make_parents ? 0777 : 0, &target, err);
        if (r != 0)
                return explain_missing_parent(roots, to, r, err);
        if (S_ISDIR(source.st.st_mode) && path_is_under(target.path, source.path) &&
            strcmp(target.path, source.path) != 0)
                return files_fail_saying(err, FILES_E_INVALID,
                                         "A directory cannot be moved into itself", to);

        r = rename_place(&source, &target, o->overwrite);
        is_renamed = r != -EXDEV;
        if (r == -EXDEV)
                r = copy_and_remove(&source, &target, o, &c);
        if (r < 0)
                return files_fail_errno(err, r, is_source_guilty(r, &source, &target) ? from : to);
        *ret = (struct file_copied){ c.n_entries, c.n_skipped, c.size, is_renamed };
        return 0;
}
