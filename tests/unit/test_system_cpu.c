/* SPDX-License-Identifier: Apache-2.0 */

/* What a share of processor time refers to. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/system_cpu.h"

#define S 1000000u /* microseconds */

static struct system_cpu *cpu;

static int setup(void **state)
{
        (void)state;
        cpu = system_cpu_new();
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        cpu = system_cpu_free(cpu);
        return 0;
}

/* One look at process 7, which began at 0 and has used @used_us; its share. */
static double look(uint64_t now_us, uint64_t used_us, uint64_t *ret_reference)
{
        struct system_cpu_sample s = { .pid = 7, .cpu_us = used_us, .taken_us = now_us };
        uint64_t reference = system_cpu_begin(cpu, now_us);
        double share = system_cpu_share(cpu, &s, now_us);

        if (ret_reference)
                *ret_reference = reference;
        system_cpu_end(cpu, &s, 1);
        return share;
}

static void test_first_look_is_since_the_start(void **state)
{
        uint64_t reference = 1;

        (void)state;
        assert_float_equal(look(10 * S, 5 * S, &reference), 50, 1e-6);
        assert_int_equal(reference, 0);
}

static void test_second_look_is_since_the_first(void **state)
{
        uint64_t reference;

        (void)state;
        (void)look(10 * S, 0, NULL);
        assert_float_equal(look(12 * S, 4 * S, &reference), 200, 1e-6);
        assert_int_equal(reference, 10 * S);
        assert_float_equal(look(13 * S, 4 * S, &reference), 0, 1e-6);
        assert_int_equal(reference, 12 * S);
}

/* Ten looks per second: none is over less than half a second, none forgets. */
static void test_fast_looks(void **state)
{
        (void)state;
        (void)look(10 * S, 0, NULL);
        assert_float_equal(look(10 * S + S / 10, S / 10, NULL), 100 * 0.1 / 10.1, 1e-6);
        for (unsigned i = 5; i < 100; i++) {
                uint64_t now = 10 * S + i * S / 10, reference;

                assert_float_equal(look(now, i * S / 10, &reference), 100, 1e-6);
                assert_true(now - reference >= SYSTEM_CPU_INTERVAL_US);
                assert_true(now - reference <= 2 * SYSTEM_CPU_INTERVAL_US + S / 10);
        }
}

static void test_looks_at_one_instant(void **state)
{
        (void)state;
        (void)look(10 * S, 2 * S, NULL);
        assert_float_equal(look(10 * S, 2 * S, NULL), 20, 1e-6);
}

static void test_strangers(void **state)
{
        struct system_cpu_sample s = {
                .pid = 7, .start_us = 1, .cpu_us = 1 * S, .taken_us = 12 * S
        };

        (void)state;
        (void)look(10 * S, 0, NULL);
        assert_int_equal(system_cpu_begin(cpu, 12 * S), 10 * S);
        /* The number has gone to somebody else, who is half a second old. */
        assert_float_equal(system_cpu_share(cpu, &s, S / 2), 200, 1e-6);
        assert_float_equal(system_cpu_share(cpu, &s, 0), 0, 1e-6);
        s.pid = 8;
        assert_float_equal(system_cpu_share(cpu, &s, 4 * S), 25, 1e-6);
        system_cpu_end(cpu, NULL, 0);
        assert_int_equal(system_cpu_begin(cpu, 13 * S), 12 * S);
        assert_float_equal(system_cpu_share(cpu, &s, 4 * S), 25, 1e-6);
        system_cpu_end(cpu, NULL, 0);
}

/* Counters that went back mean nothing. */
static void test_a_clock_that_ran_backwards(void **state)
{
        (void)state;
        (void)look(10 * S, 5 * S, NULL);
        assert_float_equal(look(20 * S, 4 * S, NULL), 20, 1e-6);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_first_look_is_since_the_start, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_second_look_is_since_the_first, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_fast_looks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_looks_at_one_instant, setup, teardown),
                cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_clock_that_ran_backwards, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
