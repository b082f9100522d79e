/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/clock.h"

static int thaw(void **state)
{
        (void)state;
        clock_set_fake(0, -1);
        return 0;
}

static void test_runs_forward(void **state)
{
        uint64_t before = clock_now_us();
        time_t wall = time(NULL);

        (void)state;
        assert_true(clock_now_us() >= before);
        assert_true(clock_now_ms() >= before / 1000);
        assert_in_range(clock_realtime_s(), wall, wall + 5);
}

static void test_fake(void **state)
{
        char text[CLOCK_RFC3339_SIZE];
        uint64_t real = clock_now_us();

        (void)state;
        clock_set_fake(5000999, 1769594400);
        assert_int_equal(clock_now_us(), 5000999);
        assert_int_equal(clock_now_ms(), 5000);
        assert_int_equal(clock_realtime_s(), 1769594400);
        assert_string_equal(clock_rfc3339_now(text), "2026-01-28T10:00:00.000Z");

        clock_set_fake(0, -1);
        assert_true(clock_now_us() >= real);
        assert_int_not_equal(clock_realtime_s(), 1769594400);
}

static void test_rfc3339(void **state)
{
        char text[CLOCK_RFC3339_SIZE];

        (void)state;
        assert_string_equal(clock_rfc3339(text, 0), "1970-01-01T00:00:00.000Z");
        assert_string_equal(clock_rfc3339(text, 1769594400123), "2026-01-28T10:00:00.123Z");
        assert_string_equal(clock_rfc3339(text, 1709164799999), "2024-02-28T23:59:59.999Z");
        assert_string_equal(clock_rfc3339(text, 253402300799000), "9999-12-31T23:59:59.000Z");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_teardown(test_runs_forward, thaw),
                cmocka_unit_test_teardown(test_fake, thaw),
                cmocka_unit_test_teardown(test_rfc3339, thaw),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
