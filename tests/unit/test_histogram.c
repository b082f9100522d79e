/* SPDX-License-Identifier: Apache-2.0 */

/* Quantiles against a sorted copy of what was recorded. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "agent/base/histogram.h"

#define N 10000

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return x < y ? -1 : x > y;
}

static void test_empty(void **state)
{
        const struct histogram h = { 0 };

        (void)state;
        assert_int_equal(histogram_quantile(&h, 950), 0);
        assert_int_equal(histogram_at_most(&h, UINT64_MAX), 0);
}

static void test_small_values_are_exact(void **state)
{
        struct histogram h = { 0 };

        (void)state;
        for (uint64_t i = 0; i < 10; i++)
                histogram_record(&h, i);
        assert_int_equal(histogram_quantile(&h, 1), 0);
        assert_int_equal(histogram_quantile(&h, 100), 0);
        assert_int_equal(histogram_quantile(&h, 500), 4);
        assert_int_equal(histogram_quantile(&h, 1000), 9);
        assert_int_equal(histogram_at_most(&h, 7), 8);
        assert_int_equal(h.sum, 45);
}

static void test_quantiles_are_close(void **state)
{
        static const unsigned permilles[] = { 10, 250, 500, 900, 950, 990, 999, 1000 };
        static uint64_t values[N];
        struct histogram h = { 0 };
        uint64_t x = 88172645463325252, sum = 0;

        (void)state;
        for (unsigned i = 0; i < N; i++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                values[i] = (x >> 8) & ((1ull << (x % 39)) - 1);
                histogram_record(&h, values[i]);
        }
        qsort(values, N, sizeof(*values), compare);
        for (unsigned i = 0; i < sizeof(permilles) / sizeof(*permilles); i++) {
                uint64_t exact = values[(N * permilles[i] + 999) / 1000 - 1];
                uint64_t found = histogram_quantile(&h, permilles[i]);

                assert_true(found >= exact);
                assert_true(found <= exact + exact / 8 + 1);
        }
        for (unsigned bits = 3; bits < 40; bits++) {
                uint64_t end = (1ull << bits) - 1, n = 0;

                while (n < N && values[n] <= end)
                        n++;
                assert_int_equal(histogram_at_most(&h, end), n);
                assert_int_equal(histogram_between(&h, 0, bits), n);
                sum += bits > 3 ? histogram_between(&h, bits - 1, bits) : n;
                assert_int_equal(sum, n);
        }
}

static void test_the_largest(void **state)
{
        struct histogram h = { 0 };

        (void)state;
        histogram_record(&h, UINT64_MAX / 2);
        assert_int_equal(h.buckets[HISTOGRAM_BUCKETS - 1], 1);
        assert_int_equal(histogram_at_most(&h, UINT64_MAX), 1);
        assert_int_equal(h.max, UINT64_MAX / 2);
}

/* Counters never fall, whatever was seen how often. */
static void test_more_than_32_bits(void **state)
{
        struct histogram h = { 0 };

        (void)state;
        histogram_record(&h, 5);
        h.count = h.buckets[5] = UINT32_MAX;
        histogram_record(&h, 5);
        assert_true(histogram_between(&h, 0, 4) == h.count);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_small_values_are_exact),
                cmocka_unit_test(test_quantiles_are_close),
                cmocka_unit_test(test_the_largest),
                cmocka_unit_test(test_more_than_32_bits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
