/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/log.h"
#include "agent/base/pauses.h"
#include "agent/loop/lag.h"
#include "agent/loop/loop.h"
#include "tests/lib/loop_fixture.h"

/* The lag timer alone must not keep the loop running. */
static void test_idle_loop_ends(void **state)
{
        struct loop *l = *state;

        loop_run(l);
        loop_run(l);
        assert_int_equal(l->lag_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
        loop_stop(timer->data);
}

static void test_stop(void **state)
{
        static uv_timer_t timer; /* closed in the teardown */
        struct loop *l = *state;

        assert_int_equal(uv_timer_init(&l->uv, &timer), 0);
        timer.data = l;
        assert_int_equal(uv_timer_start(&timer, on_timer, 1, 1), 0); /* would repeat for ever */
        loop_run(l);

        assert_true(uv_is_active((uv_handle_t *)&timer));
        uv_close((uv_handle_t *)&timer, NULL);
}

static void on_block(uv_timer_t *timer)
{
        uint64_t start = uv_hrtime();

        (void)timer;
        while (uv_hrtime() - start < 400 * UINT64_C(1000000))
                ; /* what nobody should do */
}

/* Blocking for 400 ms delays the tick that is due after 250 ms by about 150 ms. */
static void test_lag(void **state)
{
        static uv_timer_t block, end; /* closed in the teardown */
        struct loop *l = *state;

        assert_int_equal(uv_timer_init(&l->uv, &block), 0);
        assert_int_equal(uv_timer_start(&block, on_block, 1, 0), 0);
        assert_int_equal(uv_timer_init(&l->uv, &end), 0);
        end.data = l;
        assert_int_equal(uv_timer_start(&end, on_timer, 450, 0), 0);
        loop_run(l);

        assert_in_range(l->lag_max_ms, 100, 60000);

        uv_close((uv_handle_t *)&block, NULL);
        uv_close((uv_handle_t *)&end, NULL);
}

static clock_t processor_time(void)
{
        struct timespec t;

        assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
        return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_long_block(uv_timer_t *timer)
{
        clock_t start = processor_time();

        (void)timer;
        while (processor_time() - start < (clock_t)(PAUSE_MIN_US / 1000) + 50)
                ;
}

static void on_tick_end(void *arg)
{
        loop_stop(arg);
}

/* Nobody looks at the clock meanwhile, as in a pause; but who uses the processor does not stand still. */
static void test_a_long_block_is_no_pause(void **state)
{
        static uv_timer_t block, alive; /* closed in the teardown */
        struct loop *l = *state;

        assert_int_equal(uv_timer_init(&l->uv, &block), 0);
        assert_int_equal(uv_timer_start(&block, on_long_block, 1, 0), 0);
        assert_int_equal(uv_timer_init(&l->uv, &alive), 0);
        assert_int_equal(uv_timer_start(&alive, on_timer, 60000, 0), 0); /* until a tick */
        loop_on_tick(l, on_tick_end, l);
        loop_run(l);
        assert_true(loop_lag_max_ms(l) >= PAUSE_MIN_US / 1000 - 500);
        uv_close((uv_handle_t *)&block, NULL);
        uv_close((uv_handle_t *)&alive, NULL);
}

static void on_closed_close_next(uv_handle_t *handle)
{
        uv_close(handle->data, NULL);
}

/* Handles that are closed by close callbacks are waited for, too. */
static void test_close_chain(void **state)
{
        struct loop l;
        uv_timer_t first, second;

        (void)state;
        assert_int_equal(loop_init(&l), 0);
        assert_int_equal(uv_timer_init(&l.uv, &first), 0);
        assert_int_equal(uv_timer_init(&l.uv, &second), 0);
        first.data = &second;
        uv_close((uv_handle_t *)&first, on_closed_close_next);
        assert_int_equal(loop_close(&l), 0);
}

/* A leak is found and named, even when the handle would keep the loop busy for ever. */
static void test_leak_is_reported(void **state)
{
        struct loop l;
        uv_timer_t timer;
        char text[512];
        int saved, pipe_fds[2];
        ssize_t n;

        (void)state;
        assert_int_equal(loop_init(&l), 0);
        assert_int_equal(uv_timer_init(&l.uv, &timer), 0);
        assert_int_equal(uv_timer_start(&timer, on_timer, 3600000, 0), 0);

        assert_int_equal(pipe(pipe_fds), 0);
        saved = dup(STDERR_FILENO);
        dup2(pipe_fds[1], STDERR_FILENO);
        assert_int_equal(loop_close(&l), -EBUSY);
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(pipe_fds[1]);

        n = read(pipe_fds[0], text, sizeof(text) - 1);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "handle left open type=timer active=1"));
        close(pipe_fds[0]);

        uv_close((uv_handle_t *)&timer, NULL);
        assert_int_equal(uv_run(&l.uv, UV_RUN_DEFAULT), 0);
        assert_int_equal(uv_loop_close(&l.uv), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_idle_loop_ends, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_stop, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_lag, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_a_long_block_is_no_pause, loop_setup,
                                                loop_teardown),
                cmocka_unit_test(test_close_chain),
                cmocka_unit_test(test_leak_is_reported),
        };

        log_init(LOG_LEVEL_INFO, false);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
