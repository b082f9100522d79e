/* SPDX-License-Identifier: Apache-2.0 */

/* Time stamps as clients write them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "agent/base/clock.h"
#include "agent/base/macros.h"

static void test_what_is_understood(void **state)
{
        static const struct {
                const char *text;
                int64_t us;
        } rows[] = {
                { "0", 0 },
                { "1769594400", 1769594400000000 },
                { "1769594400123", 1769594400123000 },
                { "1769594400123456", 1769594400123456 },
                { "1769594400123456789", 1769594400123456 },
                { "1970-01-01T00:00:00Z", 0 },
                { "2026-01-28T10:00:00Z", 1769594400000000 },
                { "2026-01-28t10:00:00z", 1769594400000000 },
                { "2026-01-28 10:00:00+00:00", 1769594400000000 },
                { "2026-01-28T11:30:00+01:30", 1769594400000000 },
                { "2026-01-28T09:00:00-0100", 1769594400000000 },
                { "2026-01-28T10:00:00.1Z", 1769594400100000 },
                { "2026-01-28T10:00:00.123456789Z", 1769594400123456 },
                { "2024-02-29T00:00:00Z", 1709164800000000 },
                { "2016-12-31T23:59:60Z", 1483228800000000 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                int64_t us = -1;

                assert_int_equal(clock_parse(rows[i].text, &us), 0);
                assert_int_equal(us, rows[i].us);
        }
}

static void test_what_is_not(void **state)
{
        static const char *const texts[] = {
                "",
                "-1",
                "1.5",
                "99999999999999999999",
                "yesterday",
                "2026-01-28",
                "2026-01-28T10:00:00",
                "2026-01-28T10:00Z",
                "2026-1-28T10:00:00Z",
                "2026-13-28T10:00:00Z",
                "2026-02-30T10:00:00Z",
                "2025-02-29T10:00:00Z",
                "2026-01-28T24:00:00Z",
                "2026-01-28T10:60:00Z",
                "2026-01-28T10:00:61Z",
                "2026-01-28T10:00:00.Z",
                "2026-01-28T10:00:00Zx",
                "2026-01-28T10:00:00+24:00",
                "2026-01-28T10:00:00+1",
                "1969-12-31T23:59:59Z",
                "1970-01-01T00:00:00+01:00",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                int64_t us;

                assert_int_equal(clock_parse(texts[i], &us), -EINVAL);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_understood),
                cmocka_unit_test(test_what_is_not),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
