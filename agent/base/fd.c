/* SPDX-License-Identifier: Apache-2.0 */

/* File descriptors: closing without losing errno, flags, and reading or writing a whole file.
 * Every descriptor made here is close-on-exec from birth, because children are started at any
 * time. */

#include "agent/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK (16 * KIB)

/* Closes @fd unless it is negative. An error of close is of no use to anybody: the descriptor is
 * gone. */
int fd_close(int fd)
{
        int saved_errno = errno;

        if (fd >= 0)
                (void)close(fd);
        errno = saved_errno;
        return -1;
}

/* Turns close-on-exec on or off. */
int fd_set_cloexec(int fd, bool on)
{
        int flags = fcntl(fd, F_GETFD);

        if (flags < 0)
                return -errno;
        flags = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
        return fcntl(fd, F_SETFD, flags) < 0 ? -errno : 0;
}

/* Turns non-blocking mode on or off. It belongs to the open file, so everybody who shares it is
 * affected. */
int fd_set_nonblock(int fd, bool on)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

/* See the header. */
void fd_keep_alive(int fd)
{
        static const struct {
                int level, name, value;
        } options[] = {
                { IPPROTO_TCP, TCP_KEEPIDLE, 1 },
                { IPPROTO_TCP, TCP_KEEPINTVL, 1 },
                { IPPROTO_TCP, TCP_KEEPCNT, 5 },
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
        };

        for (size_t i = 0; i < ARRAY_LEN(options); i++)
                (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                                 sizeof(options[i].value)); /* not TCP: nothing to ask for */
}

/* Writes all of @data to a blocking descriptor. On failure an unknown part of it was written. */
int fd_write_all(int fd, const void *data, size_t size)
{
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                size -= (size_t)n;
        }
        return 0;
}

/* Appends what @fd still has. Only reading tells how much that is: files of /proc claim to be
 * empty, others grow. */
static int read_to_end(int fd, size_t max, struct buf *ret)
{
        char chunk[READ_CHUNK];
        int r = 0;

        while (r == 0) {
                ssize_t n = read(fd, chunk, sizeof(chunk));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n == 0)
                        break;
                if (n < 0) {
                        r = -errno;
                } else if ((size_t)n > max) {
                        r = -EFBIG;
                } else {
                        r = buf_append(ret, chunk, (size_t)n);
                        max -= (size_t)n;
                }
        }

        explicit_bzero(chunk, sizeof(chunk)); /* keys are read with this, too */
        return r;
}

/* Appends the content of the regular file @path. On failure the buffer holds what it held
 * before. */
int fd_read_file(const char *path, size_t max, struct buf *ret, struct error *err)
{
        CLEANUP(fd_close) int fd = -1;
        size_t old_size = ret->size;
        struct stat st;
        int r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return error_set(err, -errno, "open %s", path);
        if (fstat(fd, &st) < 0)
                return error_set(err, -errno, "stat %s", path);
        if (!S_ISREG(st.st_mode))
                return error_set_field(err, -EINVAL, "", "%s: not a regular file", path);
        if ((uint64_t)st.st_size > max)
                return error_set(err, -EFBIG, "read %s", path);

        r = read_to_end(fd, max, ret);
        if (r < 0) {
                ret->size = old_size;
                if (ret->data)
                        ret->data[old_size] = '\0';
                return error_set(err, r, "read %s", path);
        }
        return 0;
}

/* An anonymous file with @data in it, ready to be read or handed to a child. */
int fd_memfd(const char *name, const void *data, size_t size)
{
        CLEANUP(fd_close) int fd = -1;
        int r;

        fd = memfd_create(name, MFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = fd_write_all(fd, data, size);
        if (r < 0)
                return r;
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;

        return STEAL_FD(fd);
}
