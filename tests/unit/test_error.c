/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/error.h"
#include "agent/base/utf8.h"

static void test_errno_is_spelt_out(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(error_set(&err, -ENOENT, "open %s", "/x"), -ENOENT);
        assert_int_equal(err.code, -ENOENT);
        assert_string_equal(err.message, "open /x: No such file or directory");
        assert_string_equal(err.field, "");
}

/* A module's own outcome is no errno. */
static void test_positive_code(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(error_set(&err, 2, "limit"), 2);
        assert_string_equal(err.message, "limit");
}

static void test_field(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(error_set_field(&err, -EINVAL, "/env/A", "bad %d", 1), -EINVAL);
        assert_string_equal(err.field, "/env/A");
        assert_string_equal(err.message, "bad 1");

        error_set(&err, -EIO, "other");
        assert_string_equal(err.field, "");
}

static void test_wrap(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        error_set_field(&err, -EINVAL, "/a", "inner");
        assert_int_equal(error_wrap(&err, "outer %d", 1), -EINVAL);
        assert_string_equal(err.message, "outer 1: inner");
        assert_string_equal(err.field, "/a");
}

/* The message may be made from itself. */
static void test_aliasing(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        error_set_field(&err, -EINVAL, "/a", "inner");
        error_set_field(&err, -EINVAL, err.field, "again: %s", err.message);
        assert_string_equal(err.message, "again: inner");
        assert_string_equal(err.field, "/a");
}

static void test_one_line_of_utf8(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        error_set(&err, 1, "a\nb\r\x1b[31m\x7f");
        assert_string_equal(err.message, "a b  [31m ");
        error_set(&err, 1, "na\xc3\xafve");
        assert_string_equal(err.message, "na\xc3\xafve");
        error_set(&err, 1, "bad \xff byte");
        assert_string_equal(err.message, "bad ? byte");
        error_set(&err, 1, "%.4s: na\xc3\xafve", "a\xc3\xa9\xc3\xa9");
        assert_string_equal(err.message, "a\xc3\xa9?: na\xc3\xafve");
}

/* Cut messages stay terminated and never end in half a character. */
static void test_long_messages(void **state)
{
        struct error err = ERROR_INIT;
        char text[600];

        (void)state;
        for (size_t shift = 0; shift < 3; shift++) {
                memset(text, 'x', shift);
                for (size_t i = shift; i + 3 < sizeof(text); i += 3)
                        memcpy(text + i, "\xe2\x82\xac", 4);

                error_set_field(&err, -EINVAL, text, "%s", text);
                assert_true(strlen(err.message) > sizeof(err.message) - 4);
                assert_true(utf8_is_valid(err.message, strlen(err.message)));
                assert_true(strlen(err.field) > sizeof(err.field) - 4);
                assert_true(utf8_is_valid(err.field, strlen(err.field)));
                assert_null(strchr(err.message, '?'));

                error_wrap(&err, "%s", text);
                assert_true(utf8_is_valid(err.message, strlen(err.message)));
                error_wrap(&err, "prefix");
                assert_memory_equal(err.message, "prefix: ", 8);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_errno_is_spelt_out),
                cmocka_unit_test(test_positive_code),
                cmocka_unit_test(test_field),
                cmocka_unit_test(test_wrap),
                cmocka_unit_test(test_aliasing),
                cmocka_unit_test(test_one_line_of_utf8),
                cmocka_unit_test(test_long_messages),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
