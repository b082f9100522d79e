/* SPDX-License-Identifier: Apache-2.0 */

/* Reading the ring files while somebody else writes them; see the header for how. */

#include "proc/joblog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/macros.h"

/* A mark is written in much less than a microsecond: one that never fits its sum is damaged. */
#define MARK_TRIES 1000
/* How often a writer that runs in circles is chased before what was caught is delivered. */
#define CHASE_TRIES 8

/* See the header. */
ssize_t joblog_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
        ssize_t n = pwrite(fd, data, size, (off_t)offset);

        return n < 0 ? -errno : n;
}

static ssize_t read_at(int fd, void *dst, size_t size, uint64_t offset)
{
        ssize_t n;

        do {
                n = pread(fd, dst, size, (off_t)offset);
        } while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

/* See the header. */
int joblog_open(int dir_fd, const char *name, struct joblog *ret)
{
        struct joblog_header header;
        CLEANUP(fd_close)
        int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        struct stat st;
        ssize_t n;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        n = read_at(fd, &header, sizeof(header), 0);
        if (n < 0)
                return (int)n;
        if (n != sizeof(header) || memcmp(header.magic, JOBLOG_MAGIC, sizeof(header.magic)) != 0 ||
            header.version != JOBLOG_VERSION || header.data != JOBLOG_DATA ||
            header.capacity == 0 || header.capacity > INT64_MAX / 2)
                return -EBADMSG;
        *ret = (struct joblog){ .fd = STEAL_FD(fd), .capacity = header.capacity };
        return 0;
}

/* See the header. */
void joblog_close(struct joblog *l)
{
        l->fd = fd_close(l->fd);
}

static int read_mark(const struct joblog *l, struct joblog_mark *ret)
{
        for (unsigned i = 0; i < MARK_TRIES; i++) {
                ssize_t n = read_at(l->fd, ret, sizeof(*ret), offsetof(struct joblog_header, mark));

                if (n < 0)
                        return (int)n;
                if (n == sizeof(*ret) && ret->check == joblog_check(ret) &&
                    ret->reserved >= ret->total)
                        return 0;
        }
        return -EBADMSG;
}

/* The oldest offset that nobody is about to overwrite. */
static uint64_t first_of(const struct joblog *l, const struct joblog_mark *m)
{
        return m->reserved > l->capacity ? MIN(m->reserved - l->capacity, m->total) : 0;
}

/* See the header. */
int joblog_totals(const struct joblog *l, struct joblog_totals *ret)
{
        struct joblog_mark mark;
        int r = read_mark(l, &mark);

        if (r < 0)
                return r;
        *ret = (struct joblog_totals){ .total = mark.total,
                                       .first = first_of(l, &mark),
                                       .dropped = mark.dropped };
        return 0;
}

/* The range, in the one or two pieces that it is stored in. */
static int read_range(const struct joblog *l, uint64_t offset, char *dst, size_t size)
{
        while (size > 0) {
                uint64_t at = offset % l->capacity;
                size_t wanted = (size_t)MIN(size, l->capacity - at);
                ssize_t n = read_at(l->fd, dst, wanted, JOBLOG_DATA + at);

                if (n < 0)
                        return (int)n;
                if (n == 0)
                        return -EBADMSG; /* the mark speaks of more than there is */
                offset += (uint64_t)n;
                dst += n;
                size -= (size_t)n;
        }
        return 0;
}

/* See the header. */
ssize_t joblog_read(const struct joblog *l, uint64_t offset, void *dst, size_t size,
                    uint64_t *ret_offset)
{
        struct joblog_mark mark;
        uint64_t first, start;
        size_t n;
        int r;

        r = read_mark(l, &mark);
        if (r < 0)
                return r;
        if (offset > mark.total)
                return -ERANGE;
        for (unsigned i = 0;; i++) {
                start = MAX(offset, first_of(l, &mark));
                /* Who is overtaken again and again is given a head start. */
                if (start > offset && i > 1)
                        start = MIN(start + l->capacity / CHASE_TRIES * i / 2, mark.total);
                n = (size_t)MIN(size, mark.total - start);
                r = read_range(l, start, dst, n);
                if (r < 0)
                        return r;
                __sync_synchronize();
                r = read_mark(l, &mark);
                if (r < 0)
                        return r;
                first = first_of(l, &mark);
                if (first <= start)
                        break;
                if (first < start + n) {
                        n -= (size_t)(first - start);
                        memmove(dst, (char *)dst + (first - start), n);
                        start = first;
                        break;
                }
                if (i == CHASE_TRIES) { /* nothing of it is left: the caller comes again */
                        start = first;
                        n = 0;
                        break;
                }
        }
        *ret_offset = start;
        return (ssize_t)n;
}
