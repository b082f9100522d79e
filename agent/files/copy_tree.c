/* SPDX-License-Identifier: Apache-2.0 */

/* The source is walked; of the copy only the directory at hand is open, and the way back up is "..", checked to be the
 * directory that we came from. Directories get their modes and times when they are complete. */

#include "agent/files/copy_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/files/copy_data.h"
#include "agent/files/walk.h"

/* A directory of the copy that is not complete, and what it is a copy of. */
struct level {
        dev_t device;
        ino_t inode;
        struct stat original;
};

struct work {
        struct copy_tree *copy;
        int at; /* the directory of the copy that is being filled */
        struct level *levels;
        size_t n_levels;
        size_t max_levels;
};

static int set_attributes(int fd, const struct stat *original)
{
        struct timespec times[2] = { original->st_atim, original->st_mtim };
        mode_t mode = original->st_mode & 07777;

        if (!S_ISDIR(original->st_mode) && original->st_uid != (uid_t)syscall(SYS_setfsuid, -1))
                mode &= ~(mode_t)(S_ISUID | S_ISGID);
        return fchmod(fd, mode) < 0 || futimens(fd, times) < 0 ? -errno : 0;
}

/* Copies the file that @path_fd, an O_PATH descriptor, is to the new file @to. */
static int copy_content(struct copy_tree *c, int path_fd, const struct stat *st, int to)
{
        struct place p = { .fd = path_fd, .dir = -1, .st = *st };
        CLEANUP(fd_close) int from = place_open(&p, O_RDONLY);
        uint64_t size = 0;
        int r;

        if (from < 0)
                return from;
        r = copy_data(from, to, c->cancel, &size);
        if (r < 0)
                return r;
        c->size += size;
        c->n_entries++;
        return set_attributes(to, st);
}

