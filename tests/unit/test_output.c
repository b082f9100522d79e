/* SPDX-License-Identifier: Apache-2.0 */

/* Head, tail, limits and budget of captured output. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "proc/output.h"

static struct output_budget budget;

static int setup(void **state)
{
        (void)state;
        budget = (struct output_budget){ .max = 64 * MIB };
        return 0;
}

/* Nothing may stay accounted. */
static int teardown(void **state)
{
        (void)state;
        alloc_fail_after(0);
        return budget.used == 0 ? 0 : -1;
}

static void assert_content(struct output *o, const char *expected)
{
        struct output_slices s;
        char text[4096];
        size_t size = 0;

        output_slices(o, &s);
        for (unsigned i = 0; i < s.n; i++) {
                assert_true(size + s.slice[i].size < sizeof(text));
                memcpy(text + size, s.slice[i].data, s.slice[i].size);
                size += s.slice[i].size;
        }
        text[size] = '\0';
        assert_string_equal(text, expected);
}

static void test_empty(void **state)
{
        struct output *o = output_new(100, true, &budget);

        (void)state;
        assert_content(o, "");
        assert_false(output_is_truncated(o));
        assert_int_equal(budget.used, 0);
        output_free(o);
        assert_null(output_free(NULL));
}

static void test_exact_fit(void **state)
{
        struct output *o = output_new(10, true, &budget);

        (void)state;
        output_append(o, "012", 3);
        output_append(o, "3456", 4);
        output_append(o, "789", 3);
        assert_content(o, "0123456789");
        assert_false(output_is_truncated(o));
        assert_int_equal(output_total(o), 10);
        output_free(o);
}

/* For every way of cutting a stream into chunks the same is kept. */
static void test_head_and_tail(void **state)
{
        static const char text[] = "abcdefghijklmnopqrstuvwxyz";

        (void)state;
        for (size_t chunk = 1; chunk <= 26; chunk++) {
                struct output *o = output_new(10, true, &budget);

                for (size_t i = 0; i < 26; i += chunk)
                        output_append(o, text + i, MIN(chunk, 26 - i));
                assert_content(o, "abcde\n[… 16 bytes of output dropped …]\nvwxyz");
                assert_true(output_is_truncated(o));
                assert_int_equal(output_total(o), 26);
                assert_int_equal(output_dropped(o), 16);
                output_free(o);
        }
}

static void test_head_alone(void **state)
{
        struct output *o = output_new(5, false, &budget);

        (void)state;
        output_append(o, "abcdefgh", 8);
        output_append(o, "ijk", 3);
        assert_content(o, "abcde\n[… 6 bytes of output dropped …]\n");
        output_free(o);
}

static void test_zero_limit(void **state)
{
        struct output *o = output_new(0, true, &budget);

        (void)state;
        output_append(o, "abc", 3);
        assert_int_equal(output_dropped(o), 3);
        assert_content(o, "\n[… 3 bytes of output dropped …]\n");
        output_free(o);
}

static void test_memory_grows_with_use(void **state)
{
        struct output *o = output_new(16 * MIB, true, &budget);
        char *block = xcalloc(1, 1 * MIB);

        (void)state;
        output_append(o, "a", 1);
        assert_in_range(budget.used, 1, 64 * KIB);
        for (int i = 0; i < 40; i++)
                output_append(o, block, 1 * MIB);
        assert_int_equal(budget.used, 16 * MIB);
        assert_int_equal(output_dropped(o), 24 * MIB + 1);
        free(block);
        output_free(o);
}

/* A spent budget shortens the output, and what is kept is still a head and, where there is room, a tail. */
static void test_budget(void **state)
{
        struct output *first = output_new(1 * MIB, true, &budget);
        struct output *second = output_new(1 * MIB, true, &budget);

        (void)state;
        budget.max = 4 * KIB;
        output_append(first, "kept", 4);
        output_append(second, "lost", 4);
        output_append(first, "!", 1);
        assert_content(first, "kept!");
        assert_content(second, "\n[… 4 bytes of output dropped …]\n");
        output_free(first);

        /* Room again does not put later bytes in front of the gap. */
        output_append(second, "more", 4);
        assert_int_equal(output_dropped(second), 8);
        output_free(second);
}

static void test_out_of_memory(void **state)
{
        struct output *o = output_new(1 * MIB, true, &budget);

        (void)state;
        alloc_fail_after(1);
        output_append(o, "abc", 3);
        assert_int_equal(output_total(o), 3);
        assert_int_equal(output_dropped(o), 0); /* the head failed, the tail took it */
        assert_content(o, "abc");
        output_free(o);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
                cmocka_unit_test_setup_teardown(test_exact_fit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_head_and_tail, setup, teardown),
                cmocka_unit_test_setup_teardown(test_head_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(test_zero_limit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_memory_grows_with_use, setup, teardown),
                cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
                cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
