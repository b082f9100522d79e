/* SPDX-License-Identifier: Apache-2.0 */

/* A temporary file in the target's directory, renamed at the end. The directory is held by a descriptor, so the whole
 * work is done where the path was checked, whatever happens to names meanwhile. */

#include "agent/files/write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"

#define DIRECTORY_MODE 0777 /* under the agent's umask */
#define PERMISSIONS    07777

struct file_writer {
        const struct roots *roots;
        struct file_write_options options;
        struct place place;
        dev_t dir_device; /* of place.dir */
        ino_t dir_inode;
        char *path; /* as the client wrote it */
        int fd;     /* of the temporary file or, appending, of the file itself */
        bool has_temporary;
        char temporary[TEMPORARY_NAME_SIZE];
        uint64_t size;    /* written */
        uint64_t old_end; /* appending: where the old content ends */
};

/* Takes back what was appended, if nobody else has appended meanwhile; a file that was made for it goes. */
static void undo_append(struct file_writer *w)
{
        struct stat st, now;

        if (fstat(w->fd, &st) < 0 || (uint64_t)st.st_size != w->old_end + w->size)
                return;
        if (w->place.fd >= 0) {
                int r = ftruncate(w->fd, (off_t)w->old_end);

                (void)r; /* there is nothing more that could be done */
        } else if (fstatat(w->place.dir, w->place.name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
                   now.st_ino == st.st_ino && now.st_dev == st.st_dev) {
                (void)unlinkat(w->place.dir, w->place.name, 0); /* likewise */
        }
}

/* See the header. */
struct file_writer *file_writer_abort(struct file_writer *w)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };

        if (!w)
                return NULL;

        (void)files_scope_enter(&scope, &w->roots->user);
        if (w->has_temporary)
                temporary_remove(w->place.dir, w->temporary);
        if (w->options.append && w->fd >= 0)
                undo_append(w);
        (void)fd_close(w->fd);
        place_done(&w->place);
        free(w->path);
        free(w);
        return NULL;
}

static int check_target(const struct file_writer *w)
{
        if (w->place.fd < 0)
                return 0;
        if (S_ISDIR(w->place.st.st_mode))
                return -EISDIR;
        if (!S_ISREG(w->place.st.st_mode))
                return -ENXIO;
        if (!w->options.overwrite && !w->options.append)
                return -EEXIST;
        return place_check_writable(&w->place);
}

/* A new file that nobody describes gets what open() would give it; every other stays private until it is complete. */
static unsigned first_mode(const struct file_writer *w)
{
        return w->options.mode == FILE_MODE_KEEP && w->place.fd < 0 ? 0666 : 0600;
}

static int open_for_append(struct file_writer *w)
{
        if (w->place.fd >= 0) {
                w->fd = place_open(&w->place, O_WRONLY | O_APPEND);
                if (w->fd < 0)
                        return w->fd;
        } else {
                w->fd = openat(w->place.dir, w->place.name,
                               O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC |
                                       O_NOCTTY,
                               first_mode(w));
                if (w->fd < 0)
                        return -errno;
        }
        if (fstat(w->fd, &w->place.st) < 0)
                return -errno;
        w->old_end = (uint64_t)w->place.st.st_size;
        return 0;
}

static int open_target(struct file_writer *w)
{
        int r = check_target(w);

        if (r < 0)
                return r;
        if (w->options.append)
                return open_for_append(w);
        w->fd = temporary_make_file(w->place.dir, first_mode(w), w->temporary);
        w->has_temporary = w->fd >= 0;
        return w->has_temporary ? 0 : w->fd;
}

static int identify_directory(struct file_writer *w)
{
        struct stat st;

        if (fstat(w->place.dir, &st) < 0)
                return -errno;
        w->dir_device = st.st_dev;
        w->dir_inode = st.st_ino;
        return 0;
}

/* See the header. */
int file_writer_open(const struct roots *roots, const char *path,
                     const struct file_write_options *o, struct file_writer **ret,
                     struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(file_writer_abort) struct file_writer *w = xnew(struct file_writer);
        int r;

        *w = (struct file_writer){
                .roots = roots, .options = *o, .place = PLACE_INIT, .path = xstrdup(path), .fd = -1
        };
        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, PLACE_CREATE, o->make_parents ? DIRECTORY_MODE : 0,
                               &w->place, err);
        if (r != 0)
                return explain_missing_parent(roots, path, r, err);
        r = open_target(w);
        if (r == 0)
                r = identify_directory(w);
        if (r < 0)
                return files_fail_errno(err, r, path);
        *ret = STEAL(w);
        return 0;
}

