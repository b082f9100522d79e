/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/fd.h"
#include "agent/listen.h"

static int clear_environment(void **state)
{
        static const char *const names[] = { "NOTIFY_SOCKET",  "LISTEN_FDS",    "LISTEN_PID",
                                             "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID" };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                (void)unsetenv(names[i]);
        return 0;
}

/* Plays systemd: a datagram socket at @un, of which the first @size bytes of sun_path are the name. */
static int open_notify_socket(const struct sockaddr_un *un, size_t size)
{
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (const struct sockaddr *)un,
                              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                         0);
        return fd;
}

static void expect_message(int fd, const char *expected)
{
        char text[512];
        ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

        assert_true(n >= 0);
        text[n] = '\0';
        assert_string_equal(text, expected);
}

static void test_notify_without_systemd(void **state)
{
        (void)state;
        assert_int_equal(systemd_notify_ready(), 0);
        (void)setenv("NOTIFY_SOCKET", "", 1);
        assert_int_equal(systemd_notify_ready(), 0);
        (void)setenv("NOTIFY_SOCKET", "relative", 1);
        assert_int_equal(systemd_notify_ready(), -EAFNOSUPPORT);
        (void)setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
        assert_int_equal(systemd_notify_ready(), -ENOENT);
}

static void test_notify_path(void **state)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        char dir[] = "/tmp/test-systemd-XXXXXX";

        (void)state;
        assert_non_null(mkdtemp(dir));
        snprintf(un.sun_path, sizeof(un.sun_path), "%s/notify", dir);
        fd = open_notify_socket(&un, strlen(un.sun_path) + 1);
        (void)setenv("NOTIFY_SOCKET", un.sun_path, 1);

        assert_int_equal(systemd_notify_ready(), 1);
        expect_message(fd, "READY=1");
        assert_int_equal(systemd_notify_stopping(), 1);
        expect_message(fd, "STOPPING=1");
        assert_int_equal(systemd_notify_watchdog(), 1);
        expect_message(fd, "WATCHDOG=1");
        assert_int_equal(systemd_notify_status("%d running", 3), 1);
        expect_message(fd, "STATUS=3 running");
        assert_int_equal(systemd_notify_status("a\nREADY=1\r\nb"), 1);
        expect_message(fd, "STATUS=a READY=1  b");

        (void)unlink(un.sun_path);
        (void)rmdir(dir);
}

static void test_notify_abstract(void **state)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        char name[64];

        (void)state;
        snprintf(name, sizeof(name), "@test-systemd-%d", (int)getpid());
        memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
        fd = open_notify_socket(&un, strlen(name));
        (void)setenv("NOTIFY_SOCKET", name, 1);

        assert_int_equal(systemd_notify_ready(), 1);
        expect_message(fd, "READY=1");
}

