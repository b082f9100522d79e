/* SPDX-License-Identifier: Apache-2.0 */

/* Directories. One is opened by its remembered path, in pieces if that is long, and is believed only if it is the very
 * directory that is remembered: then it does not matter who renamed what meanwhile, or put a symbolic link on the way.
 * Watches are added through /proc/self/fd, so that what is watched is what was opened. And always before it is read:
 * what is made between the two is reported, what was there is read. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/watch/pass_private.h"

#define WATCHED                                                                             \
        (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | \
         IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)

/* The descriptor or a negative errno. @path is changed in between. */
static int open_path(char *path)
{
        size_t left = strlen(path);
        int at = AT_FDCWD, fd;

        while (left >= PATH_MAX) {
                size_t size = PATH_MAX - 1;

                while (path[size] != '/')
                        size--;
                path[size] = '\0';
                fd = openat(at, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
                path[size] = '/';
                fd_close(at);
                if (fd < 0)
                        return -errno;
                at = fd;
                path += size + 1;
                left -= size + 1;
        }
        fd = openat(at, path, DIRECTORY_FLAGS);
        if (fd < 0)
                fd = -errno;
        fd_close(at);
        return fd;
}

/* A descriptor of the remembered directory; -ESTALE: that place has another one. */
static int open_folder(struct pass *p, const struct folder *f)
{
        struct stat st;
        int fd;

        p->work += 4;
        p->path.size = 0;
        mirror_append_path(&p->mirror, f->self, NULL, &p->path);
        fd = open_path(p->path.size == 0 ? (char[]){ "/" } : p->path.data);
        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                goto stale;

        if (f->self == p->mirror.root && !p->has_root) {
                f->self->inode = st.st_ino;
                ((struct folder *)f)->device = st.st_dev;
                p->has_root = true;
        }
        if (st.st_ino != f->self->inode || st.st_dev != f->device)
                goto stale;
        return fd;

stale:
        fd_close(fd);
        return -ESTALE;
}

/* See the header. */
bool scan_is_in_place(struct pass *p, const struct folder *f)
{
        struct stat st;
        bool is_there;
        int fd;

        if (f->self == p->mirror.root)
                return true;
        fd = open_folder(p, f->self->parent);
        if (fd < 0)
                return false;
        is_there = fstatat(fd, f->self->name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 &&
                   st.st_ino == f->self->inode && st.st_dev == f->device;
        fd_close(fd);
        return is_there;
}

static bool is_shortage(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EINTR;
}

static bool is_denial(int r)
{
        return r == -EACCES || r == -EPERM;
}

/* The value of a sysctl, for messages. */
static void read_limit(const char *path, char *ret, size_t size)
{
        FILE *file = fopen(path, "re");

        if (!file || !fgets(ret, (int)size, file))
                (void)snprintf(ret, size, "?");
        ret[strcspn(ret, "\n")] = '\0';
        if (file)
                (void)fclose(file);
}

static enum scan_outcome add_watch(struct pass *p, int fd, int *ret_wd)
{
        char path[32], limit[32];
        int wd, r;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        wd = inotify_add_watch(p->inotify_fd, path, WATCHED);
        if (wd >= 0) {
                *ret_wd = wd;
                return mirror_find_watched(&p->mirror, wd) ? SCAN_KNOWN : SCAN_NEW;
        }

        r = -errno;
        if (is_denial(r))
                return SCAN_DENIED;
        if (r == -ENOMEM)
                return SCAN_BUSY;
        if (r == -ENOSPC) {
                read_limit("/proc/sys/fs/inotify/max_user_watches", limit, sizeof(limit));
                (void)pass_fail(p, r,
                                "the kernel's limit of inotify watches is reached: raise the "
                                "sysctl fs.inotify.max_user_watches (now %s; each directory below "
                                "what is watched needs one)",
                                limit);
                return SCAN_FAILED;
        }
        if (r == -ENOENT)
                (void)pass_fail(p, r, "watching needs /proc");
        else
                (void)pass_fail(p, r, "inotify_add_watch");
        return SCAN_FAILED;
}

/* See the header. */
enum scan_outcome scan_watch_at(struct pass *p, int fd, const char *name, const struct stat *st,
                                int *ret_wd)
{
        enum scan_outcome outcome;
        struct stat now;
        int sub;

        p->work += 4;
        sub = openat(fd, name, DIRECTORY_FLAGS);
        if (sub < 0) {
                if (is_denial(-errno))
                        return SCAN_DENIED;
                return is_shortage(-errno) ? SCAN_BUSY : SCAN_CHANGED;
        }
        if (fstat(sub, &now) < 0 || now.st_ino != st->st_ino || now.st_dev != st->st_dev)
                outcome = SCAN_CHANGED;
        else
                outcome = add_watch(p, sub, ret_wd);
        fd_close(sub);
        return outcome;
}

/* Has every name looked at that is in the mirror or in the directory. */
static int read_names(struct pass *p, struct folder *f, int fd)
{
        _Alignas(struct dirent64) char buffer[16 * KIB];
        size_t n_new = 0;
        ssize_t size;

        list_for_each(link, &f->children) {
                slot_push(&f->slots, list_entry(link, struct entry, siblings)->name, SLOT_SCANNED,
                          0);
                p->work++;
        }
        while ((size = getdents64(fd, buffer, sizeof(buffer))) > 0) {
                for (ssize_t at = 0; at < size;) {
                        const struct dirent64 *d = (const struct dirent64 *)(buffer + at);

                        at += d->d_reclen;
                        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
                            mirror_find(&p->mirror, f, d->d_name))
                                continue;
                        if (d->d_type != DT_UNKNOWN &&
                            look_interest(p, f, d->d_name, d->d_type == DT_DIR) == WATCH_IGNORE)
                                continue;
                        slot_push(&f->slots, d->d_name, SLOT_SCANNED, 0);
                        if (++n_new > p->options.max_entries)
                                return tell_too_many(p);
                }
        }
        return size < 0 ? -errno : 0;
}

/* True: it was a reason to end. A root that may not be read for a while is opened in every pass. */
static bool cannot_open_root(struct pass *p, int r)
{
        bool is_watched = p->mirror.root->folder->wd >= 0;

        if (is_watched && (is_shortage(r) || is_denial(r))) {
                p->is_closed |= is_denial(r);
                return false;
        }
        if (p->has_root && (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ESTALE))
                p->is_gone = true;
        else
                (void)pass_fail(p, r, "open the directory to watch");
        return true;
}

/* The directory is not where the mirror has it, or cannot be opened. */
static void cannot_open(struct pass *p, struct folder *f, int r)
{
        if (f->self == p->mirror.root && cannot_open_root(p, r)) {
                list_remove(&f->queue);
                return;
        }
        if (is_shortage(r)) {
                pass_queue_later(p, f);
                return;
        }
        if (!is_denial(r)) {
                /* It was moved or removed: look where it was, and then come back. */
                pass_queue_slot(p, f->self->parent, f->self->name, 0);
                pass_queue_later(p, f);
                return;
        }
        p->n_denied++;
        f->wants_scan = false;
        f->wants_watch = false;
        slots_free(&f->slots);
        list_remove(&f->queue);
}

/* Watches a folder of the mirror (again). False: it is settled that this does not happen now. */
static bool watch_folder(struct pass *p, struct folder *f, int fd)
{
        struct folder *other;
        int wd;

        switch (add_watch(p, fd, &wd)) {
        case SCAN_NEW:
                break;
        case SCAN_KNOWN:
                other = mirror_find_watched(&p->mirror, wd);
                if (other == f)
                        break;
                if (scan_is_in_place(p, other)) {
                        cannot_open(p, f, -EACCES); /* it is mounted twice */
                        return false;
                }
                mirror_set_watched(&p->mirror, other, -1);
                pass_queue_slot(p, other->self->parent, other->self->name, SLOT_SCANNED);
                break;
        case SCAN_DENIED:
                cannot_open(p, f, -EACCES);
                return false;
        case SCAN_BUSY:
                cannot_open(p, f, -ENOMEM);
                return false;
        case SCAN_CHANGED:
        case SCAN_FAILED:
                return false;
        }
        if (f->wd != wd)
                mirror_set_watched(&p->mirror, f, wd);
        return true;
}

/* Does what is to be done in one directory, or some of it. Then it is on no list, or on the one where it has to be. */
void scan_folder(struct pass *p, struct folder *f)
{
        struct slot *slot;
        int fd;

        fd = open_folder(p, f);
        if (fd < 0) {
                cannot_open(p, f, fd);
                return;
        }
        list_remove(&f->queue);
        if (f->self == p->mirror.root && p->is_closed) {
                p->is_closed = false;
                pass_queue_tree(p, f->self, false);
                list_remove(&f->queue);
        }
        if (f->wants_watch || f->wd < 0) {
                if (!watch_folder(p, f, fd)) {
                        fd_close(fd);
                        return;
                }
                f->wants_watch = false;
        }
        if (f->wants_scan) {
                f->wants_scan = false;
                if (read_names(p, f, fd) < 0) {
                        f->wants_scan = true;
                        pass_queue_later(p, f);
                        fd_close(fd);
                        return;
                }
        }
        while (!pass_is_over_budget(p) && (slot = slot_pop(&f->slots))) {
                if (look_at(p, f, fd, slot)) {
                        free(slot);
                        continue;
                }
                slot->next = f->slots;
                f->slots = slot;
                break;
        }
        fd_close(fd);

        if (f->slots)
                pass_queue(p, f);
}