static int copy_file(struct work *w, const struct walk_entry *e)
{
        CLEANUP(fd_close) int to = -1;
        CLEANUP(fd_close)
        int from = openat(e->dir, e->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (from < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(from, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode)) { /* not any more */
                w->copy->n_skipped++;
                return 0;
        }
        to = openat(w->at, e->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
                return -errno;
        return copy_content(w->copy, from, &st, to);
}

/* @name is NULL: with a temporary name, which is @c->name then. */
static int copy_link(struct copy_tree *c, int from_dir, const char *from_name, int dir,
                     const char *name)
{
        char target[PATH_MAX];
        ssize_t n = readlinkat(from_dir, from_name, target, sizeof(target) - 1);
        struct stat st;
        int r;

        if (n < 0)
                return -errno;
        target[n] = '\0';
        if (name)
                r = symlinkat(target, dir, name) < 0 ? -errno : 0;
        else
                r = temporary_make_link(dir, target, c->name);
        if (r < 0)
                return r;
        name = name ? name : c->name;
        c->n_entries++;
        if (fstatat(from_dir, from_name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0) {
                struct timespec times[2] = { st.st_atim, st.st_mtim };

                (void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW); /* nothing depends on it */
        }
        return 0;
}

/* Goes into @fd, the copy of @original; takes @fd. */
static int enter(struct work *w, int fd, const struct stat *original)
{
        CLEANUP(fd_close) int owned = fd;
        struct stat st;

        if (w->n_levels == w->max_levels) {
                size_t max = MAX(2 * w->max_levels, (size_t)16);
                struct level *levels = try_realloc(w->levels, max * sizeof(*levels));

                if (!levels)
                        return -ENOMEM;
                w->levels = levels;
                w->max_levels = max;
        }
        if (fstat(fd, &st) < 0)
                return -errno;
        w->levels[w->n_levels++] = (struct level){ st.st_dev, st.st_ino, *original };
        (void)fd_close(w->at);
        w->at = STEAL_FD(owned);
        w->copy->n_entries++;
        return 0;
}

static int copy_directory(struct work *w, const struct walk_entry *e)
{
        struct stat st;
        int fd, r;

        if (fstatat(e->dir, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (mkdirat(w->at, e->name, S_IRWXU) < 0)
                return -errno;
        fd = walk_open(w->at, e->name, false);
        if (fd < 0)
                return fd;
        r = enter(w, fd, &st);
        return r < 0 ? r : WALK_DESCEND;
}

/* Notes whose failure has ended the copy. */
static int note(struct work *w, const struct walk_entry *e, int r)
{
        if (r < 0 && !w->copy->failed)
                w->copy->failed = xstrdup(e->path);
        return r;
}

static int copy_entry(struct work *w, const struct walk_entry *e)
{
        /* Not what others are making, nor what this is making when it is below the source. */
        if (temporary_is_name(e->name))
                return 0;
        switch (e->type) {
        case DT_REG:
                return copy_file(w, e);
        case DT_LNK:
                return copy_link(w->copy, e->dir, e->name, w->at, e->name);
        case DT_DIR:
                return copy_directory(w, e);
        default:
                w->copy->n_skipped++;
                return 0;
        }
}

static int on_entry(void *data, const struct walk_entry *e)
{
        return note(data, e, copy_entry(data, e));
}

static int leave(struct work *w)
{
        struct level *u = &w->levels[--w->n_levels];
        CLEANUP(fd_close) int up = walk_open(w->at, "..", false);
        struct stat st;
        int r;

        if (up < 0)
                return up;
        if (fstat(up, &st) < 0)
                return -errno;
        if (st.st_dev != u[-1].device || st.st_ino != u[-1].inode)
                return -ESTALE; /* the top level is never left here, so there is one above */
        r = set_attributes(w->at, &u->original);
        (void)fd_close(w->at);
        w->at = STEAL_FD(up);
        return r;
}

static int on_leave(void *data, const struct walk_entry *e)
{
        return note(data, e, leave(data));
}

/* A directory that is gone by now was entered in the copy already. */
static int on_failure(void *data, const struct walk_entry *e, int error)
{
        return error == -ENOENT ? on_leave(data, e) : note(data, e, error);
}

static int copy_content_of_directory(const struct place *from, struct copy_tree *c)
{
        CLEANUP(fd_close) int source = place_open(from, O_RDONLY | O_DIRECTORY);
        struct work w = { .copy = c, .at = -1 };
        struct walk_options o = { .is_same_mount = c->is_same_mount,
                                  .cancel = c->cancel,
                                  .on_entry = on_entry,
                                  .on_leave = on_leave,
                                  .on_failure = on_failure,
                                  .data = &w };
        int fd, r;

        if (source < 0)
                return source;
        fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        r = enter(&w, fd, &from->st);
        if (r == 0)
                r = walk_tree(source, &o);
        if (r == 0)
                r = set_attributes(c->fd, &from->st);
        (void)fd_close(w.at);
        free(w.levels);
        return r;
}

/* See the header. */
int copy_tree(const struct place *from, int dir, struct copy_tree *c)
{
        int r;

        c->fd = -1;
        c->failed = NULL;
        c->n_entries = c->n_skipped = c->size = 0;

        if (S_ISLNK(from->st.st_mode))
                return copy_link(c, from->fd, "", dir, NULL);
        if (!S_ISREG(from->st.st_mode) && !S_ISDIR(from->st.st_mode))
                return -ENXIO;

        if (S_ISDIR(from->st.st_mode))
                c->fd = temporary_make_directory(dir, c->name);
        else
                c->fd = temporary_make_file(dir, 0600, c->name);
        if (c->fd < 0)
                return c->fd;
        if (S_ISDIR(from->st.st_mode))
                r = copy_content_of_directory(from, c);
        else
                r = copy_content(c, from->fd, &from->st, c->fd);
        if (r < 0) {
                temporary_remove(dir, c->name);
                c->fd = fd_close(c->fd);
        }
        return r;
}

/* See the header. */
int copy_check_empty(const struct place *to)
{
        struct dirent *entry;
        unsigned n = 0;
        DIR *dir;
        int fd;

        if (to->fd < 0 || !S_ISDIR(to->st.st_mode))
                return 0;
        fd = place_open(to, O_RDONLY | O_DIRECTORY);
        dir = fd >= 0 ? fdopendir(fd) : NULL;
        if (!dir) {
                (void)fd_close(fd);
                return 0; /* it cannot be known, then */
        }
        while (n <= 2 && (entry = readdir(dir)))
                n++;
        (void)closedir(dir);
        return n > 2 ? -ENOTEMPTY : 0;
}
