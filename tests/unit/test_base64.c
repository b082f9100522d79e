/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/json/base64.h"

static void test_valid(void **state)
{
        static const struct {
                const char *text, *bytes;
                size_t size;
        } rows[] = {
                { "", "", 0 },
                { "YQ==", "a", 1 },
                { "YWI=", "ab", 2 },
                { "YWJj", "abc", 3 },
                { "AAEC/w==", "\0\1\2\xff", 4 },
                { "YW\nJj\r\n", "abc", 3 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char *bytes = NULL;
                size_t size = 99;

                assert_int_equal(base64_to_bytes(rows[i].text, strlen(rows[i].text), &bytes, &size),
                                 0);
                assert_int_equal(size, rows[i].size);
                assert_memory_equal(bytes, rows[i].bytes, size + 1);
                free(bytes);
        }
}

static void test_invalid(void **state)
{
        static const char *const rows[] = {
                "a", "YQ", "YQ=", "Y===", "YQ==YQ==", "-_-_", "\xc3\xa9"
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char *bytes = NULL;
                size_t size = 99;

                assert_int_equal(base64_to_bytes(rows[i], strlen(rows[i]), &bytes, &size), -EINVAL);
                assert_null(bytes);
                assert_int_equal(size, 99);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_invalid),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
