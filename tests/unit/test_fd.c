/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"

/* Each test runs in an empty directory of its own. */
static int setup(void **state)
{
        char *dir = xstrdup("/tmp/test_fd.XXXXXX");

        assert_non_null(mkdtemp(dir));
        assert_int_equal(chdir(dir), 0);
        *state = dir;
        return 0;
}

static int teardown(void **state)
{
        (void)unlink("file");
        (void)unlink("fifo");
        assert_int_equal(chdir("/"), 0);
        assert_int_equal(rmdir(*state), 0);
        free(*state);
        return 0;
}

static void write_file(const void *data, size_t size)
{
        CLEANUP(fd_close) int fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, data, size), 0);
}

static void test_close(void **state)
{
        int fd = dup(STDERR_FILENO);

        (void)state;
        errno = EXDEV;
        assert_int_equal(fd_close(fd), -1);
        assert_int_equal(fd_close(-1), -1);
        assert_int_equal(errno, EXDEV);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_flags(void **state)
{
        CLEANUP(fd_close) int fd = dup(STDERR_FILENO);
        int pipe_fds[2];

        (void)state;
        assert_int_equal(fd_set_cloexec(fd, true), 0);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(fd_set_cloexec(fd, false), 0);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);

        assert_int_equal(pipe(pipe_fds), 0);
        assert_int_equal(fd_set_nonblock(pipe_fds[0], true), 0);
        assert_int_equal(fcntl(pipe_fds[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        assert_int_equal(fd_set_nonblock(pipe_fds[0], false), 0);
        assert_int_equal(fcntl(pipe_fds[0], F_GETFL) & O_NONBLOCK, 0);
        close(pipe_fds[0]);
        close(pipe_fds[1]);

        assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
        assert_int_equal(fd_set_nonblock(-1, true), -EBADF);
        assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
}

static void test_read_file(void **state)
{
        CLEANUP(buf_done) struct buf b;
        CLEANUP(mem_free) char *data = malloc(100000);
        struct error err = ERROR_INIT;

        (void)state;
        memset(data, 'x', 100000);
        data[5] = '\0';
        write_file(data, 100000);

        buf_init(&b, 0);
        assert_int_equal(buf_append_str(&b, "head"), 0);
        assert_int_equal(fd_read_file("file", 100000, &b, &err), 0);
        assert_int_equal(b.size, 100004);
        assert_memory_equal(b.data, "head", 4);
        assert_memory_equal(b.data + 4, data, 100000);
}

static void test_read_limits(void **state)
{
        CLEANUP(buf_done) struct buf b;
        struct error err = ERROR_INIT;

        (void)state;
        write_file("12345", 5);
        buf_init(&b, 5);
        assert_int_equal(fd_read_file("file", 4, &b, &err), -EFBIG);
        assert_string_equal(err.message, "read file: File too large");
        assert_int_equal(b.size, 0);
        assert_int_equal(fd_read_file("file", 5, &b, &err), 0);
        assert_string_equal(b.data, "12345");

        assert_int_equal(fd_read_file("file", 5, &b, &err), -EFBIG); /* the buffer's own cap */
        assert_string_equal(b.data, "12345");
}

/* What was read before the failure does not stay. */
static void test_read_fails_halfway(void **state)
{
        CLEANUP(buf_done) struct buf b;
        CLEANUP(mem_free) char *data = malloc(100000);
        struct error err = ERROR_INIT;

        (void)state;
        memset(data, 'x', 100000);
        write_file(data, 100000);
        buf_init(&b, 50000);
        assert_int_equal(buf_append_str(&b, "head"), 0);
        assert_int_equal(fd_read_file("file", 100000, &b, &err), -EFBIG);
        assert_int_equal(b.size, 4);
        assert_string_equal(b.data, "head");
}

/* A file that says it is empty, and is larger than @max. */
static void test_read_proc(void **state)
{
        CLEANUP(buf_done) struct buf b;
        struct error err = ERROR_INIT;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(fd_read_file("/proc/self/stat", 65536, &b, &err), 0);
        assert_true(b.size > 10);
        assert_int_equal(strtol(b.data, NULL, 10), getpid());

        buf_done(&b);
        assert_int_equal(fd_read_file("/proc/self/stat", 10, &b, &err), -EFBIG);
        assert_int_equal(b.size, 0);
}

static void test_read_no_memory(void **state)
{
        CLEANUP(buf_done) struct buf b;
        struct error err = ERROR_INIT;

        (void)state;
        write_file("12345", 5);
        buf_init(&b, 0);
        alloc_fail_after(1);
        assert_int_equal(fd_read_file("file", 100, &b, &err), -ENOMEM);
        assert_int_equal(b.size, 0);
}

static void test_refuses_what_is_no_file(void **state)
{
        CLEANUP(buf_done) struct buf b;
        struct error err = ERROR_INIT;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(mkfifo("fifo", 0600), 0);
        assert_int_equal(fd_read_file("fifo", 10, &b, &err), -EINVAL); /* and does not wait */
        assert_string_equal(err.message, "fifo: not a regular file");
        assert_int_equal(fd_read_file("/", 10, &b, &err), -EINVAL);
        assert_int_equal(fd_read_file("/dev/zero", 10, &b, &err), -EINVAL);
        assert_int_equal(fd_read_file("absent", 10, &b, &err), -ENOENT);
        assert_string_equal(err.message, "open absent: No such file or directory");
}

static void test_memfd(void **state)
{
        CLEANUP(fd_close) int fd = fd_memfd("test", "a\0b", 3);
        CLEANUP(fd_close) int empty = fd_memfd("test", NULL, 0);
        char data[8];

        (void)state;
        assert_true(fd >= 0 && empty >= 0);
        assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_int_equal(read(fd, data, sizeof(data)), 3);
        assert_memory_equal(data, "a\0b", 3);
        assert_int_equal(read(empty, data, sizeof(data)), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_close),          TEST(test_flags),
                TEST(test_read_file),      TEST(test_read_limits),
                TEST(test_read_proc),      TEST(test_refuses_what_is_no_file),
                TEST(test_read_no_memory), TEST(test_read_fails_halfway),
                TEST(test_memfd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
