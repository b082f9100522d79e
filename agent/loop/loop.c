/* SPDX-License-Identifier: Apache-2.0 */

/* The event loop, with two checks on the rest of the program: a timer that measures how late the
 * loop comes to its events (somebody blocked it), and a close that finds every handle that was
 * left open (somebody leaked it). */

#include "agent/loop/loop.h"

#include <errno.h>
#include <time.h>

#define LOG_MODULE "loop"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/macros.h"
#include "agent/loop/lag.h"

#define LAG_INTERVAL_MS 250

/* Real time, not clock.h: a frozen test clock must not look like a blocked loop. */
static uint64_t now_us(void)
{
        return uv_hrtime() / 1000;
}

static uint64_t used_us(void)
{
        struct timespec ts = { 0 };

        (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* cannot fail */
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* How long we stood still since the last tick: that is not to be late. To the clock somebody who works for seconds
 * without a look at it does so, too, but he uses the processor. */
static uint64_t take_pause(struct loop *l)
{
        uint64_t paused_us = clock_paused_us() - l->paused_us, busy_us = used_us() - l->used_us;

        l->paused_us += paused_us;
        l->used_us += busy_us;
        return busy_us < paused_us / 2 ? paused_us : 0;
}

static void on_lag_tick(uv_timer_t *timer)
{
        struct loop *l = container_of(timer, struct loop, lag_timer);
        uint64_t now = now_us(), lag_us;

        l->lag_expected_us += take_pause(l);
        lag_us = now > l->lag_expected_us ? now - l->lag_expected_us : 0;
        histogram_record(&l->lag, lag_us);
        l->lag_ms = lag_us / 1000;
        l->lag_max_ms = MAX(l->lag_max_ms, l->lag_ms);
        l->lags_ms[l->n_lags++ % LOOP_LAGS] = l->lag_ms;
        l->lag_expected_us = now + LAG_INTERVAL_MS * 1000;
        if (l->on_tick)
                l->on_tick(l->tick_arg);
}

/* Sets up an idle loop. */
int loop_init(struct loop *l)
{
        int r;

        *l = (struct loop){ .lag_ms = 0 };
        r = uv_loop_init(&l->uv);
        if (r < 0)
                return r;

        (void)uv_timer_init(&l->uv, &l->lag_timer); /* cannot fail */
        uv_unref((uv_handle_t *)&l->lag_timer);
        return 0;
}

/* Runs the loop. Measuring begins here, because what happened since loop_init was no lag. */
void loop_run(struct loop *l)
{
        uv_update_time(&l->uv);
        l->lag_expected_us = now_us() + LAG_INTERVAL_MS * 1000;
        (void)uv_timer_start(&l->lag_timer, on_lag_tick, LAG_INTERVAL_MS, LAG_INTERVAL_MS);

        clock_watch_pauses(true);
        l->paused_us = clock_paused_us();
        l->used_us = used_us();

        (void)uv_run(&l->uv, UV_RUN_DEFAULT); /* the result says whether loop_stop ended it */
        clock_watch_pauses(false);
        (void)uv_timer_stop(&l->lag_timer);
}

/* See the header. */
void loop_on_tick(struct loop *l, void (*fn)(void *arg), void *arg)
{
        l->on_tick = fn;
        l->tick_arg = arg;
}

/* Makes loop_run return soon. Not for other threads. */
void loop_stop(struct loop *l)
{
        uv_stop(&l->uv);
}

struct census {
        unsigned n_closing;
        unsigned n_open;
};

static void count_handle(uv_handle_t *handle, void *arg)
{
        struct census *census = arg;

        if (uv_is_closing(handle))
                census->n_closing++;
        else
                census->n_open++;
}

static void report_handle(uv_handle_t *handle, void *arg)
{
        const char *type = uv_handle_type_name(uv_handle_get_type(handle));

        (void)arg;
        log_error("handle left open", "type=%s active=%d", type ? type : "unknown",
                  uv_is_active(handle));
}

/* Ends the loop. Close callbacks may close more handles, and finished jobs too, so it goes on as
 * long as something is about to end by itself. */
int loop_close(struct loop *l)
{
        uv_close((uv_handle_t *)&l->lag_timer, NULL);

        for (;;) {
                struct census census = { 0 };

                if (uv_loop_close(&l->uv) == 0)
                        return 0;

                uv_walk(&l->uv, count_handle, &census);
                if (census.n_closing > 0)
                        (void)uv_run(&l->uv, UV_RUN_NOWAIT);
                else if (census.n_open == 0 && uv_loop_alive(&l->uv))
                        (void)uv_run(&l->uv, UV_RUN_ONCE); /* jobs in the thread pool */
                else
                        break;
        }

        uv_walk(&l->uv, report_handle, NULL);
        return -EBUSY;
}

/* See lag.h. */
uint64_t loop_lag_ms(const struct loop *l)
{
        return l->lag_ms;
}

/* See lag.h. */
uint64_t loop_lag_max_ms(const struct loop *l)
{
        return l->lag_max_ms;
}

/* See lag.h. */
const struct histogram *loop_lag_histogram(const struct loop *l)
{
        return &l->lag;
}

/* See lag.h. */
unsigned loop_n_jobs(const struct loop *l)
{
        return l->n_jobs;
}

/* See lag.h. */
uint64_t loop_lag_repeated_ms(const struct loop *l)
{
        uint64_t worst = 0, second = 0;

        for (unsigned i = 0; i < LOOP_LAGS; i++) {
                uint64_t lag = l->lags_ms[i];

                second = MAX(second, MIN(lag, worst));
                worst = MAX(worst, lag);
        }
        return second;
}
