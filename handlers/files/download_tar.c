/* SPDX-License-Identifier: Apache-2.0 */

/* The writing stops and goes on where its client makes it: then the walk ends, and another one begins behind the last
 * entry. Links are archived as links; what is neither file, directory nor link is left out.
 *
 * The format is GNU's, as its names are bytes: the others convert them, depending on the locale. */

#include "handlers/files/download_tar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/temporary.h"
#include "agent/files/walk.h"
#include "agent/loop/feed.h"

#define BLOCK    (128 * KIB)
#define SLICE_MS 1000

struct tar {
        struct archive *archive;
        struct feed *feed;
        const atomic_bool *cancel;
        int top; /* -1: not begun */
        char *name;
        char *after; /* the last entry that was written; NULL: none but the top */
        bool has_top;
        int file; /* whose content is being written, or -1 */
        uint64_t left;
        size_t waiting;
        bool is_over;    /* nothing may be written any more */
        uint64_t end_ms; /* of the slice; 0: not begun */
        uint64_t n_unreadable;
        char *block;
};

static bool is_cancelled(const struct tar *t)
{
        return atomic_load_explicit(t->cancel, memory_order_relaxed);
}

static bool is_enough(const struct tar *t)
{
        return t->waiting >= LIMIT_FILE_TAR_QUEUE || (t->end_ms > 0 && clock_now_ms() >= t->end_ms);
}

static la_ssize_t on_output(struct archive *a, void *data, const void *bytes, size_t size)
{
        struct tar *t = data;
        char *copy;

        if (t->is_over)
                return -1;
        copy = malloc(size > 0 ? size : 1);
        if (!copy) {
                archive_set_error(a, ENOMEM, "no memory");
                return -1;
        }
        memcpy(copy, bytes, size);
        t->waiting = feed_push(t->feed, copy, size);
        return (la_ssize_t)size;
}

static int failure(const struct tar *t)
{
        int error = archive_errno(t->archive);

        return error > 0 ? -error : -EIO;
}

static int write_header(struct tar *t, const char *path, const struct stat *st, const char *target)
{
        struct archive_entry *e = archive_entry_new();
        int r;

        if (!e)
                return -ENOMEM;
        archive_entry_copy_stat(e, st);
        archive_entry_set_pathname(e, path);
        if (S_ISLNK(st->st_mode))
                archive_entry_set_symlink(e, target);
        if (!S_ISREG(st->st_mode))
                archive_entry_set_size(e, 0);
        r = archive_write_header(t->archive, e);
        archive_entry_free(e);
        return r == ARCHIVE_OK || r == ARCHIVE_WARN ? 0 : failure(t);
}

/* 0: the whole file is written, 1: not yet. */
static int write_content(struct tar *t)
{
        while (t->left > 0) {
                ssize_t n;

                if (is_cancelled(t))
                        return -ECANCELED;
                if (is_enough(t))
                        return 1;
                n = read(t->file, t->block, (size_t)MIN(t->left, (uint64_t)BLOCK));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -ESTALE;
                if (archive_write_data(t->archive, t->block, (size_t)n) != n)
                        return failure(t);
                t->left -= (uint64_t)n;
        }
        t->file = fd_close(t->file);
        return 0;
}

/* Takes @fd, a regular file. */
static int begin_file(struct tar *t, int fd, const char *path, const struct stat *st)
{
        int r = write_header(t, path, st, NULL);

        if (r < 0) {
                fd_close(fd);
                return r;
        }
        t->file = fd;
        t->left = (uint64_t)st->st_size;
        return write_content(t);
}

static int skip(struct tar *t, int error)
{
        if (error == -ENOMEM || error == -ECANCELED || error == -EMFILE || error == -ENFILE)
                return error;
        if (error != -ENOENT)
                t->n_unreadable++;
        return 0;
}

static int write_file(struct tar *t, const struct walk_entry *e, const char *path)
{
        struct stat st;
        int fd = openat(e->dir, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0)
                return skip(t, -errno);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                fd_close(fd); /* somebody has put something else there */
                return 0;
        }
        return begin_file(t, fd, path, &st);
}

