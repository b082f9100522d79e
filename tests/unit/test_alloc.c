/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/alloc.h"

static void test_zeroed(void **state)
{
        struct thing {
                int a;
                char b[100];
        } *t = xnew(struct thing);

        (void)state;
        assert_int_equal(t->a, 0);
        assert_int_equal(t->b[99], 0);
        assert_null(mem_free(t));
}

static void test_strings(void **state)
{
        CLEANUP(mem_free) char *copy = xstrdup("abc");
        CLEANUP(mem_free) char *part = xstrndup("abcdef", 3);
        CLEANUP(mem_free) char *made = xasprintf("%s-%d", "abc", 7);

        (void)state;
        assert_string_equal(copy, "abc");
        assert_string_equal(part, "abc");
        assert_string_equal(made, "abc-7");
}

static void test_sizes_of_zero(void **state)
{
        void *p = try_alloc(0);

        (void)state;
        assert_non_null(p);
        p = try_realloc(p, 0);
        assert_non_null(p);
        p = xrealloc_array(p, 0, 8);
        assert_non_null(p);
        mem_free(p);
}

/* The n-th call fails, once, and only calls of the try family count. */
static void test_injected_failure(void **state)
{
        void *first, *third;

        (void)state;
        alloc_fail_after(2);
        first = try_alloc(1);
        assert_non_null(first);
        mem_free(xcalloc(1, 1));
        assert_null(try_realloc(first, 100));
        third = try_alloc(1);
        assert_non_null(third);

        alloc_fail_after(1);
        alloc_fail_after(0);
        first = try_realloc(first, 100);
        assert_non_null(first);

        mem_free(first);
        mem_free(third);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_zeroed),
                cmocka_unit_test(test_strings),
                cmocka_unit_test(test_sizes_of_zero),
                cmocka_unit_test(test_injected_failure),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
