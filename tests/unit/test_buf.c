/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"

static void test_appends(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        assert_null(b.data);
        assert_int_equal(buf_append(&b, NULL, 0), 0);
        assert_int_equal(buf_append(&b, "a\0b", 3), 0);
        assert_int_equal(buf_append_str(&b, "cd"), 0);
        assert_int_equal(buf_appendf(&b, "%d%s", 12, "x"), 0);
        assert_int_equal(b.size, 8);
        assert_memory_equal(b.data, "a\0bcd12x", 9);
}

/* Grows far past the first allocation, terminated at every size. */
static void test_grows(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        for (size_t i = 0; i < 5000; i++) {
                char c = (char)('a' + i % 26);

                assert_int_equal(buf_append(&b, &c, 1), 0);
                assert_int_equal(b.data[b.size], 0);
                assert_true(b.capacity > b.size);
        }
        for (size_t i = 0; i < 5000; i++)
                assert_int_equal(b.data[i], 'a' + i % 26);
}

static void test_cap(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 10);
        assert_int_equal(buf_append(&b, "123456", 6), 0);
        assert_int_equal(buf_append(&b, "12345", 5), -EFBIG);
        assert_int_equal(buf_appendf(&b, "%d", 12345), -EFBIG);
        assert_int_equal(buf_reserve(&b, SIZE_MAX), -EFBIG);
        assert_string_equal(b.data, "123456");
        assert_int_equal(buf_appendf(&b, "%s", "7890"), 0);
        assert_string_equal(b.data, "1234567890");
        assert_int_equal(buf_append(&b, "x", 1), -EFBIG);
        assert_int_equal(b.capacity, 11);
}

static void test_overflow(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(buf_append(&b, "x", 1), 0);
        assert_int_equal(buf_reserve(&b, SIZE_MAX), -EFBIG);
        assert_int_equal(buf_reserve(&b, SIZE_MAX - 1), -EFBIG);
        assert_string_equal(b.data, "x");
}

static void test_reserve_is_enough(void **state)
{
        CLEANUP(buf_done) struct buf b;
        char data[3000] = { 0 };

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(buf_reserve(&b, sizeof(data)), 0);
        alloc_fail_after(1);
        assert_int_equal(buf_append(&b, data, sizeof(data)), 0);
        alloc_fail_after(0);
}

static void test_no_memory(void **state)
{
        CLEANUP(buf_done) struct buf b;
        char data[300] = { 0 };

        (void)state;
        buf_init(&b, 0);
        alloc_fail_after(1);
        assert_int_equal(buf_append(&b, "x", 1), -ENOMEM);
        assert_null(b.data);

        assert_int_equal(buf_append(&b, "abc", 3), 0);
        alloc_fail_after(1);
        assert_int_equal(buf_append(&b, data, sizeof(data)), -ENOMEM);
        alloc_fail_after(1);
        assert_int_equal(buf_appendf(&b, "%300d", 1), -ENOMEM);
        assert_int_equal(b.size, 3);
        assert_string_equal(b.data, "abc");
}

static void test_steal_and_reuse(void **state)
{
        CLEANUP(buf_done) struct buf b;
        CLEANUP(mem_free) char *data = NULL;
        size_t size;

        (void)state;
        buf_init(&b, 4);
        assert_null(buf_steal(&b, NULL));
        assert_int_equal(buf_append_str(&b, "abcd"), 0);
        data = buf_steal(&b, &size);
        assert_int_equal(size, 4);
        assert_string_equal(data, "abcd");

        assert_int_equal(buf_append_str(&b, "12345"), -EFBIG); /* the cap stayed */
        assert_int_equal(buf_append_str(&b, "1234"), 0);
        buf_done(&b);
        assert_null(b.data);
        assert_int_equal(b.max, 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_appends),
                cmocka_unit_test(test_grows),
                cmocka_unit_test(test_cap),
                cmocka_unit_test(test_overflow),
                cmocka_unit_test(test_reserve_is_enough),
                cmocka_unit_test(test_no_memory),
                cmocka_unit_test(test_steal_and_reuse),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
