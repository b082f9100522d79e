/* SPDX-License-Identifier: Apache-2.0 */

/* Archives list a directory's entries one after the other, so the last directory is kept open. Names are resolved by
 * the kernel (openat2, beneath the top, without links) or, where something is missing or there is no openat2, one by
 * one. Files and links are always new ones (O_EXCL): nothing that exists is ever written to. */

#include "handlers/files/unpack_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/place.h"

#define PERMISSIONS 0777
#define MAX_TRIES   3 /* when somebody puts things in the way */

/* What is kept of a directory until the end; its path follows, with a NUL. */
struct record {
        struct unpack_attributes attributes;
        uint32_t size;
};

/* See the header. */
int unpack_refuse(struct error *err, int r, const char *name, const char *why)
{
        char shown[UNPACK_NAME_SHOWN];

        return error_set_field(err, r, "", "entry %s %s", unpack_name_show(name, shown), why);
}

/* See the header. */
void unpack_tree_init(struct unpack_tree *t, int top, bool has_openat2)
{
        *t = (struct unpack_tree){ .top = top, .has_openat2 = has_openat2, .dir = -1 };
        t->directories_left = LIMIT_EXTRACT_ENTRIES;
        buf_init(&t->directories, LIMIT_EXTRACT_DIRECTORIES);
}

/* See the header. */
void unpack_tree_done(struct unpack_tree *t)
{
        t->dir = fd_close(t->dir);
        buf_done(&t->directories);
}

/* --- directories --- */

static int open_beneath(const struct unpack_tree *t, const char *path)
{
        struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                           RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
        long fd;

        if (!t->has_openat2)
                return -ENOSYS;
        fd = syscall(SYS_openat2, t->top, path, &how, sizeof(how));
        return fd < 0 ? -errno : (int)fd;
}

