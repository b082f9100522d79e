/* SPDX-License-Identifier: Apache-2.0 */

/* Token buckets, with a clock that stands still. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/http/rate.h"

#define SECOND ((uint64_t)1000000)
#define NOW_S  1000

static uint64_t now;

static void pass(uint64_t us)
{
        now += us;
        clock_set_fake(now, NOW_S);
}

static int setup(void **state)
{
        now = 1000 * SECOND;
        pass(0);
        *state = rates_new();
        return 0;
}

static int teardown(void **state)
{
        clock_set_fake(0, -1);
        rates_free(*state);
        return 0;
}

static void test_a_bucket_empties_and_fills(void **state)
{
        struct rate rate;

        for (unsigned i = 0; i < 60; i++) {
                assert_true(rates_take(*state, "a", 60, &rate));
                assert_int_equal(rate.limit, 60);
                assert_int_equal(rate.remaining, 59 - i);
                assert_int_equal(rate.reset_s, NOW_S + 1 + i);
                assert_int_equal(rate.retry_s, 0);
        }
        for (unsigned i = 0; i < 3; i++) {
                assert_false(rates_take(*state, "a", 60, &rate));
                assert_int_equal(rate.remaining, 0);
                assert_int_equal(rate.retry_s, 1);
                assert_int_equal(rate.reset_s, NOW_S + 60);
        }
        pass(SECOND - 1);
        assert_false(rates_take(*state, "a", 60, &rate));
        pass(1);
        assert_true(rates_take(*state, "a", 60, &rate));
        assert_false(rates_take(*state, "a", 60, &rate));
        pass(3600 * SECOND); /* it does not overflow */
        assert_true(rates_take(*state, "a", 60, &rate));
        assert_int_equal(rate.remaining, 59);
}

static void test_subjects_do_not_disturb_each_other(void **state)
{
        struct rate rate;

        assert_true(rates_take(*state, "a", 1, &rate));
        assert_false(rates_take(*state, "a", 1, &rate));
        assert_int_equal(rate.retry_s, 60);
        assert_true(rates_take(*state, "", 1, &rate));
        assert_true(rates_take(*state, "b", 1, &rate));
        assert_false(rates_take(*state, "a", 1, &rate));
}

static void test_the_limit_may_change(void **state)
{
        struct rate rate;

        for (unsigned i = 0; i < 600; i++)
                assert_true(rates_take(*state, "a", 600, &rate));
        assert_false(rates_take(*state, "a", 600, &rate));
        assert_false(rates_take(*state, "a", 2, &rate));
        assert_int_equal(rate.retry_s, 30);
        pass(30 * SECOND);
        assert_true(rates_take(*state, "a", 2, &rate));
        assert_false(rates_take(*state, "a", 600, &rate));
        pass(SECOND / 10);
        assert_true(rates_take(*state, "a", 600, &rate));
}

static void test_few_subjects_are_remembered(void **state)
{
        struct rate rate;
        char subject[32];

        assert_true(rates_take(*state, "first", 1, &rate));
        for (unsigned i = 1; i < LIMIT_RATE_SUBJECTS; i++) {
                (void)snprintf(subject, sizeof(subject), "s%u", i);
                assert_true(rates_take(*state, subject, 1, &rate));
        }
        assert_false(rates_take(*state, "first", 1, &rate)); /* and is the latest now */
        assert_true(rates_take(*state, "one more", 1, &rate));
        assert_false(rates_take(*state, "first", 1, &rate));
        assert_true(rates_take(*state, "s1", 1, &rate)); /* who had been forgotten */
}

static void test_limits_beyond_a_microsecond(void **state)
{
        struct rate rate;

        assert_true(rates_take(*state, "a", 6000000, &rate));
        assert_int_equal(rate.remaining, 5999999);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_bucket_empties_and_fills, setup, teardown),
                cmocka_unit_test_setup_teardown(test_subjects_do_not_disturb_each_other, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_the_limit_may_change, setup, teardown),
                cmocka_unit_test_setup_teardown(test_few_subjects_are_remembered, setup, teardown),
                cmocka_unit_test_setup_teardown(test_limits_beyond_a_microsecond, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
