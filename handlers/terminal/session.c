/* SPDX-License-Identifier: Apache-2.0 */

/* The life of a session. Output goes into the ring, and every client has its own place in it. The shell is held back
 * when even the fastest client lags; a client whose place falls out of the ring because others are faster is told so
 * and may come back. When nobody is attached nothing is held back. */

#include "handlers/terminal/session.h"

#include <signal.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/loop/timer.h"
#include "proc/supervisor.h"

/* What the shell and its programs get to tidy up after a hang-up. */
#define HANGUP_GRACE_MS 1000

struct ending_wait {
        struct list link;
        struct request *request; /* a reference */
};

static void answer_waits(struct session *s)
{
        char now[CLOCK_RFC3339_SIZE];

        list_for_each_safe(pos, &s->ending_waits) {
                struct ending_wait *w = list_entry(pos, struct ending_wait, link);

                list_remove(&w->link);
                request_reply_json(w->request, 200,
                                   json_pack("{s:b, s:s, s:s, s:s, s:s}", "success", 1, "name",
                                             s->name ? s->name : process_id(s->process), "id",
                                             process_id(s->process), "message", "terminal ended",
                                             "timestamp", clock_rfc3339_now(now)));
                request_unref(w->request);
                free(w);
        }
}

static void session_free(struct session *s)
{
        struct terminals *t = s->terminals;

        timer_free(s->linger);
        list_remove(&s->link);
        t->n_sessions--;
        ring_done(&s->output);
        process_unref(s->process);
        free(s->name);
        free(s->shell);
        free(s->cwd);
        free(s);
        terminals_check_ended(t);
}

/* --- while it runs --- */

static uint64_t lag_of_fastest(const struct session *s)
{
        uint64_t lag = UINT64_MAX;

        list_for_each(pos, &s->attachments) {
                const struct attachment *a = list_entry(pos, struct attachment, link);

                lag = MIN(lag, s->output.end - a->offset);
        }
        return lag;
}

static void update_pause(struct session *s)
{
        uint64_t lag = lag_of_fastest(s);
        bool pause = s->n_attachments > 0 &&
                     lag > (s->is_paused ? LIMIT_TERMINAL_LAG / 2 : LIMIT_TERMINAL_LAG);

        if (pause == s->is_paused || s->has_ended)
                return;
        s->is_paused = pause;
        process_pause_output(s->process, pause);
}

/* A session that nobody can come back to needs no history. */
static void forget_taken(struct session *s)
{
        uint64_t offset = s->output.end;

        if (s->name)
                return;
        list_for_each(pos, &s->attachments) {
                offset = MIN(offset, list_entry(pos, struct attachment, link)->offset);
        }
        ring_discard(&s->output, offset);
}

/* See the header. */
void session_taken(struct session *s)
{
        forget_taken(s);
        update_pause(s);
}

static void notify_all(struct session *s)
{
        list_for_each_safe(pos, &s->attachments) {
                attachment_notify(list_entry(pos, struct attachment, link));
        }
}

static void on_output(struct process *p, enum process_channel from, const char *data, size_t size,
                      void *arg)
{
        struct session *s = arg;

        (void)p;
        (void)from;
        s->active_ms = clock_now_ms();
        ring_append(&s->output, data, size);
        notify_all(s);
        update_pause(s);
}

static void on_input_drained(struct process *p, void *arg)
{
        struct session *s = arg;

        (void)p;
        list_for_each_safe(pos, &s->attachments) {
                attachment_resume_input(list_entry(pos, struct attachment, link));
        }
}

/* --- its end --- */

/* Whether somebody may still come for what an ended session has to tell. */
static bool is_awaited(const struct session *s)
{
        return s->name && !s->is_doomed && !s->was_end_seen &&
               s->app->config->terminal_linger_ms > 0;
}

static void on_linger_over(void *arg)
{
        struct session *s = arg;

        s->is_doomed = true;
        if (s->has_ended)
                session_free(s);
        else
                session_end(s);
}

static void on_end(struct process *p, void *arg)
{
        struct session *s = arg;

        s->has_ended = true;
        process_kill(p, END_CANCELLED); /* what the shell has left behind */
        answer_waits(s);
        if (s->n_attachments > 0)
                notify_all(s);
        else if (!is_awaited(s))
                session_free(s);
}

/* See the header. */
void session_end(struct session *s)
{
        s->is_doomed = true;
        if (!s->has_ended)
                process_kill(s->process, END_CANCELLED);
        else if (s->n_attachments == 0)
                session_free(s);
}

/* See the header. */
void session_answer_end(struct session *s, struct request *req)
{
        struct ending_wait *w = xnew(struct ending_wait);

        w->request = request_ref(req);
        list_append(&s->ending_waits, &w->link);
        if (s->has_ended)
                answer_waits(s);
}

/* --- its clients --- */

/* See the header. */
void session_add(struct session *s, struct attachment *a)
{
        list_append(&s->attachments, &a->link);
        s->n_attachments++;
        s->linger = timer_free(s->linger);
        update_pause(s);
}

static void wait_for_client(struct session *s)
{
        uint64_t linger_ms = s->app->config->terminal_linger_ms;

        if (s->has_ended && !is_awaited(s)) {
                session_free(s);
                return;
        }
        if (!s->name || linger_ms == 0)
                session_end(s);
        if (s->is_doomed)
                return;
        s->linger = timer_new(s->app->loop, on_linger_over, s);
        timer_start(s->linger, linger_ms);
        update_pause(s);
}

/* See the header. */
void session_remove(struct session *s, struct attachment *a)
{
        list_remove(&a->link);
        s->n_attachments--;
        if (s->n_attachments == 0)
                wait_for_client(s);
        else
                session_taken(s);
}

/* --- its beginning --- */

/* See the header. */
struct session *session_find(const struct terminals *t, const char *name)
{
        list_for_each(pos, &t->sessions) {
                struct session *s = list_entry(pos, struct session, link);

                if (!s->is_doomed &&
                    (str_equal(s->name, name) || str_equal(process_id(s->process), name)))
                        return s;
        }
        return NULL;
}

/* See the header. */
int session_new(struct app *app, const struct session_options *o, struct session **ret,
                struct error *err)
{
        struct session *s = xnew(struct session);
        const struct process_options options = {
                .argv = o->argv,
                .envp = o->envp,
                .cwd = o->cwd,
                .input_fd = -1,
                .tty = &o->size,
                .grace_ms = HANGUP_GRACE_MS,
                .term_signal = SIGHUP, /* shells ignore SIGTERM */
                .on_end = on_end,
                .on_output = on_output,
                .on_input_drained = on_input_drained,
                .arg = s,
        };
        int r;

        r = supervisor_start(app->supervisor, &options, &s->process, err);
        if (r != 0) {
                free(s);
                return r;
        }
        process_ref(s->process);
        s->terminals = app->terminals;
        s->app = app;
        s->name = o->name ? xstrdup(o->name) : NULL;
        s->shell = xstrdup(o->argv[0]);
        s->cwd = xstrdup(o->cwd);
        s->size = o->size;
        s->started_ms = clock_realtime_s() * 1000;
        s->active_ms = clock_now_ms();
        ring_init(&s->output, LIMIT_TERMINAL_RING);
        list_init(&s->attachments);
        list_init(&s->ending_waits);
        list_append(&s->terminals->sessions, &s->link);
        s->terminals->n_sessions++;
        app->metrics.terminals_total++;
        *ret = s;
        return 0;
}
