/* SPDX-License-Identifier: Apache-2.0 */

/* The router: which row a request gets, and what is told when it gets none. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/http/router.h"
#include "agent/routes.h"

static const struct route table[] = {
        { .method = HTTP_GET, .path = "/" },
        { .method = HTTP_GET, .path = "/things" },
        { .method = HTTP_POST, .path = "/things" },
        { .method = HTTP_GET, .path = "/things/{id}" },
        { .method = HTTP_POST, .path = "/things/{id}/parts/{part}" },
        { .method = HTTP_DELETE, .path = "/things/special" },
};

static int setup(void **state)
{
        struct error err = ERROR_INIT;
        struct router *r = NULL;

        assert_int_equal(router_new(table, ARRAY_LEN(table), &r, &err), 0);
        *state = r;
        return 0;
}

static int teardown(void **state)
{
        router_free(*state);
        return 0;
}

static void test_exact(void **state)
{
        struct route_match m;

        router_match(*state, "GET", "/", &m);
        assert_ptr_equal(m.route, &table[0]);
        router_match(*state, "GET", "/things", &m);
        assert_ptr_equal(m.route, &table[1]);
        router_match(*state, "POST", "/things", &m);
        assert_ptr_equal(m.route, &table[2]);
        router_match(*state, "HEAD", "/things", &m);
        assert_ptr_equal(m.route, &table[1]);
}

static void test_parameters(void **state)
{
        struct route_match m;

        router_match(*state, "POST", "/things/a%b/parts/7", &m);
        assert_ptr_equal(m.route, &table[4]);
        assert_int_equal(m.n_parameters, 2);
        assert_int_equal(m.parameters[0].name_size, 2);
        assert_memory_equal(m.parameters[0].name, "id", 2);
        assert_int_equal(m.parameters[0].value_size, 3);
        assert_memory_equal(m.parameters[0].value, "a%b", 3);
        assert_int_equal(m.parameters[1].value_size, 1);
        assert_memory_equal(m.parameters[1].value, "7", 1);
}

static void test_none(void **state)
{
        static const char *const paths[] = { "",         "/thing",          "/thingsx",
                                             "/things/", "/things/a/b",     "things",
                                             "//",       "/things/a/parts/" };
        struct route_match m;

        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
                router_match(*state, "GET", paths[i], &m);
                assert_null(m.route);
                assert_int_equal(m.n_allowed, 0);
        }
}

static void test_wrong_method(void **state)
{
        struct route_match m;

        router_match(*state, "PUT", "/things", &m);
        assert_null(m.route);
        assert_int_equal(m.n_allowed, 2);
        router_match(*state, "get", "/things", &m);
        assert_null(m.route);
        router_match(*state, "POST", "/things/a", &m);
        assert_null(m.route);
        assert_int_equal(m.n_allowed, 1);
        assert_int_equal(m.allowed[0], HTTP_GET);
        /* An exact row hides a pattern, also when only the method is wrong. */
        router_match(*state, "GET", "/things/special", &m);
        assert_null(m.route);
        assert_int_equal(m.allowed[0], HTTP_DELETE);
}

static void test_bad_tables(void **state)
{
        static const struct route twice[] = { { .method = HTTP_GET, .path = "/a" },
                                              { .method = HTTP_GET, .path = "/a" } };
        static const struct route relative[] = { { .method = HTTP_GET, .path = "a" } };
        struct error err = ERROR_INIT;
        struct router *r = NULL;

        (void)state;
        assert_int_equal(router_new(twice, ARRAY_LEN(twice), &r, &err), -EEXIST);
        assert_non_null(strstr(err.message, "GET /a"));
        assert_int_equal(router_new(relative, ARRAY_LEN(relative), &r, &err), -EINVAL);
        assert_null(r);
}

static void test_real_table(void **state)
{
        struct error err = ERROR_INIT;
        struct router *r = NULL;
        struct route_match m;

        (void)state;
        assert_int_equal(router_new(routes, n_routes, &r, &err), 0);
        for (size_t i = 0; i < n_routes; i++) {
                router_match(r, http_method_name(routes[i].method), routes[i].path, &m);
                assert_ptr_equal(m.route, &routes[i]);
        }
        router_free(r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_exact, setup, teardown),
                cmocka_unit_test_setup_teardown(test_parameters, setup, teardown),
                cmocka_unit_test_setup_teardown(test_none, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wrong_method, setup, teardown),
                cmocka_unit_test(test_bad_tables),
                cmocka_unit_test(test_real_table),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