static void test_notify_reloading(void **state)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct timespec before;
        struct timespec after;
        uint64_t us;
        char name[64];
        char text[128];
        ssize_t n;

        (void)state;
        snprintf(name, sizeof(name), "@test-reloading-%d", (int)getpid());
        memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
        fd = open_notify_socket(&un, strlen(name));
        (void)setenv("NOTIFY_SOCKET", name, 1);

        clock_gettime(CLOCK_MONOTONIC, &before);
        assert_int_equal(systemd_notify_reloading(), 1);
        clock_gettime(CLOCK_MONOTONIC, &after);

        n = recv(fd, text, sizeof(text) - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
        assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &us), 1);
        assert_true(us >= (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000);
        assert_true(us <= (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000);
}

static void test_watchdog(void **state)
{
        char pid[32];

        (void)state;
        assert_int_equal(systemd_watchdog_ms(), 0);
        (void)setenv("WATCHDOG_USEC", "30000000", 1);
        assert_int_equal(systemd_watchdog_ms(), 30000);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        (void)setenv("WATCHDOG_PID", pid, 1);
        assert_int_equal(systemd_watchdog_ms(), 30000);
        (void)setenv("WATCHDOG_PID", "1", 1);
        assert_int_equal(systemd_watchdog_ms(), 0);
        (void)unsetenv("WATCHDOG_PID");
        (void)setenv("WATCHDOG_USEC", "0", 1);
        assert_int_equal(systemd_watchdog_ms(), 0);
        (void)setenv("WATCHDOG_USEC", "30s", 1);
        assert_int_equal(systemd_watchdog_ms(), 0);
        (void)setenv("WATCHDOG_USEC", "10", 1);
        assert_int_equal(systemd_watchdog_ms(), 1);
}

/* Descriptors 3 and up belong to the test runner, so these run in a child, whose exit status is the number of
 * the check that failed. */
static void in_child(int (*fn)(void))
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(fn());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void promise(const char *n_fds, int pid)
{
        char text[32];

        snprintf(text, sizeof(text), "%d", pid);
        (void)setenv("LISTEN_PID", text, 1);
        (void)setenv("LISTEN_FDS", n_fds, 1);
        (void)setenv("LISTEN_FDNAMES", "a:b", 1);
}

static bool variables_are_gone(void)
{
        return !getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES");
}

static int child_takes_two(void)
{
        struct error err = ERROR_INIT;
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int fd;

        if (null < 0 || listen_open("127.0.0.1:0", &fd, &err) < 0)
                return 1;
        /* Moved out of the way first: they may be 3 and 4 already, the wrong way round. */
        fd = fcntl(fd, F_DUPFD, 10);
        null = fcntl(null, F_DUPFD, 10);
        if (dup2(fd, 3) != 3 || dup2(null, 4) != 4)
                return 2;
        if (fd_set_nonblock(3, false) < 0)
                return 3;
        promise("2", (int)getpid());
        if (systemd_listen_fds(&err) != 2)
                return 4;
        if (!(fcntl(3, F_GETFD) & FD_CLOEXEC) || !(fcntl(4, F_GETFD) & FD_CLOEXEC))
                return 5;
        if (!(fcntl(3, F_GETFL) & O_NONBLOCK))
                return 8;
        if (!variables_are_gone() || systemd_listen_fds(&err) != 0)
                return 6;
        if (!systemd_is_listening_stream(3) || systemd_is_listening_stream(4))
                return 7;
        return 0;
}

static int child_misses_one(void)
{
        struct error err = ERROR_INIT;

        (void)close(3);
        promise("1", (int)getpid());
        if (systemd_listen_fds(&err) != -EBADF)
                return 1;
        if (strcmp(err.message, "descriptor 3 from systemd: Bad file descriptor") != 0)
                return 2;
        return variables_are_gone() ? 0 : 3;
}

static int child_gets_nonsense(void)
{
        static const char *const texts[] = { "", "-1", "x", "1025", "99999999999999999999" };
        struct error err = ERROR_INIT;

        for (int i = 0; i < (int)ARRAY_LEN(texts); i++) {
                promise(texts[i], (int)getpid());
                if (systemd_listen_fds(&err) != -EINVAL || !variables_are_gone())
                        return i + 1;
        }
        return 0;
}

static int child_is_not_meant(void)
{
        struct error err = ERROR_INIT;

        promise("1", (int)getppid());
        if (systemd_listen_fds(&err) != 0)
                return 1;
        return variables_are_gone() ? 0 : 2;
}

static void test_listen_fds(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(systemd_listen_fds(&err), 0);
        in_child(child_takes_two);
        in_child(child_misses_one);
        in_child(child_gets_nonsense);
        in_child(child_is_not_meant);
}

static void test_is_listening_stream(void **state)
{
        CLEANUP(fd_close) int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        CLEANUP(fd_close) int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)state;
        assert_false(systemd_is_listening_stream(datagram));
        assert_false(systemd_is_listening_stream(stream));
        assert_int_equal(listen(stream, 1), 0);
        assert_true(systemd_is_listening_stream(stream));
        assert_false(systemd_is_listening_stream(-1));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_notify_without_systemd, clear_environment),
                cmocka_unit_test_setup(test_notify_path, clear_environment),
                cmocka_unit_test_setup(test_notify_abstract, clear_environment),
                cmocka_unit_test_setup(test_notify_reloading, clear_environment),
                cmocka_unit_test_setup(test_watchdog, clear_environment),
                cmocka_unit_test_setup(test_listen_fds, clear_environment),
                cmocka_unit_test_setup(test_is_listening_stream, clear_environment),
        };

        return cmocka_run_group_tests(tests, NULL, clear_environment);
}
