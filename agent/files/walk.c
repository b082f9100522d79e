/* SPDX-License-Identifier: Apache-2.0 */

/* A stack of levels, one for each directory on the way down. A level holds names, not a read position: a part of them
 * in the directory's order, or all of them sorted. So nothing has to stay open but the directories that the next steps
 * need, and what is further up is reached by ".." again, if that is still the same directory. */

#include "agent/files/walk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"

#define BLOCK_SIZE (64 * KIB) /* of entries, from the kernel */

/* A name of a directory that is to be sorted. Most comparisons end with the first eight bytes. */
struct row {
        uint64_t key; /* these bytes, as a number */
        uint32_t at;  /* in names */
};

struct level {
        int fd; /* -1: closed for now */
        dev_t device;
        ino_t inode;
        off_t offset;     /* behind the last entry that was read */
        size_t path_size; /* of the directory's own path */
        struct buf names; /* of each: a byte for the type, the name, a NUL */
        struct row *rows; /* sorted: where they are in order */
        size_t n_rows;
        size_t next; /* in rows or in names */
        bool is_at_end;
        const char *after; /* sorted: names up to this one were had, "" for none */
};

struct tree {
        const struct walk_options *options;
        struct level *levels;
        size_t n_levels;
        size_t max_levels;
        struct buf path; /* of the entry at hand */
        char *block;
        size_t max_depth;
        size_t left; /* bytes of names that may still be collected, to be sorted */
};

static void level_done(struct level *l)
{
        (void)fd_close(l->fd);
        buf_done(&l->names);
        free(l->rows);
}

static int add_name(struct level *l, const struct dirent64 *d)
{
        char type = (char)d->d_type;
        int r;

        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
                return 0;
        r = buf_append(&l->names, &type, 1);
        if (r == 0)
                r = buf_append(&l->names, d->d_name, strlen(d->d_name) + 1);
        if (r == 0)
                l->n_rows++;
        return r;
}

/* Reads one block of entries. */
static int read_block(struct tree *t, struct level *l)
{
        ssize_t n = getdents64(l->fd, t->block, BLOCK_SIZE);

        if (n < 0 && errno != ENOENT)
                return -errno;
        l->is_at_end = n <= 0; /* ENOENT: it was removed */
        for (ssize_t at = 0; at < n;) {
                const struct dirent64 *d = (const void *)(t->block + at);
                int r = add_name(l, d);

                if (r < 0)
                        return r;
                l->offset = d->d_off;
                at += d->d_reclen;
        }
        return 0;
}

static uint64_t key_of(const char *name)
{
        uint64_t key = 0;

        for (unsigned i = 0; i < 8; i++) {
                key = key << 8 | (unsigned char)*name;
                name += *name != '\0';
        }
        return key;
}

static int compare(const void *a, const void *b, void *names)
{
        const struct row *x = a;
        const struct row *y = b;

        if (x->key != y->key)
                return x->key < y->key ? -1 : 1;
        return strcmp((char *)names + x->at, (char *)names + y->at);
}

static int sort_names(struct level *l)
{
        size_t n = 0;

        l->rows = try_alloc(MAX(l->n_rows, (size_t)1) * sizeof(*l->rows));
        if (!l->rows)
                return -ENOMEM;
        for (size_t at = 0; at < l->names.size; at += strlen(l->names.data + at + 1) + 2)
                l->rows[n++] = (struct row){ key_of(l->names.data + at + 1), (uint32_t)(at + 1) };
        assert(n == l->n_rows);
        if (n > 1)
                qsort_r(l->rows, n, sizeof(*l->rows), compare, l->names.data);
        return 0;
}

/* The next names: some or, if they are to be sorted, all of them. */
static int refill(struct tree *t, struct level *l)
{
        int r = 0;

        l->names.size = 0;
        l->names.max = t->options->is_sorted ? MAX(t->left, (size_t)1) : 0;
        l->n_rows = 0;
        l->next = 0;
        do {
                r = read_block(t, l);
                if (r < 0 || l->is_at_end)
                        break;
        } while (t->options->is_sorted || l->n_rows == 0);
        if (r == 0 && t->options->is_sorted)
                r = sort_names(l);
        if (r == 0 && t->options->is_sorted)
                t->left -= l->names.size;
        if (r < 0) {
                l->is_at_end = true;
                l->names.size = 0;
                l->n_rows = 0;
        }
        return r;
}

