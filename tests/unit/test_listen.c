/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/fd.h"
#include "tests/lib/skip.h"

static void test_parse_accepts(void **state)
{
        static const struct {
                const char *text;
                int family;
                unsigned port;
        } cases[] = {
                { "0.0.0.0:7777", AF_INET, 7777 },
                { "127.0.0.1:0", AF_INET, 0 },
                { "127.0.0.1:65535", AF_INET, 65535 },
                { "[::]:7777", AF_INET6, 7777 },
                { "[::1]:1", AF_INET6, 1 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct sockaddr_storage address;
                struct error err = ERROR_INIT;
                socklen_t len = 0;

                assert_int_equal(listen_parse(cases[i].text, &address, &len, &err), 0);
                assert_int_equal(address.ss_family, cases[i].family);
                if (cases[i].family == AF_INET) {
                        assert_int_equal(len, sizeof(struct sockaddr_in));
                        assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port),
                                         cases[i].port);
                } else {
                        assert_int_equal(len, sizeof(struct sockaddr_in6));
                        assert_int_equal(ntohs(((struct sockaddr_in6 *)&address)->sin6_port),
                                         cases[i].port);
                }
        }
}

static void test_parse_refuses(void **state)
{
        static const struct {
                const char *text;
                const char *message;
        } cases[] = {
                { "", "must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got ''" },
                { "7777", "must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got '7777'" },
                { "[::1]", "must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got '[::1]'" },
                { "[::1", "must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got '[::1'" },
                { "127.0.0.1:99999", "port must be between 0 and 65535, got 99999" },
                { "127.0.0.1:-1", "port must be between 0 and 65535, got -1" },
                { "127.0.0.1:", "port must be between 0 and 65535, got " },
                { "127.0.0.1:80x", "port must be between 0 and 65535, got 80x" },
                { "localhost:80", "'localhost' is not an IPv4 address" },
                { ":80", "'' is not an IPv4 address" },
                { "127.1:80", "'127.1' is not an IPv4 address" },
                { "::1:80", "'::1' is not an IPv4 address" },
                { "[127.0.0.1]:80", "'127.0.0.1' is not an IPv6 address" },
                { "unix:relative", "the socket's path must be absolute" },
                { "unix:", "the socket's path must be absolute" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct sockaddr_storage address;
                struct error err = ERROR_INIT;
                socklen_t len = 77;

                assert_int_equal(listen_parse(cases[i].text, &address, &len, &err), -EINVAL);
                assert_string_equal(err.message, cases[i].message);
                assert_int_equal(len, 77);
        }
}

static void test_parse_unix_length(void **state)
{
        char text[5 + 108 + 1] = "unix:/";
        struct sockaddr_storage address;
        struct error err = ERROR_INIT;
        socklen_t len;

        (void)state;
        memset(text + 6, 'x', 106); /* a path of 107 bytes, and the NUL */
        assert_int_equal(listen_parse(text, &address, &len, &err), 0);
        assert_int_equal(len, sizeof(struct sockaddr_un));

        text[6 + 106] = 'x';
        assert_int_equal(listen_parse(text, &address, &len, &err), -EINVAL);
        assert_string_equal(err.message,
                            "the socket's path must be shorter than 108 bytes, got 108");
}

static void test_open_inet(void **state)
{
        CLEANUP(fd_close) int fd = -1;
        struct sockaddr_in bound;
        struct error err = ERROR_INIT;
        socklen_t len = sizeof(bound);
        char name[LISTEN_NAME_SIZE];
        char again[64];
        char expected[128];
        int second = -1;

        (void)state;
        assert_int_equal(listen_open("127.0.0.1:0", &fd, &err), 0);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);

        snprintf(again, sizeof(again), "127.0.0.1:%u", ntohs(bound.sin_port));
        assert_string_equal(listen_name(fd, name), again);
        assert_int_equal(listen_open(again, &second, &err), -EADDRINUSE);
        assert_int_equal(second, -1);
        snprintf(expected, sizeof(expected), "listen %s: Address already in use", again);
        assert_string_equal(err.message, expected);
}