static int write_link(struct tar *t, const struct walk_entry *e, const char *path)
{
        char target[PATH_MAX];
        struct stat st;
        ssize_t n;

        if (fstatat(e->dir, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
                return 0;
        n = readlinkat(e->dir, e->name, target, sizeof(target) - 1);
        if (n < 0)
                return skip(t, -errno);
        target[n] = '\0';
        return write_header(t, path, &st, target);
}

static int write_directory(struct tar *t, const struct walk_entry *e, const char *path)
{
        struct stat st;

        if (fstatat(e->dir, e->name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
                return 0;
        return write_header(t, path, &st, NULL);
}

static int on_entry(void *data, const struct walk_entry *e)
{
        CLEANUP(mem_free) char *path = NULL;
        struct tar *t = data;
        int r = 0;

        if (e->is_before)
                return e->type == DT_DIR ? WALK_DESCEND : 0;
        if (t->end_ms == 0)
                t->end_ms = clock_now_ms() + SLICE_MS;
        if (temporary_is_name(e->name))
                return 0;
        path = xasprintf("%s/%s", t->name, e->path);
        if (e->type == DT_REG)
                r = write_file(t, e, path);
        else if (e->type == DT_LNK)
                r = write_link(t, e, path);
        else if (e->type == DT_DIR)
                r = write_directory(t, e, path);
        if (r < 0)
                return r;
        if (r > 0 || is_enough(t)) {
                free(t->after);
                t->after = xstrdup(e->path);
                return -EXFULL;
        }
        return e->type == DT_DIR ? WALK_DESCEND : 0;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        (void)e;
        return skip(data, error);
}

static int write_top(struct tar *t)
{
        struct stat st;

        if (fstat(t->top, &st) < 0)
                return -errno;
        t->has_top = true;
        return S_ISDIR(st.st_mode) ? write_header(t, t->name, &st, NULL)
                                   : begin_file(t, fcntl(t->top, F_DUPFD_CLOEXEC, 0), t->name, &st);
}

static int write_tree(struct tar *t)
{
        CLEANUP(mem_free) char *after = STEAL(t->after);
        struct walk_options options = { .is_sorted = true,
                                        .after = after,
                                        .cancel = t->cancel,
                                        .on_entry = on_entry,
                                        .on_failure = on_failure,
                                        .data = t };
        struct stat st;
        int r;

        if (fstat(t->top, &st) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode))
                return 0;
        t->end_ms = 0; /* the way to the last entry does not count, or there might be no progress */
        r = walk_tree(t->top, &options);
        return r == -EXFULL ? 1 : r;
}

/* See the header. */
int tar_write(struct tar *t)
{
        int r = 0;

        t->waiting = 0;
        t->end_ms = clock_now_ms() + SLICE_MS;
        if (!t->has_top)
                r = write_top(t);
        else if (t->file >= 0)
                r = write_content(t);
        if (r == 0)
                r = write_tree(t);
        if (r == 0 && archive_write_close(t->archive) != ARCHIVE_OK)
                r = failure(t);
        return r;
}

/* See the header. */
struct tar *tar_new(bool is_compressed, struct feed *feed, const atomic_bool *cancel)
{
        struct tar *t = xnew(struct tar);

        *t = (struct tar){ .feed = feed, .cancel = cancel, .top = -1, .file = -1 };
        t->block = try_alloc(BLOCK);
        t->archive = archive_write_new();
        if (!t->block || !t->archive || archive_write_set_format_gnutar(t->archive) != ARCHIVE_OK ||
            (is_compressed && archive_write_add_filter_gzip(t->archive) != ARCHIVE_OK) ||
            archive_write_set_bytes_per_block(t->archive, BLOCK) != ARCHIVE_OK ||
            archive_write_set_bytes_in_last_block(t->archive, 1) != ARCHIVE_OK ||
            archive_write_open(t->archive, t, NULL, on_output, NULL) != ARCHIVE_OK)
                return tar_free(t);
        return t;
}

/* See the header. */
struct tar *tar_free(struct tar *t)
{
        if (!t)
                return NULL;
        /* The library completes what is not complete, which fails soon; archive_write_fail would make it leak. */
        t->is_over = true;
        if (t->archive)
                (void)archive_write_free(t->archive);
        fd_close(t->top);
        fd_close(t->file);
        free(t->name);
        free(t->after);
        free(t->block);
        free(t);
        return NULL;
}

/* See the header. */
void tar_begin(struct tar *t, int fd, const char *name)
{
        t->top = fd;
        t->name = xstrdup(name);
}

/* See the header. */
bool tar_has_begun(const struct tar *t)
{
        return t->top >= 0;
}

/* See the header. */
uint64_t tar_n_unreadable(const struct tar *t)
{
        return t->n_unreadable;
}
