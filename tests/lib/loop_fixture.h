/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A loop for unit tests. Its teardown closes it and fails the test that left a handle open:
 *
 *     cmocka_unit_test_setup_teardown(test_something, loop_setup, loop_teardown)
 *
 * The test finds its loop in *state. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/loop/loop.h"

static inline int loop_setup(void **state)
{
        struct loop *l = xnew(struct loop);

        assert_int_equal(loop_init(l), 0);
        *state = l;
        return 0;
}

static inline int loop_teardown(void **state)
{
        struct loop *l = *state;

        assert_int_equal(loop_close(l), 0);
        free(l);
        *state = NULL;
        return 0;
}

static inline void loop_on_deadline_(uv_timer_t *timer)
{
        *(int *)timer->data = 1;
}

static inline void loop_on_deadline_closed_(uv_handle_t *timer)
{
        timer->data = NULL;
}

/* Runs the loop until @is_true(@arg), for at most @deadline_ms; returns what it says at the end. */
static inline int loop_run_until(struct loop *l, int (*is_true)(void *arg), void *arg,
                                 unsigned deadline_ms)
{
        uv_timer_t timer;
        int is_late = 0;

        assert_int_equal(uv_timer_init(&l->uv, &timer), 0);
        timer.data = &is_late;
        assert_int_equal(uv_timer_start(&timer, loop_on_deadline_, deadline_ms, 0), 0);
        while (!is_late && !is_true(arg))
                (void)uv_run(&l->uv, UV_RUN_ONCE);

        /* The timer is on this stack: stay until it is closed. */
        uv_close((uv_handle_t *)&timer, loop_on_deadline_closed_);
        while (timer.data)
                (void)uv_run(&l->uv, UV_RUN_NOWAIT);
        return is_true(arg);
}