static int open_one(int dir, const char *name)
{
        int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* -EFBIG: there are too many. */
static int make_one(struct unpack_tree *t, int dir, const char *name, unsigned mode)
{
        if (mkdirat(dir, name, mode) < 0)
                return -errno;
        if (t->directories_left == 0)
                return -EFBIG;
        t->directories_left--;
        return 0;
}

/* The long way; makes what is missing. */
static int open_by_hand(struct unpack_tree *t, const char *path)
{
        CLEANUP(fd_close) int dir = open_one(t->top, ".");
        char name[NAME_MAX + 1];

        for (const char *p = path; dir >= 0 && *p;) {
                size_t n = strcspn(p, "/");
                int fd, r;

                (void)snprintf(name, sizeof(name), "%.*s", (int)n, p);
                r = make_one(t, dir, name, PERMISSIONS);
                if (r < 0 && r != -EEXIST)
                        return r;
                fd = open_one(dir, name);
                (void)fd_close(dir);
                dir = fd;
                p += n + (p[n] == '/');
        }
        if (dir < 0)
                return dir;
        return STEAL_FD(dir);
}

/* The directory with the first @size bytes of @n's path, of an entry: it stays open until the next is needed. */
static int find(struct unpack_tree *t, const struct unpack_name *n, size_t size, struct error *err)
{
        char path[PATH_MAX];
        int fd;

        (void)snprintf(path, sizeof(path), "%.*s", (int)size, n->path);
        if (t->dir >= 0 && strcmp(path, t->dir_path) == 0)
                return t->dir;
        fd = size > 0 ? open_beneath(t, path) : -ENOSYS;
        if (fd < 0)
                fd = open_by_hand(t, path);
        if (fd == -ENOTDIR || fd == -ELOOP)
                return unpack_refuse(err, -EBADMSG, n->path,
                                     "leads through a link or a file of the archive");
        if (fd == -EFBIG)
                return unpack_refuse(err, fd, n->path, "is in one directory too many");
        if (fd < 0)
                return fd;
        (void)fd_close(t->dir);
        t->dir = fd;
        memcpy(t->dir_path, path, size + 1);
        return fd;
}

/* The directory that @n is in, and its last name. */
static int find_parent(struct unpack_tree *t, const struct unpack_name *n, const char **ret_name,
                       struct error *err)
{
        const char *slash = strrchr(n->path, '/');

        if (n->depth == 0)
                return unpack_refuse(err, -EBADMSG, ".", "is no directory");
        *ret_name = slash ? slash + 1 : n->path;
        return find(t, n, slash ? (size_t)(slash - n->path) : 0, err);
}

/* Something is in the way of @n. */
static int make_room(int dir, const char *name, const struct unpack_name *n, struct error *err)
{
        struct stat st;

        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (S_ISDIR(st.st_mode))
                return unpack_refuse(err, -EBADMSG, n->path,
                                     "comes a second time, after a directory of that name");
        return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* --- entries --- */

/* See the header. */
int unpack_tree_file(struct unpack_tree *t, const struct unpack_name *n, int *ret,
                     struct error *err)
{
        const char *name;
        int dir = find_parent(t, n, &name, err);

        if (dir < 0)
                return dir;
        for (unsigned i = 0; i < MAX_TRIES; i++) {
                int fd = openat(dir, name,
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY,
                                0600);
                int r;

                if (fd >= 0) {
                        t->n_files++;
                        *ret = fd;
                        return 0;
                }
                r = errno == EEXIST ? make_room(dir, name, n, err) : -errno;
                if (r < 0)
                        return r;
        }
        return -EEXIST;
}

/* See the header. */
int unpack_tree_file_end(int fd, const struct unpack_attributes *a)
{
        struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, a->time };

        if (fchmod(fd, a->mode & PERMISSIONS) < 0)
                return -errno;
        if (a->has_time)
                (void)futimens(fd, times); /* one that the file system cannot keep is not kept */
        return 0;
}

/* See the header. */
int unpack_tree_directory(struct unpack_tree *t, const struct unpack_name *n,
                          const struct unpack_attributes *a, struct error *err)
{
        static const char too_many[] = "is one directory too many";
        struct record record = { .attributes = *a, .size = (uint32_t)strlen(n->path) + 1 };
        const char *name;
        int dir, r;

        if (n->depth == 0)
                return 0; /* the target keeps its own */
        dir = find_parent(t, n, &name, err);
        if (dir < 0)
                return dir;
        r = make_one(t, dir, name, S_IRWXU);
        if (r == -EFBIG)
                return unpack_refuse(err, r, n->path, too_many);
        if (r == 0) {
                t->n_directories++;
        } else if (r != -EEXIST) {
                return r;
        } else {
                struct stat st;

                if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return -errno;
                if (!S_ISDIR(st.st_mode))
                        return unpack_refuse(err, -EBADMSG, n->path,
                                             "is a directory, after something else of that name");
        }
        r = buf_append(&t->directories, &record, sizeof(record));
        if (r == 0)
                r = buf_append(&t->directories, n->path, record.size);
        return r == -EFBIG ? unpack_refuse(err, r, n->path, too_many) : r;
}

/* See the header. */
int unpack_tree_symlink(struct unpack_tree *t, const struct unpack_name *n, const char *target,
                        const struct unpack_attributes *a, struct error *err)
{
        struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, a->time };
        const char *name;
        int dir = find_parent(t, n, &name, err);

        if (dir < 0)
                return dir;
        for (unsigned i = 0; i < MAX_TRIES; i++) {
                int r;

                if (symlinkat(target, dir, name) == 0) {
                        t->n_links++;
                        if (a->has_time) /* as for files */
                                (void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
                        return 0;
                }
                r = errno == EEXIST ? make_room(dir, name, n, err) : -errno;
                if (r < 0)
                        return r;
        }
        return -EEXIST;
}

/* See the header. What is linked is what was looked at: by its descriptor, not by its name. A link to a symbolic link
 * would be one that was judged for another place. */
int unpack_tree_hard_link(struct unpack_tree *t, const struct unpack_name *n,
                          const struct unpack_name *target, struct error *err)
{
        static const char why[] = "is a hard link to what is no file of the archive before it";
        CLEANUP(fd_close) int fd = -1;
        char path[PLACE_FD_PATH_SIZE];
        const char *name;
        struct stat st;
        int dir;

        if (target->depth == 0)
                return unpack_refuse(err, -EBADMSG, n->path, why);
        if (strcmp(n->path, target->path) == 0)
                return unpack_refuse(err, -EBADMSG, n->path, "is a hard link to itself");
        dir = find_parent(t, target, &name, err);
        if (dir == -EBADMSG)
                return unpack_refuse(err, -EBADMSG, n->path,
                                     "is a hard link through a link or a file of the archive");
        if (dir < 0)
                return dir;
        fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
                return -errno;
        if (fd >= 0 && fstat(fd, &st) < 0)
                return -errno;
        if (fd < 0 || !S_ISREG(st.st_mode))
                return unpack_refuse(err, -EBADMSG, n->path, why);

        dir = find_parent(t, n, &name, err);
        if (dir < 0)
                return dir;
        for (unsigned i = 0; i < MAX_TRIES; i++) {
                int r;

                if (linkat(AT_FDCWD, place_fd_path(fd, path), dir, name, AT_SYMLINK_FOLLOW) == 0) {
                        t->n_links++;
                        return 0;
                }
                r = errno == EEXIST ? make_room(dir, name, n, err) : -errno;
                if (r < 0)
                        return r;
        }
        return -EEXIST;
}

/* See the header. */
int unpack_tree_finish(struct unpack_tree *t, int (*step)(void *arg), void *arg, struct error *err)
{
        char path[PLACE_FD_PATH_SIZE];

        for (size_t at = 0; at < t->directories.size;) {
                struct unpack_name n = { .depth = 1 };
                struct timespec times[2] = { { .tv_nsec = UTIME_NOW } };
                struct record record;
                int dir, r;

                memcpy(&record, t->directories.data + at, sizeof(record));
                memcpy(n.path, t->directories.data + at + sizeof(record), record.size);
                at += sizeof(record) + record.size;
                dir = find(t, &n, strlen(n.path), err);
                if (dir < 0)
                        return dir;
                (void)place_fd_path(dir, path);
                if (chmod(path, (record.attributes.mode & PERMISSIONS) | S_IRWXU) < 0)
                        return -errno;
                times[1] = record.attributes.time;
                if (record.attributes.has_time)
                        (void)utimensat(AT_FDCWD, path, times, 0); /* as for files */
                r = step(arg);
                if (r < 0)
                        return r;
        }
        return 0;
}
