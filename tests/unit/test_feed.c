/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/loop/feed.h"
#include "agent/loop/job.h"
#include "agent/loop/loop.h"

#define N_PIECES 10000

struct test {
        struct loop loop;
        struct feed *feed;
        unsigned n_pushed;
        unsigned n_taken;
        bool takes;
        bool is_done;
};

static void take(struct test *t)
{
        size_t size;
        char *data;

        while (t->takes && (data = feed_pop(t->feed, &size))) {
                unsigned number;

                assert_int_equal(size, sizeof(number));
                memcpy(&number, data, sizeof(number));
                assert_int_equal(number, t->n_taken++);
                free(data);
        }
}

static void on_data(void *arg)
{
        take(arg);
}

static void run(void *arg)
{
        struct test *t = arg;

        for (unsigned i = 0; i < t->n_pushed; i++) {
                char *data = malloc(sizeof(i));

                memcpy(data, &i, sizeof(i));
                assert_true(feed_push(t->feed, data, sizeof(i)) <= (i + 1) * sizeof(i));
        }
}

static void on_done(void *arg)
{
        struct test *t = arg;

        t->is_done = true;
        take(t);
        t->feed = feed_free(t->feed);
}

static void go(struct test *t)
{
        assert_int_equal(loop_init(&t->loop), 0);
        t->feed = feed_new(&t->loop, on_data, t);
        assert_int_equal(job_run(&t->loop, t, run, on_done), 0);
        loop_run(&t->loop);
        assert_true(t->is_done);
        assert_int_equal(loop_close(&t->loop), 0);
}

static void test_order(void **state)
{
        struct test t = { .n_pushed = N_PIECES, .takes = true };

        (void)state;
        go(&t);
        assert_int_equal(t.n_taken, N_PIECES);
}

/* Nothing is leaked. */
static void test_what_nobody_takes(void **state)
{
        struct test t = { .n_pushed = 100 };

        (void)state;
        go(&t);
        assert_int_equal(t.n_taken, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_what_nobody_takes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
