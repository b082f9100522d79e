/* SPDX-License-Identifier: Apache-2.0 */

/* One watch, on the loop. Marks are collected for coalesce_ms; then a worker gets them, with the remembered tree, and
 * brings back events; these are handed over, some each turn; and so on. Nothing is looked at before what was found out
 * has been taken, so a slow receiver costs marks, which are bounded, and no events. */

#include "agent/watch/watch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "agent/watch/watch_private.h"

/* Handed over in one turn, by all watches: so many events, or not many more bytes of paths. */
#define EVENTS_A_TURN ((size_t)256)
#define TEXT_A_TURN   (64 * KIB)

static void on_timer(void *arg);
static void on_stepped(void *arg);

/* See the header. */
unsigned watch_n_denied(const struct watch *w)
{
        return w->state == WATCH_WORKING ? w->n_denied : w->pass->n_denied;
}

static void run_step(void *arg)
{
        struct watch *w = arg;

        if (w->begins)
                pass_begin(w->pass, &w->taken);
        w->result = pass_step(w->pass);
}

/* The worker gets the marks too: there may be many. */
static void start_step(struct watch *w, bool begins)
{
        w->begins = begins;
        if (begins) {
                w->taken = w->marks;
                marks_init(&w->marks);
        }
        w->n_denied = w->pass->n_denied;
        w->state = WATCH_WORKING;
        if (job_run(w->ws->loop, w, run_step, on_stepped) < 0)
                abort(); /* it only fails without a function */
}

/* Something is to be looked at, or will be. */
static void wait_for_more(struct watch *w)
{
        w->state = WATCH_WAITING;
        timer_start(w->timer, w->options.coalesce_ms);
}

/* Without anything to look at it looks all the same now and then, since the root may go without a report. */
static void maybe_wait(struct watch *w)
{
        if (w->state != WATCH_IDLE || w->is_paused)
                return;
        if (!marks_is_empty(&w->marks) || pass_wants_another(w->pass))
                wait_for_more(w);
        else
                timer_start(w->timer, WATCH_CHECK_MS);
}

/* Runs on a worker. */
static void run_take_apart(void *arg)
{
        struct watch *w = arg;
        const struct mirror *m = &w->pass->mirror;

        w->descriptors = xcalloc(m->n_watched + 1, sizeof(*w->descriptors));
        for (const struct entry *e = m->root; e; e = mirror_next(e, m->root))
                if (e->folder && e->folder->wd >= 0)
                        w->descriptors[w->n_descriptors++] = e->folder->wd;
        w->pass = pass_free(w->pass);
}

static void on_taken_apart(void *arg)
{
        struct watch *w = arg;

        watches_release(w->ws, w->instance, w->descriptors, w->n_descriptors);
        instance_unref(w->instance);
        watches_forget(w->ws);
        if (w->options.free_interest)
                w->options.free_interest(w->options.interest_arg);
        free(w->descriptors);
        free(w);
}

static void take_apart(struct watch *w)
{
        marks_done(&w->marks);
        if (job_run(w->ws->loop, w, run_take_apart, on_taken_apart) < 0)
                abort();
}

/* See the header. */
struct watch *watch_free(struct watch *w)
{
        if (!w)
                return NULL;
        assert(!w->is_freed);
        w->is_freed = true;
        w->timer = timer_free(w->timer);
        list_remove(&w->link);
        instance_leave(w->instance);
        if (w->state != WATCH_WORKING)
                take_apart(w);
        return NULL;
}

/* All events of the last step have been taken. */
static void end_step(struct watch *w)
{
        struct error err = w->pass->error;

        pass_clear(w->pass);
        switch (w->result) {
        case PASS_MORE:
                start_step(w, false);
                return;
        case PASS_DONE:
                w->state = WATCH_IDLE;
                maybe_wait(w);
                if (!w->is_ready && w->pass->is_complete) {
                        w->is_ready = true;
                        if (w->options.on_ready)
                                w->options.on_ready(w, w->options.arg);
                }
                return;
        case PASS_GONE:
        case PASS_FAILED:
                w->state = WATCH_ENDED;
                marks_done(&w->marks);
                if (w->options.on_end)
                        w->options.on_end(w, w->result == PASS_GONE ? WATCH_GONE : WATCH_FAILED,
                                          &err, w->options.arg);
                return;
        }
}

/* Hands over some events, or goes on when there are none left. All watches together have the loop for so long in each
 * of its turns; who had none is before the others in the next, because timers keep their order. The timers alone would
 * not end a turn: while many watches tell, the first one's is due again. */
