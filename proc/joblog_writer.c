/* SPDX-License-Identifier: Apache-2.0 */

/* The writing half of the ring files (joblog.h). The mark is written with pwrite, like the data: a shared mapping
 * would be cheaper, but a file system that copies on write could fail to find space for that page, and then the
 * kernel sends SIGBUS instead of an error. */

#include <errno.h>
#include <stdbool.h>

#include "agent/base/macros.h"
#include "proc/joblog.h"

static long write_mark(struct joblog_writer *w)
{
        w->mark.check = joblog_check(&w->mark);
        return joblog_pwrite(w->fd, &w->mark, sizeof(w->mark),
                             offsetof(struct joblog_header, mark));
}

/* See the header. */
int joblog_writer_init(struct joblog_writer *w, int fd, uint64_t capacity)
{
        struct joblog_header header = { .version = JOBLOG_VERSION, .data = JOBLOG_DATA };
        static const char magic[] = JOBLOG_MAGIC;
        ssize_t n;

        if (capacity == 0 || capacity > INT64_MAX / 2)
                return -EINVAL;
        *w = (struct joblog_writer){ .fd = fd, .capacity = capacity };
        w->mark.check = joblog_check(&w->mark);
        for (size_t i = 0; i < sizeof(header.magic); i++)
                header.magic[i] = magic[i];
        header.capacity = capacity;
        header.mark = w->mark;
        n = joblog_pwrite(fd, &header, sizeof(header), 0);
        if (n < 0)
                return (int)n;
        return n == sizeof(header) ? 0 : -ENOSPC;
}

/* No more than the capacity. */
static size_t store_piece(struct joblog_writer *w, const char *data, size_t size)
{
        uint64_t reserved = w->mark.reserved;
        size_t done = 0;
        int r = 0;

        if (w->mark.total + size > w->capacity) {
                w->mark.reserved = MAX(reserved, w->mark.total + size);
                r = (int)write_mark(w); /* nobody may be overtaken unawares */
                __sync_synchronize();
        }
        while (r >= 0 && done < size) {
                uint64_t at = w->mark.total % w->capacity;
                size_t wanted = (size_t)MIN(size - done, w->capacity - at);
                ssize_t n = joblog_pwrite(w->fd, data + done, wanted, JOBLOG_DATA + at);

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        break;
                done += (size_t)n;
                w->mark.total += (uint64_t)n;
        }
        /* What was not overwritten after all can still be read. */
        w->mark.reserved = MAX(reserved, w->mark.total);
        return done;
}

/* Stores without counting what is lost. Returns how much of @data got its offsets. */
static size_t store(struct joblog_writer *w, const char *data, size_t size)
{
        size_t done = 0, wanted, n;

        do {
                wanted = (size_t)MIN(size - done, w->capacity);
                n = store_piece(w, data + done, wanted);
                done += n;
        } while (n == wanted && done < size);
        return done;
}

/* "\n[123 bytes of output are missing here: no space left on the device]\n" */
static size_t make_marker(char text[128], uint64_t n_missing)
{
        static const char tail[] =
                " bytes of output are missing here: no space left on the device]\n";
        char digits[20];
        size_t n_digits = 0, size = 0;

        do {
                digits[n_digits++] = (char)('0' + n_missing % 10);
                n_missing /= 10;
        } while (n_missing > 0);
        text[size++] = '\n';
        text[size++] = '[';
        while (n_digits > 0)
                text[size++] = digits[--n_digits];
        for (size_t i = 0; i < sizeof(tail) - 1; i++)
                text[size++] = tail[i];
        return size;
}

/* True when the stream says all that is missing. Half a marker takes no offsets. */
static bool say_what_is_missing(struct joblog_writer *w)
{
        struct joblog_mark before = w->mark;
        char text[128];
        size_t size;

        if (w->unsaid == 0)
                return true;
        size = make_marker(text, w->unsaid);
        if (store(w, text, size) == size) {
                w->unsaid = 0;
                return true;
        }
        w->mark.total = before.total;
        return false;
}

/* See the header. */
void joblog_write(struct joblog_writer *w, const void *data, size_t size)
{
        size_t done = say_what_is_missing(w) ? store(w, data, size) : 0;

        w->unsaid += size - done;
        w->mark.dropped += size - done;
        __sync_synchronize();
        /* Where this fails the next one says it too. */
        (void)write_mark(w);
}
