/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"

struct row {
        const char *text;
        int r;
        uint64_t value;
};

static void check(const struct row *rows, size_t n, int (*parse)(const char *, uint64_t *))
{
        for (size_t i = 0; i < n; i++) {
                uint64_t value = 77; /* stays on failure */
                int r = parse(rows[i].text, &value);

                if (r != rows[i].r || value != (r < 0 ? 77 : rows[i].value))
                        fail_msg("'%s' gave %d, %ju", rows[i].text, r, (uintmax_t)value);
        }
}

static void test_u64(void **state)
{
        static const struct row rows[] = {
                { "0", 0, 0 },
                { "007", 0, 7 },
                { "18446744073709551615", 0, UINT64_MAX },
                { "18446744073709551616", -ERANGE, 0 },
                { "99999999999999999999999", -ERANGE, 0 },
                { "", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "+1", -EINVAL, 0 },
                { " 1", -EINVAL, 0 },
                { "1 ", -EINVAL, 0 },
                { "0x10", -EINVAL, 0 },
                { "1.0", -EINVAL, 0 },
                { "1e3", -EINVAL, 0 },
        };

        (void)state;
        check(rows, ARRAY_LEN(rows), str_parse_u64);
}

static void test_size(void **state)
{
        static const struct row rows[] = {
                { "4096", 0, 4096 },
                { "64K", 0, 65536 },
                { "64k", 0, 65536 },
                { "64KiB", 0, 65536 },
                { "64kb", 0, 65536 },
                { "16M", 0, 16 << 20 },
                { "2G", 0, UINT64_C(2) << 30 },
                { "3B", 0, 3 },
                { "17179869183G", 0, UINT64_C(17179869183) << 30 },
                { "17179869184G", -ERANGE, 0 },
                { "K", -EINVAL, 0 },
                { "1T", 0, UINT64_C(1) << 40 },
                { "16777216T", -ERANGE, 0 },
                { "1P", -EINVAL, 0 },
                { "1 K", -EINVAL, 0 },
                { "1KK", -EINVAL, 0 },
                { "-1K", -EINVAL, 0 },
        };

        (void)state;
        check(rows, ARRAY_LEN(rows), str_parse_size);
}

static void test_duration(void **state)
{
        static const struct row rows[] = {
                { "1500ms", 0, 1500 },
                { "10s", 0, 10000 },
                { "10", 0, 10000 },
                { "5m", 0, 300000 },
                { "2h", 0, 7200000 },
                { "0", 0, 0 },
                { "18446744073709551615ms", 0, UINT64_MAX },
                { "18446744073709551615s", -ERANGE, 0 },
                { "1.5s", -EINVAL, 0 },
                { "1d", -EINVAL, 0 },
                { "s", -EINVAL, 0 },
                { "", -EINVAL, 0 },
        };

        (void)state;
        check(rows, ARRAY_LEN(rows), str_parse_duration_ms);
}

static void test_bool(void **state)
{
        static const char *const yes[] = { "true", "True", "yes", "on", "ON", "1" };
        static const char *const no[] = { "false", "no", "off", "0" };
        static const char *const bad[] = { "", "2", "y", "truee", " true", "-1" };
        bool b;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
                b = false;
                assert_int_equal(str_parse_bool(yes[i], &b), 0);
                assert_true(b);
        }
        for (size_t i = 0; i < ARRAY_LEN(no); i++) {
                b = true;
                assert_int_equal(str_parse_bool(no[i], &b), 0);
                assert_false(b);
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                b = true;
                assert_int_equal(str_parse_bool(bad[i], &b), -EINVAL);
                assert_true(b);
        }
}

static void test_comparisons(void **state)
{
        (void)state;
        assert_true(str_equal("a", "a"));
        assert_false(str_equal("a", "A"));
        assert_true(str_equal(NULL, NULL));
        assert_false(str_equal(NULL, ""));
        assert_false(str_equal("", NULL));
        assert_true(str_equal_nocase("aB", "Ab"));
        assert_false(str_equal_nocase("aB", "Abc"));
        assert_false(str_equal_nocase(NULL, "a"));
        assert_true(str_has_prefix("abc", "ab"));
        assert_true(str_has_prefix("abc", ""));
        assert_false(str_has_prefix("ab", "abc"));
        assert_true(str_is_variable_name("_aZ09"));
        assert_true(str_is_variable_name("A"));
        assert_false(str_is_variable_name(""));
        assert_false(str_is_variable_name("0A"));
        assert_false(str_is_variable_name("A=B"));
        assert_false(str_is_variable_name("A-B"));
        assert_false(str_is_variable_name("A\xC3\x84"));
}

static void test_strv(void **state)
{
        CLEANUP(strv_free) char **v = NULL;

        (void)state;
        assert_int_equal(strv_len(v), 0);
        v = strv_append(v, xstrdup("a"));
        v = strv_append(v, xstrdup("b"));
        assert_int_equal(strv_len(v), 2);
        assert_string_equal(v[0], "a");
        assert_string_equal(v[1], "b");
        assert_null(v[2]);
        assert_null(strv_free(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_u64),         cmocka_unit_test(test_size),
                cmocka_unit_test(test_duration),    cmocka_unit_test(test_bool),
                cmocka_unit_test(test_comparisons), cmocka_unit_test(test_strv),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