static bool is_mount_point(int fd)
{
        struct statx x;

        return statx(fd, "", AT_EMPTY_PATH, STATX_INO, &x) == 0 &&
               (x.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Is @fd the agent's own directory in /proc, which the policy closes? Its files are readable by the agent's own
 * threads, whoever they act as. What is below it is not reached by a walk, then. */
static bool is_agents_own(int fd, const char *name)
{
        struct statfs fs;
        uint64_t id;

        return str_parse_u64(name, &id) == 0 && id > 0 && id <= INT_MAX && fstatfs(fd, &fs) == 0 &&
               fs.f_type == PROC_SUPER_MAGIC && syscall(SYS_tgkill, getpid(), (pid_t)id, 0) == 0;
}

/* See the header. */
int walk_open(int dir, const char *name, bool is_same_mount)
{
        enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK };
        struct open_how how = { .flags = FLAGS, .resolve = RESOLVE_NO_XDEV };
        CLEANUP(fd_close) int fd = -1;
        struct stat above, st;

        if (is_same_mount) {
                fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
                if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
                        return fd < 0 ? -errno : is_agents_own(fd, name) ? -EACCES : STEAL_FD(fd);
        }
        fd = openat(dir, name, FLAGS);
        if (fd < 0)
                return -errno;
        if (is_agents_own(fd, name))
                return -EACCES;
        if (is_same_mount && (fstat(dir, &above) < 0 || fstat(fd, &st) < 0 ||
                              st.st_dev != above.st_dev || is_mount_point(fd)))
                return -EXDEV;
        return STEAL_FD(fd);
}

/* Makes room for one more level. */
static int grow(struct tree *t)
{
        size_t max = MAX(2 * t->max_levels, (size_t)16);
        struct level *levels;

        if (t->n_levels >= t->max_depth)
                return -ENAMETOOLONG;
        if (t->n_levels < t->max_levels)
                return 0;
        levels = try_realloc(t->levels, max * sizeof(*levels));
        if (!levels)
                return -ENOMEM;
        t->levels = levels;
        t->max_levels = max;
        return 0;
}

/* Goes into the directory @fd, which it takes. @after: what the names are compared with. */
static int push(struct tree *t, int fd, const char *after)
{
        CLEANUP(fd_close) int owned = fd;
        struct level *l;
        struct stat st;
        int r;

        r = grow(t);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;

        l = &t->levels[t->n_levels];
        *l = (struct level){ .fd = STEAL_FD(owned),
                             .device = st.st_dev,
                             .inode = st.st_ino,
                             .path_size = t->path.size,
                             .after = after };
        buf_init(&l->names, 0);
        t->n_levels++;

        if (t->n_levels > LIMIT_WALK_OPEN) {
                struct level *far = &t->levels[t->n_levels - 1 - LIMIT_WALK_OPEN];

                far->fd = fd_close(far->fd);
        }
        return 0;
}

/* Opens the directory above the deepest level again. */
static int reopen_above(struct tree *t)
{
        struct level *l = &t->levels[t->n_levels - 2];
        CLEANUP(fd_close) int fd = -1;
        struct stat st;

        if (l->fd >= 0)
                return 0;
        fd = walk_open(t->levels[t->n_levels - 1].fd, "..", false);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_dev != l->device || st.st_ino != l->inode)
                return -ESTALE; /* somebody moved what we are in */
        if (lseek(fd, l->offset, SEEK_SET) < 0)
                return -errno;
        l->fd = STEAL_FD(fd);
        return 0;
}

/* The name that path_size and the path's end enclose, as an entry of the level @l. */
static struct walk_entry entry_of(const struct tree *t, const struct level *l, unsigned char type)
{
        size_t skip = l->path_size + (l->path_size > 0);

        return (struct walk_entry){ .dir = l->fd,
                                    .name = t->path.data + skip,
                                    .path = t->path.data,
                                    .type = type,
                                    .depth = (unsigned)(l - t->levels) + 1 };
}

static void set_path_size(struct tree *t, size_t size)
{
        t->path.size = size;
        if (t->path.data)
                t->path.data[size] = '\0';
}

static int fail(const struct tree *t, const struct walk_entry *e, int error)
{
        return t->options->on_failure ? t->options->on_failure(t->options->data, e, error) : error;
}

