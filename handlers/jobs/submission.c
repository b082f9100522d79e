/* SPDX-License-Identifier: Apache-2.0 */

/* The answer waits until the job runs, because then the client hears at once what is wrong with its request, in the
 * words and with the status of an execution in the foreground. It does not wait for long, and not for others: a job
 * that has to queue is "queued".
 *
 * The job is nobody's but the registry's. A client that leaves takes nothing with it but its interest in the answer. */

#include "handlers/jobs/submission.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/list.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/json/write.h"
#include "agent/loop/timer.h"
#include "handlers/execution/tally.h"
#include "handlers/jobs/describe.h"
#include "proc/jobs.h"

/* A job that takes longer to start (its source is large, or the machine is busy) is "queued" in the answer. */
#define WAIT_MS 1000

struct submission {
        struct list link;        /* submissions */
        struct request *request; /* a reference; NULL: the client has left */
        struct app *app;
        json_t *program; /* a reference, which the registry borrows; NULL: it has accepted the job, or not */
        bool is_async;
        const char *language; /* a constant; NULL: a command */
        struct job *job;      /* a reference; NULL: not accepted yet */
        struct job_watch watch;
        struct timer *timer;
};

/* All, of one agent: those that are over are found when their jobs end. */
static struct list submissions = LIST_INIT(submissions);

static void submission_free(struct submission *s)
{
        list_remove(&s->link);
        job_watch_remove(&s->watch);
        timer_free(s->timer);
        job_unref(s->job);
        json_decref(s->program);
        request_unref(s->request);
        free(s);
}

/* --- the answer --- */

static const struct job_failure *failure_to_start(const struct job *job)
{
        const struct job_failure *failure = job_failure(job);

        return failure && failure->problem ? failure : NULL;
}

/* See the header. */
bool submission_tells_failure(const struct job *job)
{
        list_for_each(link, &submissions) {
                const struct submission *s = list_entry(link, struct submission, link);

                if (s->job == job)
                        return s->request && failure_to_start(job);
        }
        return false;
}

/* What the answer has beyond the process object. */
static int write_more(struct buf *b, const struct submission *s)
{
        const char *id = job_process_id(s->job);
        enum job_phase phase = job_phase(s->job);
        char now[CLOCK_RFC3339_SIZE];
        int r;

        r = buf_appendf(b, ",\"success\":true,\"timestamp\":\"%s\"", clock_rfc3339_now(now));
        if (r < 0)
                return r;
        if (!s->is_async)
                return buf_appendf(b,
                                   ",\"message\":\"%s; GET /execute/processes/%s tells its state, "
                                   "and POST /execute/kill/%s ends it\"",
                                   phase == PHASE_QUEUED    ? "queued"
                                   : phase == PHASE_RUNNING ? "started"
                                                            : "ended",
                                   id, id);
        r = buf_appendf(b,
                        ",\"message\":\"queued; its result goes to callback_url, and GET "
                        "/execute/processes/%s tells its state\"",
                        id);
        return r < 0 ? r : json_write_member(b, "callback_url", job_callback_url(s->job));
}

static const char *status_of(const struct submission *s)
{
        return s->is_async ? "queued" : job_phase_name(job_phase(s->job));
}

/* The job runs: whoever heard of an error would send it again, and run it twice. Its ids are all that is needed. */
static void answer_briefly(const struct submission *s)
{
        char text[512];
        int size;

        size = snprintf(text, sizeof(text),
                        "{\"success\":true,\"process_id\":\"%s\",\"execution_id\":\"%s\","
                        "\"id\":\"%s\",\"status\":\"%s\"}",
                        job_process_id(s->job), job_execution_id(s->job), job_process_id(s->job),
                        status_of(s));
        assert(size > 0 && (size_t)size < sizeof(text));
        request_reply_bytes(s->request, 200, "application/json", text, (size_t)size);
}

static void answer_accepted(const struct submission *s)
{
        CLEANUP(buf_done) struct buf more;
        CLEANUP(buf_done) struct buf b;
        char *text;
        size_t size;

        buf_init(&more, 0);
        buf_init(&b, 0);
        if (write_more(&more, s) < 0 ||
            job_describe_more(&b, s->job, status_of(s), more.data) < 0) {
                answer_briefly(s);
                return;
        }
        text = buf_steal(&b, &size);
        request_reply_text(s->request, 200, "application/json", text, size);
}

static void answer(struct submission *s)
{
        const struct job_failure *failure = failure_to_start(s->job);

        if (failure) {
                request_fail_field(s->request, (enum problem)failure->problem, failure->field, "%s",
                                   failure->message);
                job_watch_remove(&s->watch);
                job_drop(s->job);
        } else {
                answer_accepted(s);
        }
        submission_free(s);
}

/* --- waiting --- */

static void on_change(struct job_watch *watch, struct job *job)
{
        if (job_phase(job) != PHASE_QUEUED)
                answer(container_of(watch, struct submission, watch));
}

static void on_late(void *arg)
{
        answer(arg);
}

static void on_cancel(void *arg)
{
        struct submission *s = arg;

        s->request = request_unref(s->request);
        /* Without a job the registry still has the program; on_added is the end then. */
        if (!s->job)
                return;
        if (failure_to_start(s->job)) { /* its callback was left out for the answer's sake */
                job_watch_remove(&s->watch);
                job_drop(s->job);
        }
        submission_free(s);
}

static void wait_for_start(struct submission *s)
{
        s->watch.on_change = on_change;
        job_watch_add(s->job, &s->watch);
        s->timer = timer_new(s->app->loop, on_late, s);
        timer_start(s->timer, WAIT_MS);
}

static void on_added(void *arg, struct job *job, const struct error *err)
{
        struct submission *s = arg;

        json_decref(STEAL(s->program));
        if (!job)
                tally_refused_job(s->app, s->language);
        if (!s->request) { /* the client has left; what it wanted is done all the same */
                submission_free(s);
                return;
        }
        if (!job) {
                request_fail(s->request, PROBLEM_UNAVAILABLE, "nothing was started: %s",
                             err->message);
                submission_free(s);
                return;
        }
        s->job = job_ref(job);
        if (job_is_starting(job))
                wait_for_start(s);
        else
                answer(s);
}

/* --- the offer --- */

static void refuse(struct request *req, int r, const struct error *err)
{
        const struct app *app = request_app(req);

        if (r == -ESHUTDOWN) {
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        } else if (r == -ENOBUFS) {
                request_set_header(req, "Retry-After", "1");
                request_fail(req, PROBLEM_LIMIT_REACHED,
                             "max-queued-jobs reached: %llu jobs wait for their turn already; try "
                             "again when some have been started",
                             (unsigned long long)app->config->max_queued_jobs);
        } else {
                request_fail(req, PROBLEM_UNAVAILABLE, "nothing was started: %s", err->message);
        }
}

/* See the header. */
int submission_start(struct request *req, struct job_new *spec, json_t *program, bool is_async)
{
        struct app *app = request_app(req);
        struct submission *s = xnew(struct submission);
        struct error err = ERROR_INIT;
        int r;

        s->app = app;
        s->request = request_ref(req);
        s->program = program;
        s->is_async = is_async;
        s->language = spec->language;
        list_append(&submissions, &s->link);
        request_on_cancel(req, on_cancel, s);

        spec->program = program;
        r = jobs_add(app->jobs, spec, on_added, s, &err);
        if (r < 0) {
                tally_refused_job(app, spec->language);
                refuse(req, r, &err);
                submission_free(s);
        }
        return 0;
}
