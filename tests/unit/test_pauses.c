/* SPDX-License-Identifier: Apache-2.0 */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/pauses.h"

#define MS UINT64_C(1000)
#define S  (1000 * MS)

static _Atomic uint64_t now;

static uint64_t read_now(void)
{
        return atomic_load(&now);
}

static struct pauses begin_at(uint64_t us)
{
        struct pauses p = { 0 };

        atomic_store(&now, us);
        pauses_begin(&p, us);
        return p;
}

static uint64_t look_after(struct pauses *p, uint64_t us)
{
        atomic_fetch_add(&now, us);
        return pauses_look(p, read_now);
}

static void test_runs(void **state)
{
        struct pauses p = begin_at(100 * S);

        (void)state;
        assert_int_equal(pauses_look(&p, read_now), 100 * S);
        assert_int_equal(look_after(&p, 250 * MS), 100 * S + 250 * MS);
        assert_int_equal(look_after(&p, PAUSE_MIN_US - 1), 102 * S + 250 * MS - 1);
        assert_int_equal(atomic_load(&p.total_us), 0);
}

static void test_stands_still(void **state)
{
        struct pauses p = begin_at(100 * S);

        (void)state;
        assert_int_equal(look_after(&p, PAUSE_MIN_US), 100 * S);
        assert_int_equal(atomic_load(&p.total_us), PAUSE_MIN_US);
        assert_int_equal(look_after(&p, 300 * MS), 100 * S + 300 * MS);
        assert_int_equal(look_after(&p, 86400 * S), 100 * S + 300 * MS);
        assert_int_equal(look_after(&p, 1), 100 * S + 300 * MS + 1);
        assert_int_equal(atomic_load(&p.total_us), PAUSE_MIN_US + 86400 * S);
}

/* Nobody looked, and nobody was expected to. */
static void test_begins_again(void **state)
{
        struct pauses p = begin_at(100 * S);

        (void)state;
        (void)look_after(&p, 5 * S);
        atomic_fetch_add(&now, 60 * S);
        pauses_begin(&p, read_now());
        assert_int_equal(look_after(&p, MS), 160 * S + MS);
        assert_int_equal(atomic_load(&p.total_us), 5 * S);
}

#define N_THREADS 4
#define N_JUMPS   200

static struct pauses shared;
static _Atomic unsigned n_backward;
static _Atomic int is_over;

static void *look_all_the_time(void *arg)
{
        uint64_t last = 0;

        while (!atomic_load(&is_over)) {
                uint64_t active = pauses_look(&shared, read_now);

                if (active < last || active > 100 * S + N_JUMPS * MS)
                        atomic_fetch_add(&n_backward, 1);
                last = active;
        }
        return arg;
}

/* Each pause is counted once, whoever finds it, and nobody sees a time behind one that was not counted yet. */
static void test_threads(void **state)
{
        pthread_t threads[N_THREADS];

        (void)state;
        shared = begin_at(100 * S);
        for (unsigned i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, look_all_the_time, NULL), 0);
        for (unsigned i = 0; i < N_JUMPS; i++) {
                (void)look_after(&shared, MS);
                (void)look_after(&shared, 10 * S);
        }
        atomic_store(&is_over, 1);
        for (unsigned i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(atomic_load(&n_backward), 0);
        assert_int_equal(atomic_load(&shared.total_us), N_JUMPS * 10 * S);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_runs),
                cmocka_unit_test(test_stands_still),
                cmocka_unit_test(test_begins_again),
                cmocka_unit_test(test_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
