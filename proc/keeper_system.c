/* SPDX-License-Identifier: Apache-2.0 */

/* The only file of agent-keeper with shim_system.h in it, whose entry point and memcpy exist once per program. */

#include "proc/keeper_system.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

#include "proc/joblog.h"
#include "proc/shim_system.h"

/* Called by _start with what the kernel left on the stack: argc, argv, NULL, envp, NULL. */
__attribute__((noreturn, used)) void shim_start(long *stack);

void shim_start(long *stack)
{
        char **argv = (char **)(stack + 1);

        keeper_main(argv, argv + *stack + 1);
}

/* See the header. */
long keeper_call(long n, long a, long b, long c, long d, long e, long f)
{
        return sys6(n, a, b, c, d, e, f);
}

/* Ends the process. */
void keeper_leave(int status)
{
        for (;;)
                sys(SYS_exit_group, status);
}

/* See the header. */
int keeper_close(int fd)
{
        if (fd >= 0)
                sys(SYS_close, fd);
        return -1;
}

static uint64_t now_us(int clock)
{
        struct timespec t = { 0 };

        sys(SYS_clock_gettime, clock, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Of all pauses. */
static uint64_t paused_us;

/* See the header. */
uint64_t keeper_now_us(void)
{
        return now_us(CLOCK_MONOTONIC) - paused_us;
}

/* See the header. */
void keeper_add_pause(uint64_t us)
{
        paused_us += us;
}

/* See the header. */
uint64_t keeper_unix_ms(void)
{
        return now_us(CLOCK_REALTIME) / 1000;
}

/* See the header. */
size_t text_length(const char *s)
{
        return text_size(s);
}

/* See the header. */
bool text_same(const char *a, const char *b)
{
        return text_equal(a, b);
}

/* See the header. */
void text_add(struct text *t, const char *s)
{
        while (*s && t->size + 1 < t->capacity)
                t->data[t->size++] = *s++;
        t->data[t->size] = '\0';
}

/* See the header. */
void text_add_number(struct text *t, uint64_t n)
{
        char digits[21];
        size_t i = sizeof(digits);

        digits[--i] = '\0';
        do {
                digits[--i] = (char)('0' + n % 10);
                n /= 10;
        } while (n > 0);
        text_add(t, digits + i);
}

/* See the header. */
void text_add_line(struct text *t, const char *key, const char *value)
{
        text_add(t, key);
        text_add(t, "=");
        text_add(t, value);
        text_add(t, "\n");
}

/* See the header. */
void text_add_count(struct text *t, const char *key, uint64_t n)
{
        text_add(t, key);
        text_add(t, "=");
        text_add_number(t, n);
        text_add(t, "\n");
}

/* See the header. */
long keeper_read_file(int dir_fd, const char *path, char *dst, size_t size)
{
        long fd = sys(SYS_openat, dir_fd, path, O_RDONLY | O_CLOEXEC);
        long n;

        dst[0] = '\0';
        if (fd < 0)
                return fd;
        n = sys(SYS_read, fd, dst, size - 1);
        sys(SYS_close, fd);
        if (n >= 0)
                dst[n] = '\0';
        return n;
}

/* See the header. */
long keeper_write_file(int dir_fd, const char *path, const char *text)
{
        long size = (long)text_size(text);
        long fd = sys(SYS_openat, dir_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        long n;

        if (fd < 0)
                return fd;
        n = sys(SYS_write, fd, text, size);
        sys(SYS_close, fd);
        return n < 0 || n == size ? n : -ENOSPC;
}

/* See the header. */
uint64_t text_number(const char *s, const char **ret_end)
{
        uint64_t n = 0;

        while (*s == ' ')
                s++;
        for (; *s >= '0' && *s <= '9'; s++)
                n = 10 * n + (uint64_t)(*s - '0');
        if (ret_end)
                *ret_end = s;
        return n;
}

/* See the header. */
uint64_t text_find_number(const char *text, const char *key)
{
        size_t size = text_size(key);

        while (*text) {
                size_t i = 0;

                while (i < size && text[i] == key[i])
                        i++;
                if (i == size && text[i] == ' ')
                        return text_number(text + i, NULL);
                while (*text && *text++ != '\n')
                        ;
        }
        return 0;
}

/* See the header. */
const char *text_behind_name(const char *stat)
{
        const char *end = NULL;

        for (; *stat; stat++)
                if (*stat == ')')
                        end = stat;
        return end && end[1] == ' ' ? end + 2 : NULL;
}

/* What joblog_writer.c writes with. */
ssize_t joblog_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
        return sys(SYS_pwrite64, fd, data, size, offset);
}
