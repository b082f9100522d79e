/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/loop/timer.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/macros.h"
#include "agent/loop/loop.h"

struct timer {
        uv_timer_t handle;
        struct clock_deadline deadline;
        void (*fn)(void *arg);
        void *arg;
};

/* See the header. */
struct timer *timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
        struct timer *t = xnew(struct timer);

        uv_timer_init(&l->uv, &t->handle);
        t->fn = fn;
        t->arg = arg;
        return t;
}

static void on_closed(uv_handle_t *h)
{
        free(container_of((uv_timer_t *)h, struct timer, handle));
}

/* See the header. */
struct timer *timer_free(struct timer *t)
{
        if (t)
                uv_close((uv_handle_t *)&t->handle, on_closed);
        return NULL;
}

static void on_timer(uv_timer_t *handle)
{
        struct timer *t = container_of(handle, struct timer, handle);
        uint64_t rest_ms = clock_deadline_rest_ms(&t->deadline);

        if (rest_ms > 0)
                timer_start(t, rest_ms);
        else
                t->fn(t->arg);
}

/* See the header. */
void timer_start(struct timer *t, uint64_t ms)
{
        clock_deadline_set(&t->deadline, ms);
        uv_update_time(t->handle.loop); /* its idea of now may be older than this turn's work */
        uv_timer_start(&t->handle, on_timer, ms, 0);
}

/* See the header. */
void timer_stop(struct timer *t)
{
        uv_timer_stop(&t->handle);
}
