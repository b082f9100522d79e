/* SPDX-License-Identifier: Apache-2.0 */

/* Deadlines of connections, on real sockets and a stopped clock. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#include "agent/base/list.h"
#include "agent/http/connection.h"
#include "agent/http/request_private.h"

struct fixture {
        struct list all;
        int pair[2];
        struct connection *c;
};

static int setup(void **state)
{
        static struct fixture f;

        list_init(&f.all);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f.pair) < 0)
                return -1;
        f.c = connection_new(&f.all, f.pair[0]);
        clock_set_fake(1000 * 1000, 0);
        *state = &f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        clock_set_fake(0, -1);
        connection_free(f->c);
        close(f->pair[0]);
        close(f->pair[1]);
        return list_is_empty(&f->all) ? 0 : -1;
}

static bool peer_sees_end(struct fixture *f)
{
        char c;

        return read(f->pair[1], &c, 1) == 0;
}

static void test_deadline(void **state)
{
        struct fixture *f = *state;

        connection_expect(f->c, 500);
        clock_set_fake(1499 * 1000, 0);
        assert_int_equal(connection_cut_expired(&f->all), 0);
        assert_false(peer_sees_end(f));
        clock_set_fake(1500 * 1000, 0);
        assert_int_equal(connection_cut_expired(&f->all), 1);
        assert_true(peer_sees_end(f));
        assert_int_equal(connection_cut_expired(&f->all), 0);
}

static void test_no_deadline(void **state)
{
        struct fixture *f = *state;

        connection_expect(f->c, 500);
        connection_expect(f->c, 0);
        clock_set_fake(1000000 * 1000ull, 0);
        assert_int_equal(connection_cut_expired(&f->all), 0);
        assert_false(peer_sees_end(f));
}

static void test_idle(void **state)
{
        struct fixture *f = *state;

        struct request request = { .state = REQUEST_BODY };

        f->c->request = &request;
        connection_cut_idle(&f->all);
        assert_false(peer_sees_end(f));
        f->c->request = NULL;
        connection_cut_idle(&f->all);
        assert_true(peer_sees_end(f));
}

static void test_idle_before_the_headers(void **state)
{
        struct fixture *f = *state;
        struct request request = { .state = REQUEST_HEADERS };

        f->c->request = &request;
        connection_cut_idle(&f->all);
        assert_true(peer_sees_end(f));
        f->c->request = NULL;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_deadline, setup, teardown),
                cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
                cmocka_unit_test_setup_teardown(test_idle_before_the_headers, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
