/* SPDX-License-Identifier: Apache-2.0 */

/* Turns. They keep memory flat: what may be made is what the queue takes at once, so nobody holds a body for which
 * there is no room. A failure holds up everybody, because what stands in the way (the disk) is everybody's: then
 * one in a while finds out whether it has passed, instead of a thousand. */

#include <assert.h>
#include <errno.h>

#include "agent/base/clock.h"
#include "agent/loop/timer.h"
#include "agent/webhook/webhook_private.h"

/* At once: one may be made while the other is written. */
#define MAX_TURNS 2

#define HOLD_FIRST_MS 500
#define HOLD_MAX_MS   30000

static bool has_room(const struct webhooks *w)
{
        uint64_t n_bytes = w->n_bytes + (w->n_turns + (uint64_t)1) * LIMIT_WEBHOOK_BODY;

        return w->n_turns < MAX_TURNS && w->n_deliveries + w->n_turns < w->options.max_queued &&
               n_bytes <= LIMIT_WEBHOOK_JOURNAL;
}

static bool is_held(const struct webhooks *w)
{
        return w->hold_ms > 0 && clock_now_ms() < w->held_until_ms;
}

static void on_turn_timer(void *arg)
{
        struct webhooks *w = arg;

        while (!w->is_closing && !list_is_empty(&w->turns) && has_room(w) && !is_held(w)) {
                struct webhook_turn *t = list_entry(w->turns.next, struct webhook_turn, link);

                list_remove(&t->link);
                w->n_turns++;
                t->on_turn(t);
        }
        webhook_turns_pump(w); /* they may be held by now */
}

/* Turns are given by the timer, and so never from inside somebody's call. */
void webhook_turns_pump(struct webhooks *w)
{
        uint64_t now = clock_now_ms();

        if (w->is_closing || list_is_empty(&w->turns) || !has_room(w))
                return;
        timer_start(w->turn_timer, is_held(w) ? w->held_until_ms - now : 0);
}

void webhook_turns_init(struct webhooks *w)
{
        w->turn_timer = timer_new(w->loop, on_turn_timer, w);
}

void webhook_turns_close(struct webhooks *w)
{
        timer_stop(w->turn_timer);
        while (!list_is_empty(&w->turns)) {
                struct webhook_turn *t = list_entry(w->turns.next, struct webhook_turn, link);

                list_remove(&t->link);
                t->on_closed(t);
        }
}

void webhook_turns_free(struct webhooks *w)
{
        assert(w->n_turns == 0);
        w->turn_timer = timer_free(w->turn_timer);
}

/* See the header. */
int webhook_turn_wait(struct webhooks *w, struct webhook_turn *t)
{
        if (w->is_closing)
                return -ESHUTDOWN;
        list_init(&t->link);
        list_append(&w->turns, &t->link);
        webhook_turns_pump(w);
        return 0;
}

/* See the header. */
void webhook_turn_done(struct webhooks *w)
{
        assert(w->n_turns > 0);
        w->n_turns--;
        w->hold_ms = 0;
        webhook_turns_pump(w);
        webhook_check_closed(w);
}

/* See the header. */
void webhook_turn_again(struct webhooks *w, struct webhook_turn *t)
{
        assert(w->n_turns > 0);
        w->n_turns--;
        if (w->is_closing) {
                t->on_closed(t);
                webhook_check_closed(w);
                return;
        }
        /* Of two that fail together the second says nothing new. */
        if (!is_held(w)) {
                w->hold_ms = w->hold_ms > 0 ? MIN(w->hold_ms * 2, (uint64_t)HOLD_MAX_MS)
                                            : HOLD_FIRST_MS;
                w->held_until_ms = clock_now_ms() + w->hold_ms;
        }
        list_append(&w->turns, &t->link);
        webhook_turns_pump(w);
}
