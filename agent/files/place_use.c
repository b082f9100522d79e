/* SPDX-License-Identifier: Apache-2.0 */

/* What can be done with a place that was found. */

#include "agent/files/place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/files/temporary.h"

/* /proc/self/fd, kept open: looking up these three names again costs as much as what follows. -1: it cannot be opened,
 * or this is a child of the process that has opened it, whose descriptors are others. */
static atomic_int links = -1;

static void forget_links(void)
{
        atomic_store(&links, -1);
}

/* See the header. */
void place_prepare(void)
{
        int none = -1, fd;

        if (atomic_load(&links) >= 0)
                return;
        fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (pthread_atfork(NULL, NULL, forget_links) != 0 ||
            !atomic_compare_exchange_strong(&links, &none, fd))
                (void)fd_close(fd);
}

/* Where the link to what @fd is stands: the name @dst in the directory that is returned. */
static int link_of(int fd, char dst[PLACE_FD_PATH_SIZE])
{
        int dir = atomic_load_explicit(&links, memory_order_relaxed);

        if (dir < 0)
                (void)place_fd_path(fd, dst);
        else
                (void)snprintf(dst, PLACE_FD_PATH_SIZE, "%d", fd);
        return dir < 0 ? AT_FDCWD : dir;
}

/* See the header. */
const char *place_fd_path(int fd, char dst[PLACE_FD_PATH_SIZE])
{
        (void)snprintf(dst, PLACE_FD_PATH_SIZE, "/proc/self/fd/%d", fd);
        return dst;
}

/* See the header. */
void place_done(struct place *p)
{
        p->fd = fd_close(p->fd);
        p->dir = fd_close(p->dir);
}

/* See the header. access() asks for the real user, and opening for writing would be seen
 * by those who watch. */
int place_check_writable(const struct place *p)
{
        char name[PLACE_FD_PATH_SIZE];
        int dir = link_of(p->fd, name), fd;

        if (syscall(SYS_faccessat2, dir, name, W_OK, AT_EACCESS) == 0)
                return 0;
        if (errno != ENOSYS && errno != EPERM)
                return errno == ETXTBSY ? 0 : -errno;
        fd = place_open(p, O_WRONLY);
        if (fd < 0)
                return fd == -ETXTBSY ? 0 : fd; /* a program that runs may be replaced */
        (void)fd_close(fd);
        return 0;
}

/* See the header. */
int place_check_changeable(int dir)
{
        struct statx x;

        if (syscall(SYS_faccessat2, dir, ".", W_OK | X_OK, AT_EACCESS) == 0)
                return 0;
        if (errno != ENOSYS && errno != EPERM)
                return -errno;
        /* Sandboxes that do not know the call say the same as an immutable directory. */
        if (statx(dir, ".", 0, STATX_TYPE, &x) < 0 || !(x.stx_attributes & STATX_ATTR_IMMUTABLE))
                return 0;
        return -EPERM;
}

/* See the header. */
int place_check_removable(int dir, const char *name)
{
        uid_t user = (uid_t)syscall(SYS_setfsuid, -1);
        struct statx above, x;
        int r;

        r = place_check_changeable(dir);
        if (r < 0)
                return r;
        if (statx(dir, ".", 0, STATX_BASIC_STATS, &above) < 0 ||
            statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &x) < 0)
                return -errno;
        if (x.stx_attributes & STATX_ATTR_MOUNT_ROOT)
                return -EBUSY;
        if ((above.stx_attributes & STATX_ATTR_APPEND) ||
            (x.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)))
                return -EPERM;
        if ((above.stx_mode & S_ISVTX) && user != 0 && above.stx_uid != user && x.stx_uid != user)
                return -EPERM;
        return 0;
}

/* See the header. */
int place_where(int fd, char dst[PATH_MAX])
{
        char name[PLACE_FD_PATH_SIZE];
        int dir = link_of(fd, name);
        ssize_t n = readlinkat(dir, name, dst, PATH_MAX);

        if (n < 0)
                return -errno;
        if (n == PATH_MAX)
                return -ENAMETOOLONG;
        dst[n] = '\0';
        return (int)n;
}

/* See the header. The descriptor cannot lead anywhere else, so this opens what was checked. */
int place_reopen(int fd, int flags)
{
        char name[PLACE_FD_PATH_SIZE];
        int dir = link_of(fd, name);

        fd = openat(dir, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        return fd < 0 ? -errno : fd;
}

/* See the header. */
int place_open(const struct place *p, int flags)
{
        if (!S_ISREG(p->st.st_mode) && !S_ISDIR(p->st.st_mode))
                return -ENXIO;
        return place_reopen(p->fd, flags);
}

/* File systems without RENAME_NOREPLACE have hard links, or no safe way. */
static int publish_new(int dir, const char *temporary, const char *name)
{
        if (renameat2(dir, temporary, dir, name, RENAME_NOREPLACE) == 0) {
                temporary_forget(temporary);
                return 0;
        }
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        if (linkat(dir, temporary, dir, name, 0) < 0)
                return -errno;
        temporary_remove(dir, temporary); /* it had two names for a while */
        return 0;
}

/* See the header. */
int place_publish(const struct place *p, const char *temporary, bool overwrite)
{
        if (!overwrite)
                return publish_new(p->dir, temporary, p->name);
        if (renameat(p->dir, temporary, p->dir, p->name) < 0)
                return -errno;
        temporary_forget(temporary);
        return 0;
}
