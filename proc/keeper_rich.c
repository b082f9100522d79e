/* SPDX-License-Identifier: Apache-2.0 */

/* What a job displays: lines, from the driver's pipe into a file. The first lines are kept, and whole ones only,
 * because half of a line is worth nothing. So a line that does not fit, or for which the disk has no space, is taken
 * back. The number of these becomes a last line, as a driver itself would say it (driver_protocol.h). Whether they are
 * outputs at all is seen by those who read the file. */

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "proc/keeper_private.h"

static int open_log(struct keeper *k)
{
        long fd;

        if (k->rich.log_fd >= 0)
                return 0;
        fd = kernel(SYS_openat, k->dir_fd, KEEPER_RICH,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return (int)fd;
        k->rich.log_fd = (int)fd;
        return 0;
}

static bool store(struct keeper *k, const char *data, size_t size)
{
        struct rich_log *r = &k->rich;

        while (size > 0 && open_log(k) == 0) {
                ssize_t n = joblog_pwrite(r->log_fd, data, size, r->size);

                if (n == -EINTR)
                        continue;
                if (n <= 0)
                        return false;
                r->size += (uint64_t)n;
                data += n;
                size -= (size_t)n;
        }
        return size == 0;
}

static bool fits(const struct keeper *k, size_t size)
{
        uint64_t max = (uint64_t)k->config.rich_kib * KIB;

        return size <= max - MIN(k->rich.size, max);
}

static void take_back(struct rich_log *r, uint64_t size)
{
        if (r->size == size)
                return;
        r->size = size;
        (void)kernel(SYS_ftruncate, r->log_fd, size);
}

/* A piece of the line. */
static void extend_line(struct keeper *k, const char *data, size_t size)
{
        struct rich_log *r = &k->rich;

        if (size == 0 || r->is_skipping)
                return;
        if (fits(k, size) && store(k, data, size))
                return;
        r->is_skipping = true;
        take_back(r, r->line_start);
}

static void end_line(struct keeper *k)
{
        struct rich_log *r = &k->rich;

        if (r->size > r->line_start)
                extend_line(k, "\n", 1);
        r->n_dropped += r->is_skipping;
        r->is_skipping = false;
        r->line_start = r->size;
}

/* Lines of which nothing is worth a byte. Returns what is left. */
static size_t remove_empty_lines(const struct rich_log *r, char *data, size_t size)
{
        bool is_start = !r->is_skipping && r->size == r->line_start;
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                bool is_end = data[i] == '\n';

                if (!is_end || !is_start)
                        data[n++] = data[i];
                is_start = is_end;
        }
        return n;
}

/* All of it in one call of the kernel: line by line, the shortest of them would have us busy for so long that a
 * deadline passes. */
static bool take_at_once(struct keeper *k, const char *data, size_t size)
{
        struct rich_log *r = &k->rich;
        uint64_t before = r->size;
        size_t end = size;

        if (r->is_skipping || !fits(k, size))
                return false;
        if (!store(k, data, size)) {
                take_back(r, before);
                return false;
        }
        while (end > 0 && data[end - 1] != '\n')
                end--;
        if (end > 0)
                r->line_start = before + end;
        return true;
}

static void take(struct keeper *k, char *data, size_t size)
{
        size_t start = 0;

        size = remove_empty_lines(&k->rich, data, size);
        if (take_at_once(k, data, size))
                return;
        for (size_t i = 0; i < size; i++) {
                if (data[i] != '\n')
                        continue;
                extend_line(k, data + start, i - start);
                end_line(k);
                start = i + 1;
        }
        extend_line(k, data + start, size - start);
}

/* See keeper_private.h. */
long keeper_read_rich(struct keeper *k)
{
        struct rich_log *r = &k->rich;
        long n;

        if (r->fd < 0)
                return 0;
        n = kernel(SYS_read, r->fd, keeper_buffer, KEEPER_READ_SIZE);
        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n <= 0) {
                r->fd = keeper_close(r->fd);
                return 0;
        }
        if (!k->has_ended)
                take(k, keeper_buffer, (size_t)n);
        return n;
}

/* See keeper_private.h. No more than what is there now. */
void keeper_drain_rich(struct keeper *k)
{
        int left = 0;
        long n = 1;

        if (k->rich.fd >= 0)
                (void)kernel(SYS_ioctl, k->rich.fd, FIONREAD, &left);
        for (; n > 0 && left > 0; left -= (int)n)
                n = keeper_read_rich(k);
}

/* See keeper_private.h. */
void keeper_end_rich(struct keeper *k)
{
        struct rich_log *r = &k->rich;
        char note[64];
        struct text t = TEXT_IN(note);

        r->n_dropped += r->is_skipping;
        if (r->n_dropped == 0)
                return;
        text_add(&t, r->size > r->line_start ? "\n{\"dropped\":" : "{\"dropped\":");
        text_add_number(&t, r->n_dropped);
        text_add(&t, "}\n");
        (void)store(k, note, t.size); /* beyond the limit; without space it is not said */
}
