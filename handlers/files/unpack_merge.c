/* SPDX-License-Identifier: Apache-2.0 */

/* The tree is walked; of the target only the directory at hand is open, and the way back up is "..", checked to be the
 * directory that we came from. No link is followed on either side. */

#include "handlers/files/unpack_merge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/copy_tree.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/walk.h"

/* A directory of the target. */
struct level {
        dev_t device;
        ino_t inode;
};

struct work {
        const struct unpack_merge *merge;
        bool is_check;
        int at; /* the directory of the target that is looked at */
        struct level levels[LIMIT_EXTRACT_DEPTH + 1];
        unsigned n_levels;
        char *culprit; /* the path, below the target, that a failure is about */
};

static int enter(struct work *w, int fd)
{
        struct stat st;

        if (w->n_levels == ARRAY_LEN(w->levels) || fstat(fd, &st) < 0) {
                int r = w->n_levels == ARRAY_LEN(w->levels) ? -ENAMETOOLONG : -errno;

                (void)fd_close(fd);
                return r;
        }
        w->levels[w->n_levels++] = (struct level){ st.st_dev, st.st_ino };
        (void)fd_close(w->at);
        w->at = fd;
        return 0;
}

/* May what is there, which is no directory, be replaced? */
static int check_old(const struct work *w, const struct walk_entry *e, const struct stat *st)
{
        CLEANUP(place_done) struct place p = PLACE_INIT;
        int r;

        if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode))
                return -ENXIO;
        if (!w->merge->overwrite)
                return -EEXIST;
        r = place_check_removable(w->at, e->name);
        if (r < 0 || S_ISLNK(st->st_mode))
                return r == -ENOENT ? 0 : r;
        p.fd = openat(w->at, e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (p.fd < 0 || fstat(p.fd, &p.st) < 0)
                return errno == ENOENT ? 0 : -errno;
        return place_check_writable(&p);
}

/* For file systems without RENAME_NOREPLACE: they have hard links, or no safe way. */
static int move_new(const struct work *w, const struct walk_entry *e)
{
        if (renameat2(e->dir, e->name, w->at, e->name, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        if (e->type == DT_DIR) /* which replaces nothing but an empty one */
                return renameat(e->dir, e->name, w->at, e->name) < 0 ? -errno : 0;
        return linkat(e->dir, e->name, w->at, e->name, 0) < 0 ? -errno : 0;
}

/* Something else is mounted there. */
static int move_copy(const struct work *w, const struct walk_entry *e)
{
        CLEANUP(place_done) struct place from = PLACE_INIT;
        struct place to = PLACE_INIT;
        struct copy_tree c = { .fd = -1 };
        int r;

        from.fd = openat(e->dir, e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (from.fd < 0 || fstat(from.fd, &from.st) < 0)
                return -errno;
        r = copy_tree(&from, w->at, &c);
        if (r < 0)
                return r;
        to.dir = w->at;
        (void)snprintf(to.name, sizeof(to.name), "%s", e->name);
        r = place_publish(&to, c.name, w->merge->overwrite);
        if (r < 0)
                temporary_remove(w->at, c.name);
        (void)fd_close(c.fd);
        return r;
}

static int move(const struct work *w, const struct walk_entry *e)
{
        int r;

        if (!w->merge->overwrite)
                r = move_new(w, e);
        else
                r = renameat(e->dir, e->name, w->at, e->name) < 0 ? -errno : 0;
        return r == -EXDEV ? move_copy(w, e) : r;
}

static int handle(struct work *w, const struct walk_entry *e)
{
        struct stat st;
        int fd, r;

        if (fstatat(w->at, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                return w->is_check ? place_check_changeable(w->at) : move(w, e);
        }
        if (e->type == DT_DIR) {
                if (!S_ISDIR(st.st_mode))
                        return -ENOTDIR;
                fd = walk_open(w->at, e->name, false);
                if (fd < 0)
                        return fd;
                r = enter(w, fd);
                return r < 0 ? r : WALK_DESCEND;
        }
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        r = check_old(w, e, &st);
        if (r == 0)
                r = w->is_check ? 0 : move(w, e);
        return r;
}

static int on_entry(void *data, const struct walk_entry *e)
{
        struct work *w = data;
        int r = w->merge->step(w->merge->arg);

        /* Who has begun to move goes on to the end. */
        r = r < 0 && w->is_check ? r : handle(w, e);
        if (r < 0)
                w->culprit = xstrdup(e->path);
        return r;
}

static int on_leave(void *data, const struct walk_entry *e)
{
        struct work *w = data;
        const struct level *above = &w->levels[--w->n_levels - 1];
        int up = walk_open(w->at, "..", false);
        struct stat st;

        (void)e;
        if (up < 0)
                return up;
        (void)fd_close(w->at);
        w->at = up;
        if (fstat(up, &st) < 0)
                return -errno;
        return st.st_dev == above->device && st.st_ino == above->inode ? 0 : -ENOENT;
}

/* The path of @name in @directory; NULL: that itself. */
static char *below(const char *directory, const char *name)
{
        size_t size = strlen(directory);
        bool has_slash = size > 0 && directory[size - 1] == '/';

        return name ? xasprintf("%s%s%s", directory, has_slash ? "" : "/", name)
                    : xstrdup(directory);
}

static int pass(const struct unpack_merge *m, bool is_check, struct error *err)
{
        struct work *w = xnew(struct work);
        struct walk_options o = { .on_entry = on_entry, .on_leave = on_leave, .data = w };
        CLEANUP(mem_free) char *path = NULL;
        CLEANUP(fd_close)
        int from = openat(m->from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        w->merge = m;
        w->is_check = is_check;
        w->at = -1;
        r = from < 0 ? -errno : 0;
        if (r == 0) {
                r = fcntl(m->to, F_DUPFD_CLOEXEC, 0);
                r = r < 0 ? -errno : enter(w, r);
        }
        if (r == 0)
                r = walk_tree(from, &o);
        if (r < 0) {
                path = below(m->path, w->culprit);
                r = files_fail_errno(err, r, path);
        }
        (void)fd_close(w->at);
        free(w->culprit);
        free(w);
        return r;
}

/* See the header. */
int unpack_merge(const struct unpack_merge *m, struct error *err)
{
        int r = pass(m, true, err);

        return r == 0 ? pass(m, false, err) : r;
}