/* See the header. */
bool file_writer_is_same(const struct file_writer *a, const struct file_writer *b)
{
        return a->dir_inode == b->dir_inode && a->dir_device == b->dir_device &&
               strcmp(a->place.name, b->place.name) == 0;
}

/* See the header. */
int file_writer_write(struct file_writer *w, const void *data, size_t size, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        const char *p = data;
        int r;

        /* As the user: a program that is appended to loses its set-user-ID bit then. */
        r = roots_enter(w->roots, &scope, w->path, err);
        if (r != 0)
                return r;
        /* What has been written counts even when the rest of it fails, so that an append can be undone. */
        while (size > 0) {
                ssize_t n = write(w->fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return files_fail_errno(err, -errno, w->path);
                p += n;
                size -= (size_t)n;
                w->size += (uint64_t)n;
        }
        return 0;
}

/* Owner and mode of the complete file. */
static int adorn(const struct file_writer *w)
{
        bool is_new = w->place.fd < 0;
        mode_t mode;
        struct stat st;

        if (w->options.mode == FILE_MODE_KEEP && (is_new || w->options.append))
                return 0;
        if (fstat(w->fd, &st) < 0)
                return -errno;

        mode = (mode_t)w->options.mode & PERMISSIONS;
        if (w->options.mode == FILE_MODE_KEEP)
                mode = w->place.st.st_mode & PERMISSIONS;
        if (!is_new && !w->options.append &&
            (st.st_uid != w->place.st.st_uid || st.st_gid != w->place.st.st_gid)) {
                /* Both, or at least the group, or it becomes the user's. */
                if (fchown(w->fd, w->place.st.st_uid, w->place.st.st_gid) < 0 &&
                    (fchown(w->fd, (uid_t)-1, w->place.st.st_gid) < 0 ||
                     st.st_uid != w->place.st.st_uid) &&
                    w->options.mode == FILE_MODE_KEEP)
                        mode &= ~(mode_t)(S_ISUID | S_ISGID);
        }
        return fchmod(w->fd, mode) < 0 ? -errno : 0;
}

static int sync_directory(const struct file_writer *w)
{
        char path[PLACE_FD_PATH_SIZE];
        CLEANUP(fd_close)
        int fd = open(place_fd_path(w->place.dir, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        /* A directory that may be written to but not read cannot be synced; the file was. */
        if (fd >= 0 && fsync(fd) < 0 && errno != EINVAL)
                return -errno;
        return 0;
}

static int publish(struct file_writer *w)
{
        int r;

        r = adorn(w);
        if (r < 0)
                return r;
        if (w->options.is_synced && fsync(w->fd) < 0)
                return -errno;
        if (w->has_temporary) {
                r = place_publish(&w->place, w->temporary, w->options.overwrite);
                if (r < 0)
                        return r;
                w->has_temporary = false;
        }
        w->options.append = false; /* nothing is to be undone any more */
        return w->options.is_synced ? sync_directory(w) : 0;
}

static int commit(struct file_writer *w, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        int r;

        r = roots_enter(w->roots, &scope, w->path, err);
        if (r != 0)
                return r;
        r = publish(w);
        return r < 0 ? files_fail_errno(err, r, w->path) : 0;
}

/* See the header. */
int file_writer_commit(struct file_writer *w, struct file_written *ret, struct error *err)
{
        int r = commit(w, err);

        if (r == 0 && ret)
                *ret = (struct file_written){ .size = w->size, .is_created = w->place.fd < 0 };
        (void)file_writer_abort(w); /* what was published is not undone */
        return r;
}

/* See the header. */
int file_write(const struct roots *roots, const char *path, const void *data, size_t size,
               const struct file_write_options *o, struct file_written *ret, struct error *err)
{
        CLEANUP(file_writer_abort) struct file_writer *w = NULL;
        int r;

        r = file_writer_open(roots, path, o, &w, err);
        if (r == 0)
                r = file_writer_write(w, data, size, err);
        if (r != 0)
                return r;
        return file_writer_commit(STEAL(w), ret, err);
}