/* Leaves the deepest directory. */
static int pop(struct tree *t)
{
        struct level *l = &t->levels[t->n_levels - 1];
        struct walk_entry e;
        int r;

        set_path_size(t, l->path_size);
        if (t->options->is_sorted)
                t->left += l->names.size;
        if (t->n_levels == 1) {
                level_done(l);
                t->n_levels = 0;
                return 0;
        }
        r = reopen_above(t);
        level_done(l);
        t->n_levels--;
        if (r < 0)
                return r;
        e = entry_of(t, l - 1, DT_DIR);
        return t->options->on_leave ? t->options->on_leave(t->options->data, &e) : 0;
}

/* The first name of @after, which ends at a slash or at its end. */
static int compare_with_after(const char *name, const char *after)
{
        size_t size = strcspn(after, "/");
        int r = strncmp(name, after, size);

        return r != 0 ? r : name[size] != '\0';
}

static const char *rest_of_after(const char *after)
{
        after += strcspn(after, "/");
        return after + (*after == '/');
}

static int type_of(int dir, const char *name, unsigned char *type)
{
        struct stat st;

        if (*type != DT_UNKNOWN)
                return 0;
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        *type = (unsigned char)IFTODT(st.st_mode);
        return 0;
}

static int visit(struct tree *t, struct level *l, const char *name, unsigned char type)
{
        struct walk_entry e;
        const char *after = "";
        int r, fd;

        if (*l->after) {
                int order = compare_with_after(name, l->after);

                if (order < 0)
                        return 0;
                after = order == 0 ? rest_of_after(l->after) : "";
        }
        r = type_of(l->fd, name, &type);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        set_path_size(t, l->path_size);
        if (l->path_size > 0)
                r = buf_append_str(&t->path, "/");
        if (r == 0)
                r = buf_append_str(&t->path, name);
        if (r < 0)
                return r;

        e = entry_of(t, l, type);
        e.is_before = *l->after && compare_with_after(name, l->after) == 0;
        r = t->options->on_entry(t->options->data, &e);
        if (r != WALK_DESCEND)
                return r;

        fd = walk_open(l->fd, name, t->options->is_same_mount);
        if (fd < 0)
                return fail(t, &e, fd);
        r = push(t, fd, after); /* @l may have moved */
        return r < 0 ? fail(t, &e, r) : 0;
}

/* The next entry of the deepest directory, or its end. */
static int step(struct tree *t)
{
        struct level *l = &t->levels[t->n_levels - 1];
        bool is_sorted = t->options->is_sorted;
        const char *name;

        if (l->next == (is_sorted ? l->n_rows : l->names.size)) {
                struct walk_entry e;
                int r;

                if (l->is_at_end)
                        return pop(t);
                r = refill(t, l);
                if (r >= 0 || t->n_levels == 1)
                        return r;
                set_path_size(t, l->path_size);
                e = entry_of(t, l - 1, DT_DIR);
                return fail(t, &e, r);
        }
        if (is_sorted) {
                name = l->names.data + l->rows[l->next++].at;
        } else {
                name = l->names.data + l->next + 1;
                l->next += strlen(name) + 2;
        }
        return visit(t, l, name, (unsigned char)name[-1]);
}

static int start(struct tree *t, int top)
{
        int fd;

        if (lseek(top, 0, SEEK_SET) < 0)
                return -errno;
        fd = fcntl(top, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : push(t, fd, t->options->after ? t->options->after : "");
}

/* See the header. */
int walk_tree(int top, const struct walk_options *o)
{
        struct tree t = { .options = o,
                          .max_depth = o->max_depth ? o->max_depth : LIMIT_WALK_DEPTH,
                          .left = o->max_names ? o->max_names : LIMIT_WALK_NAMES };
        int r;

        assert(!o->after || o->is_sorted);

        buf_init(&t.path, 0);
        t.block = try_alloc(BLOCK_SIZE);
        r = t.block ? start(&t, top) : -ENOMEM;
        while (r == 0 && t.n_levels > 0) {
                if (o->cancel && atomic_load_explicit(o->cancel, memory_order_relaxed))
                        r = -ECANCELED;
                else
                        r = step(&t);
        }

        while (t.n_levels > 0)
                level_done(&t.levels[--t.n_levels]);
        free(t.levels);
        buf_done(&t.path);
        free(t.block);
        return r;
}