static void tell_some(struct watch *w)
{
        const struct event_log *log = &w->pass->log;
        struct watch_event events[EVENTS_A_TURN];
        struct instance *i = w->instance;
        size_t n = 0, most = MIN(log->n - w->next_event, EVENTS_A_TURN - i->n_told);

        if (w->is_paused)
                return;
        if (w->next_event == log->n) {
                end_step(w);
                return;
        }
        timer_start(w->timer, WATCH_NEXT_TURN_MS);
        if (most == 0)
                return;
        while (n < most && (n == 0 || events[n - 1].path < events[0].path + TEXT_A_TURN)) {
                events[n] = event_log_get(log, w->next_event + n);
                n++;
        }
        w->next_event += n;
        i->n_told = n < most ? EVENTS_A_TURN : i->n_told + n;
        w->options.on_events(w, events, n, w->options.arg);
}

static void on_stepped(void *arg)
{
        struct watch *w = arg;

        if (w->is_freed) {
                take_apart(w);
                return;
        }
        watches_release(w->ws, w->instance, w->pass->dropped, w->pass->n_dropped);
        w->state = WATCH_TELLING;
        w->next_event = 0;
        tell_some(w);
}

static void on_timer(void *arg)
{
        struct watch *w = arg;

        if (w->state == WATCH_TELLING) {
                tell_some(w);
                return;
        }
        assert(w->state == WATCH_WAITING || w->state == WATCH_IDLE);
        w->state = WATCH_IDLE;
        if (w->is_paused)
                return;
        if (w->marks.is_overflown && w->is_ready && !w->has_told_overflow) {
                w->has_told_overflow = true;
                w->state = WATCH_WAITING;
                timer_start(w->timer, WATCH_NEXT_TURN_MS);
                if (w->options.on_overflow)
                        w->options.on_overflow(w, w->options.arg);
                return;
        }
        w->has_told_overflow = false;
        start_step(w, true);
}

/* See the header. */
void watch_pause(struct watch *w, bool is_paused)
{
        w->is_paused = is_paused;
        if (is_paused)
                return;
        if (w->state == WATCH_TELLING)
                timer_start(w->timer, WATCH_NEXT_TURN_MS);
        else
                maybe_wait(w);
}

/* An event, perhaps for this watch. */
void watch_hear(struct watch *w, int wd, uint32_t mask, uint32_t cookie, const char *name)
{
        if (w->state == WATCH_ENDED ||
            (w->state != WATCH_WORKING && !mirror_find_watched(&w->pass->mirror, wd)))
                return;
        marks_add(&w->marks, &w->origins, wd, mask, cookie, name);
        maybe_wait(w);
}

/* The kernel dropped events. */
void watch_hear_overflow(struct watch *w)
{
        if (w->state == WATCH_ENDED)
                return;
        marks_overflow(&w->marks);
        maybe_wait(w);
}

/* See the header. */
int watch_new(struct watches *ws, const char *root, const struct watch_options *options,
              struct watch **ret, struct error *err)
{
        struct watch *w;
        int r;

        assert(root[0] == '/' && options->on_events);
        if ((ws->instance && ws->instance->n_live >= LIMIT_WATCHES_ALL) ||
            ws->n_left >= LIMIT_WATCHES_ALL + LIMIT_WATCHES_ENDING)
                return error_set_field(err, -EAGAIN, "", "there are %u watches already",
                                       LIMIT_WATCHES_ALL);
        r = watches_open(ws, err);
        if (r < 0)
                return r;

        w = xnew(struct watch);
        w->ws = ws;
        w->options = *options;
        if (w->options.coalesce_ms == 0)
                w->options.coalesce_ms = WATCH_COALESCE_MS;
        if (w->options.max_entries == 0)
                w->options.max_entries = LIMIT_WATCH_ENTRIES;
        if (w->options.max_entries_all == 0)
                w->options.max_entries_all = LIMIT_WATCH_ENTRIES_ALL;
        marks_init(&w->marks);
        w->timer = timer_new(ws->loop, on_timer, w);
        w->instance = ws->instance;
        w->instance->n_live++;
        instance_ref(w->instance);
        w->pass = pass_new(root, &w->options, w->instance->fd);
        list_append(&ws->live, &w->link);
        watches_remember(ws);
        start_step(w, false);
        *ret = w;
        return 0;
}
