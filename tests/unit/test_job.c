/* SPDX-License-Identifier: Apache-2.0 */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/loop/job.h"
#include "agent/loop/lag.h"
#include "tests/lib/loop_fixture.h"

struct square {
        int input;
        int output;
        pthread_t run_thread;
        pthread_t done_thread;
        unsigned *n_done;
};

static void square_run(void *arg)
{
        struct square *s = arg;

        s->output = s->input * s->input;
        s->run_thread = pthread_self();
}

static void square_done(void *arg)
{
        struct square *s = arg;

        s->done_thread = pthread_self();
        (*s->n_done)++;
}

static void test_runs_elsewhere_and_ends_here(void **state)
{
        struct loop *l = *state;
        struct square jobs[20];
        unsigned n_done = 0;

        for (int i = 0; i < 20; i++) {
                jobs[i] = (struct square){ .input = i, .n_done = &n_done };
                assert_int_equal(job_run(l, &jobs[i], square_run, square_done), 0);
        }
        assert_int_equal(n_done, 0); /* never from inside job_run */
        assert_int_equal(loop_n_jobs(l), 20);

        loop_run(l);
        assert_int_equal(n_done, 20);
        assert_int_equal(loop_n_jobs(l), 0);
        for (int i = 0; i < 20; i++) {
                assert_int_equal(jobs[i].output, i * i);
                assert_false(pthread_equal(jobs[i].run_thread, pthread_self()));
                assert_true(pthread_equal(jobs[i].done_thread, pthread_self()));
        }
}

struct chain {
        struct loop *loop;
        int left;
};

static void chain_run(void *arg)
{
        (void)arg;
}

static void chain_done(void *arg)
{
        struct chain *c = arg;

        if (--c->left > 0)
                assert_int_equal(job_run(c->loop, c, chain_run, chain_done), 0);
}

/* A finished job may start the next one with the same memory. */
static void test_chain(void **state)
{
        struct chain c = { .loop = *state, .left = 5 };

        assert_int_equal(job_run(c.loop, &c, chain_run, chain_done), 0);
        loop_run(c.loop);
        assert_int_equal(c.left, 0);
}

/* loop_close waits for jobs that nobody waited for. */
static void test_outlives_loop_run(void **state)
{
        unsigned n_done = 0;
        struct square s = { .input = 3, .n_done = &n_done };
        struct loop l;

        (void)state;
        assert_int_equal(loop_init(&l), 0);
        assert_int_equal(job_run(&l, &s, square_run, square_done), 0);
        assert_int_equal(loop_close(&l), 0);
        assert_int_equal(n_done, 1);
        assert_int_equal(s.output, 9);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_runs_elsewhere_and_ends_here, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_chain, loop_setup, loop_teardown),
                cmocka_unit_test(test_outlives_loop_run),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
