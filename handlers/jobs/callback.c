/* SPDX-License-Identifier: Apache-2.0 */

/* From the end of a job to an entry in the journal of webhooks:
 *
 *     wait for a turn ──▶ read the program ──▶ read the logs, make the body ──▶ queue it ──▶ the webhooks' own
 *           ▲  (headers, secret)  │                       │                         │
 *           └─────────────────────┴─── what may pass ─────┴─────────────────────────┘
 *
 * Nothing of this is written down. An agent that is killed in the middle leaves a job that has ended and whose
 * callback has no final state; the next one finds it, and begins again unless the journal has it by then. The
 * delivery's id is the execution's, so what is sent twice can be told. */

#include "handlers/jobs/callback.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define LOG_MODULE "callback"
#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/log.h"
#include "agent/config.h"
#include "agent/loop/job.h"
#include "agent/webhook/webhook.h"
#include "handlers/jobs/callback_body.h"
#include "proc/jobs.h"

/* One that is to be queued. */
struct callback {
        struct webhook_turn turn;
        struct loop *loop;
        struct callback_limits limits;
        struct webhooks
                *webhooks; /* the app's may be gone first, but it waits for who has a turn */
        struct job *job;   /* a reference */
        json_t *headers;   /* NULL: none */
        char *secret;      /* NULL: none */
};

/* --- the state --- */

static json_t *state_json(const char *status, const struct webhook_state *s)
{
        json_t *json = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o, s:s}",      //
                                 "status", status,                           //
                                 "attempts", (int)s->attempts,               //
                                 "last_error", callback_text(s->last_error), //
                                 "last_status",
                                 s->last_status ? json_integer(s->last_status) : json_null(), //
                                 "next_attempt_at", callback_time(s->next_attempt_at_ms),     //
                                 "delivered_at", callback_time(s->delivered_at_ms),           //
                                 "delivery_id", s->id);

        assert(json);
        return json;
}

/* Of one that is not with the webhooks: no attempt was made. */
static void set_state(struct job *job, const char *status, const char *error, bool is_final)
{
        const struct webhook_state none = { .id = job_execution_id(job), .last_error = error };

        job_set_callback(job, state_json(status, &none), is_final);
}

static void count(struct metrics *m, enum webhook_status status)
{
        m->webhooks_delivered += status == WEBHOOK_DELIVERED;
        m->webhooks_failed += status == WEBHOOK_FAILED;
        m->webhooks_refused += status == WEBHOOK_REFUSED;
}

/* See the header. */
void callback_on_change(void *arg, const struct webhook_state *s)
{
        struct app *app = arg;
        struct job *job = app->jobs ? jobs_find(app->jobs, s->id) : NULL;

        count(&app->metrics, s->status);
        /* One that the journal had still, although it had been delivered, is delivered again; that is no news. */
        if (!job || job_callback_is_final(job))
                return;
        job_set_callback(job, state_json(webhook_status_name(s->status), s),
                         s->status >= WEBHOOK_DELIVERED);
}

/* --- ends of a turn --- */

static void forget_program(struct callback *c)
{
        json_decref(STEAL(c->headers));
        if (c->secret)
                explicit_bzero(c->secret, strlen(c->secret));
        free(STEAL(c->secret));
}

static void callback_free(struct callback *c)
{
        forget_program(c);
        job_unref(c->job);
        free(c);
}

/* The agent stops, and the next one does it; or it is done. */
static void finish(struct callback *c)
{
        struct webhooks *w = c->webhooks;

        callback_free(c);
        webhook_turn_done(w);
}

static void give_up(struct callback *c, const char *status, const char *error)
{
        log_warning("callback cannot be sent", "process=%s status=%s error=%s",
                    job_process_id(c->job), status, log_quote(error));
        set_state(c->job, status, error, true);
        finish(c);
}

static void try_again(struct callback *c, const char *error)
{
        log_warning("callback has to wait", "process=%s error=%s", job_process_id(c->job),
                    log_quote(error));
        set_state(c->job, "waiting", error, false);
        forget_program(c);
        webhook_turn_again(c->webhooks, &c->turn);
}

/* --- queueing --- */

static void on_queued(void *arg, int result, const struct error *err)
{
        struct callback *c = arg;

        if (result < 0)
                try_again(c, err->message);
        else
                finish(c);
}