static void test_name(void **state)
{
        static const struct sockaddr_in6 loopback = { .sin6_family = AF_INET6,
                                                      .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        CLEANUP(fd_close) int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_storage address;
        struct error err = ERROR_INIT;
        char name[LISTEN_NAME_SIZE];
        socklen_t len;

        (void)state;
        assert_string_equal(listen_name(-1, name), "?");
        if (fd < 0 || bind(fd, (const struct sockaddr *)&loopback, sizeof(loopback)) < 0)
                SKIP_TEST("no IPv6 here");
        assert_int_equal(strncmp(listen_name(fd, name), "[::1]:", 6), 0);
        assert_int_equal(listen_parse(name, &address, &len, &err), 0);
}

struct unix_fixture {
        char dir[32];
        char path[64];
        char text[80];
};

static int unix_setup(void **state)
{
        struct unix_fixture *f = calloc(1, sizeof(*f));

        snprintf(f->dir, sizeof(f->dir), "/tmp/test-listen-XXXXXX");
        if (!mkdtemp(f->dir))
                return -1;
        snprintf(f->path, sizeof(f->path), "%s/socket", f->dir);
        snprintf(f->text, sizeof(f->text), "unix:%s", f->path);
        *state = f;
        return 0;
}

static int unix_teardown(void **state)
{
        struct unix_fixture *f = *state;

        (void)unlink(f->path);
        (void)rmdir(f->dir);
        free(f);
        return 0;
}

static void test_open_unix(void **state)
{
        struct unix_fixture *f = *state;
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct error err = ERROR_INIT;
        char name[LISTEN_NAME_SIZE];
        struct stat st;
        CLEANUP(fd_close) int client = -1;
        int second = -1;
        int fd = -1;

        assert_int_equal(listen_open(f->text, &fd, &err), 0);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode, S_IFSOCK | 0660);
        assert_string_equal(listen_name(fd, name), f->text);

        /* Somebody listens: the name is not ours to take. */
        assert_int_equal(listen_open(f->text, &second, &err), -EADDRINUSE);
        assert_int_equal(second, -1);

        /* Nobody does any more. */
        fd_close(fd);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(listen_open(f->text, &fd, &err), 0);

        snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->path);
        client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
        fd_close(fd);
}

static void test_open_unix_spares_files(void **state)
{
        struct unix_fixture *f = *state;
        struct error err = ERROR_INIT;
        struct stat st;
        int fd = -1;

        fd_close(open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(listen_open(f->text, &fd, &err), -EEXIST);
        assert_int_equal(fd, -1);
        assert_int_equal(stat(f->path, &st), 0);
        assert_true(S_ISREG(st.st_mode));
}

/* A living socket of another kind refuses the connection in another way. */
static void test_open_unix_spares_datagrams(void **state)
{
        struct unix_fixture *f = *state;
        CLEANUP(fd_close) int datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct error err = ERROR_INIT;
        struct stat st;
        int fd = -1;

        snprintf(un.sun_path, sizeof(un.sun_path), "%s", f->path);
        assert_int_equal(bind(datagram, (const struct sockaddr *)&un, sizeof(un)), 0);
        assert_int_equal(listen_open(f->text, &fd, &err), -EPROTOTYPE);
        assert_int_equal(fd, -1);
        assert_int_equal(stat(f->path, &st), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse_accepts),
                cmocka_unit_test(test_parse_refuses),
                cmocka_unit_test(test_parse_unix_length),
                cmocka_unit_test(test_open_inet),
                cmocka_unit_test(test_name),
                cmocka_unit_test_setup_teardown(test_open_unix, unix_setup, unix_teardown),
                cmocka_unit_test_setup_teardown(test_open_unix_spares_files, unix_setup,
                                                unix_teardown),
                cmocka_unit_test_setup_teardown(test_open_unix_spares_datagrams, unix_setup,
                                                unix_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