/* Takes @body. */
static void queue(struct callback *c, char *body, size_t body_size)
{
        struct error err = ERROR_INIT;
        const struct webhook spec = {
                .id = job_execution_id(c->job),
                .url = job_callback_url(c->job),
                .headers = c->headers,
                .secret = c->secret,
                .body = body,
                .body_size = body_size,
        };
        int r;

        r = webhook_queue(c->webhooks, &spec, on_queued, c, &err);
        if (r == 0)
                return;
        free(body);
        if (r == -ESHUTDOWN || r == -EEXIST)
                finish(c);
        else if (r == -ENOBUFS)
                try_again(c, err.message);
        else /* the options have changed since it was accepted */
                give_up(c, webhook_status_name(r == -EPERM ? WEBHOOK_REFUSED : WEBHOOK_FAILED),
                        err.message);
}

/* --- making the body --- */

struct body_job {
        struct callback *callback; /* the loop's */
        json_t *fields;
        char *dir;
        bool is_base64;
        struct callback_limits limits;
        char *body;
        size_t size;
        int result;
        struct error error;
};

static void body_run(void *arg)
{
        struct body_job *job = arg;

        job->result = callback_body_make(STEAL(job->fields), job->dir, job->is_base64, &job->limits,
                                         &job->body, &job->size, &job->error);
}

static void body_done(void *arg)
{
        struct body_job *job = arg;
        struct callback *c = job->callback;

        if (job->result < 0)
                try_again(c, job->error.message);
        else
                queue(c, job->body, job->size);
        free(job->dir);
        free(job);
}

static void make_body(struct callback *c)
{
        const struct job *job = c->job;
        const struct callback_facts facts = {
                .execution_id = job_execution_id(job),
                .process_id = job_process_id(job),
                .name = job_name(job),
                .language = job_language(job),
                .phase = job_phase(job),
                .result = job_result(job),
                .failure = job_failure(job),
                .timeout_ms = job_timeout_ms(job),
                .started_ms = job_started_ms(job),
                .ended_ms = job_ended_ms(job),
                .is_base64 = job_is_base64(job),
                .ignores_tasks = job_ignores_tasks(job),
        };
        struct body_job *body = xnew(struct body_job);
        int r;

        body->callback = c;
        body->fields = callback_fields(&facts);
        body->dir = xstrdup(job_dir(job));
        body->is_base64 = facts.is_base64;
        body->limits = c->limits;
        r = job_run(c->loop, body, body_run, body_done);
        assert(r == 0); /* it has no reason to fail */
}

/* --- a turn --- */

static void on_program(void *arg, json_t *program, const struct error *err)
{
        struct callback *c = arg;
        const json_t *arguments = json_object_get(program, "arguments");
        json_t *headers = json_object_get(arguments, "callback_headers");
        const char *secret = json_string_value(
                json_object_get(arguments, "callback_signature_secret"));

        if (!program) {
                if (err->code == -ESHUTDOWN)
                        finish(c);
                else if (err->code == -EMFILE || err->code == -ENFILE || err->code == -ENOMEM)
                        try_again(c, err->message);
                else /* without its headers and secret the receiver would not believe it */
                        give_up(c, webhook_status_name(WEBHOOK_FAILED), err->message);
                return;
        }
        c->headers = json_is_object(headers) ? json_incref(headers) : NULL;
        c->secret = secret ? xstrdup(secret) : NULL;
        json_decref(program); /* it may be large */
        make_body(c);
}

static void on_turn(struct webhook_turn *turn)
{
        struct callback *c = container_of(turn, struct callback, turn);

        if (job_is_gone(c->job))
                finish(c);
        else
                job_read_program(c->job, on_program, c);
}

static void on_closed(struct webhook_turn *turn)
{
        callback_free(container_of(turn, struct callback, turn));
}

static bool is_full(const struct app *app)
{
        return webhooks_n_queued(app->webhooks) >= app->config->webhook_max_queued;
}

/* See the header. */
void callback_on_end(struct app *app, struct job *job)
{
        struct callback *c;

        /* An agent that stops leaves it to the next one. What an earlier agent queued is announced by the journal. */
        if (!app->webhooks || !job_callback_url(job) || job_callback_is_final(job) ||
            webhook_is_queued(app->webhooks, job_execution_id(job)))
                return;
        c = xnew(struct callback);
        c->turn.on_turn = on_turn;
        c->turn.on_closed = on_closed;
        c->loop = app->loop;
        c->limits = (struct callback_limits){
                .max_text = CALLBACK_MAX_TEXT,
                .rich = { app->config->rich_max_size, app->config->rich_max_count },
        };
        c->webhooks = app->webhooks;
        c->job = job_ref(job);
        if (webhook_turn_wait(c->webhooks, &c->turn) < 0)
                callback_free(c);
        else
                set_state(job, "waiting",
                          is_full(app)
                                  ? "as many webhooks as webhook-max-queued are waiting already"
                                  : NULL,
                          false);
}
