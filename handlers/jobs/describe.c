/* SPDX-License-Identifier: Apache-2.0 */

/* Written straight into a buffer: a list has up to a thousand of them, and a tree of values would cost ten times as
 * much. */

#include "handlers/jobs/describe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/http/request.h"
#include "agent/json/write.h"
#include "handlers/execution/usage.h"
#include "proc/jobs.h"

#define NUMBER_SIZE 40

static int64_t now_ms(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A quoted time, or null before it is known. */
static const char *write_time(char dst[NUMBER_SIZE], int64_t t_ms)
{
        char text[CLOCK_RFC3339_SIZE];

        if (t_ms <= 0)
                return "null";
        (void)snprintf(dst, NUMBER_SIZE, "\"%s\"", clock_rfc3339(text, t_ms));
        return dst;
}

static const char *write_number(char dst[NUMBER_SIZE], bool is_known, int64_t value)
{
        if (!is_known)
                return "null";
        (void)snprintf(dst, NUMBER_SIZE, "%lld", (long long)value);
        return dst;
}

/* Whole seconds as such; never a sign or an exponent. */
static const char *write_seconds(char dst[NUMBER_SIZE], uint64_t us)
{
        if (us % 1000000 == 0)
                (void)snprintf(dst, NUMBER_SIZE, "%llu", (unsigned long long)(us / 1000000));
        else
                (void)snprintf(dst, NUMBER_SIZE, "%llu.%06u", (unsigned long long)(us / 1000000),
                               (unsigned)(us % 1000000));
        return dst;
}

/* So far, while it runs. */
static uint64_t duration_us(const struct job *job)
{
        const struct job_status *result = job_result(job);
        int64_t elapsed_ms;

        if (result)
                return result->duration_us;
        if (job_started_ms(job) == 0)
                return 0;
        elapsed_ms = now_ms() - job_started_ms(job); /* the clock may have been set back */
        return elapsed_ms > 0 ? (uint64_t)elapsed_ms * 1000 : 0;
}

static int append_ids(struct buf *b, const struct job *job, const char *status)
{
        const char *id = job_process_id(job), *name = job_name(job);
        int r;

        r = buf_appendf(b, "{\"process_id\":\"%s\",\"execution_id\":\"%s\",\"id\":\"%s\"", id,
                        job_execution_id(job), id);
        if (r == 0)
                r = json_write_member(b, "name", name && *name ? name : NULL);
        if (r == 0)
                r = buf_appendf(b, ",\"status\":\"%s\"",
                                status ? status : job_phase_name(job_phase(job)));
        if (r == 0)
                r = json_write_member(b, "language", job_language(job));
        return r < 0 ? r : json_write_member(b, "command", job_command(job));
}

static int append_times(struct buf *b, const struct job *job)
{
        const int64_t started_ms = job_started_ms(job);
        char started_text[NUMBER_SIZE], queued_text[NUMBER_SIZE], ended_text[NUMBER_SIZE];
        char pid_text[NUMBER_SIZE], duration_text[NUMBER_SIZE], timeout_text[NUMBER_SIZE];
        const char *started, *ended, *duration;

        /* Clients want a time in any case. */
        started = write_time(started_text, started_ms > 0 ? started_ms : job_queued_ms(job));
        ended = write_time(ended_text, job_ended_ms(job));
        duration = write_seconds(duration_text, duration_us(job));
        return buf_appendf(
                b,
                ",\"pid\":%s,\"start_time\":%s,\"started_at\":%s,\"queued_at\":%s,"
                "\"end_time\":%s,\"completed_at\":%s,\"duration\":%s,"
                "\"execution_time\":%s,\"timeout\":%s",
                write_number(pid_text, job_pid(job) > 0, job_pid(job)), started, started,
                write_time(queued_text, job_queued_ms(job)), ended, ended, duration, duration,
                job_timeout_ms(job) == 0 ? "null"
                                         : write_seconds(timeout_text, job_timeout_ms(job) * 1000));
}

/* A sentence for people; NULL: nothing went wrong that the result does not tell. */
static const char *error_of(const struct job *job)
{
        const struct job_failure *failure = job_failure(job);
        const struct job_status *result = job_result(job);

        if (failure)
                return failure->message;
        if (result && result->reason == KEEPER_LOST)
                return JOB_LOST_TEXT;
        if (result && result->reason == KEEPER_SPAWN)
                return JOB_NOT_STARTED;
        return NULL;
}

/* NULL, or nothing known: null. */
static int append_usage(struct buf *b, const struct usage *usage)
{
        struct usage_member members[USAGE_MEMBERS];
        size_t n = usage ? usage_members(usage, members) : 0;
        char number[NUMBER_SIZE];
        int r;

        r = buf_append_str(b, n > 0 ? ",\"usage\":{" : ",\"usage\":null");
        for (size_t i = 0; i < n && r == 0; i++) {
                const struct usage_member *m = &members[i];

                r = buf_appendf(b, "%s\"%s\":%s", i > 0 ? "," : "", m->name,
                                m->is_time ? write_seconds(number, m->value)
                                           : write_number(number, true, (int64_t)m->value));
        }
        return r == 0 && n > 0 ? buf_append_str(b, "}") : r;
}

static int append_result(struct buf *b, const struct job *job)
{
        const struct job_status *result = job_result(job);
        const uint64_t *totals = job_totals(job);
        char exit_code[NUMBER_SIZE], signum[NUMBER_SIZE];
        char dropped[2][NUMBER_SIZE];
        bool has_ended = result != NULL;
        int r;

        r = buf_appendf(
                b,
                ",\"exit_code\":%s,\"signal\":%s,\"tty\":%s,\"lingering\":%s,"
                "\"stdout_bytes\":%llu,\"stderr_bytes\":%llu,\"stdout_dropped\":%s,"
                "\"stderr_dropped\":%s",
                write_number(exit_code, has_ended, has_ended ? result->exit_code : 0),
                write_number(signum, has_ended && result->signal > 0,
                             has_ended ? result->signal : 0),
                job_has_terminal(job) ? "true" : "false", job_is_lingering(job) ? "true" : "false",
                (unsigned long long)totals[0], (unsigned long long)totals[1],
                write_number(dropped[0], has_ended, has_ended ? (int64_t)result->dropped[0] : 0),
                write_number(dropped[1], has_ended, has_ended ? (int64_t)result->dropped[1] : 0));
        if (r == 0)
                r = json_write_member(b, "reason",
                                      has_ended ? job_reason_name(result->reason) : NULL);
        if (r == 0)
                r = json_write_member(b, "error", error_of(job));
        if (r < 0)
                return r;
        r = append_usage(b, has_ended && job_started_ms(job) > 0 ? &result->usage : NULL);
        if (r == 0 && job_ignores_tasks(job))
                r = buf_append_str(b, ",\"limits_not_enforced\":[\"max_processes\"]");
        return r;
}

/* The members of @object, with a comma in front. */
static int append_members(struct buf *b, const json_t *object)
{
        CLEANUP(mem_free) char *text = json_dumps(object, JSON_COMPACT);
        size_t size = text ? strlen(text) : 0;
        int r;

        if (!text)
                return -ENOMEM;
        if (size <= 2) /* {} */
                return 0;
        r = buf_append_str(b, ",");
        return r < 0 ? r : buf_append(b, text + 1, size - 2);
}

static int append_callback(struct buf *b, const struct job *job)
{
        const char *url = job_callback_url(job);
        const json_t *state = job_callback(job);
        int r;

        if (!url)
                return buf_append_str(b, ",\"callback\":null}");
        r = buf_append_str(b, ",\"callback\":{\"url\":");
        if (r == 0)
                r = json_write_string(b, url);
        if (r == 0 && state)
                r = append_members(b, state);
        else if (r == 0)
                r = buf_append_str(b, ",\"status\":\"waiting\",\"attempts\":0,\"last_error\":null,"
                                      "\"next_attempt_at\":null");
        return r < 0 ? r : buf_append_str(b, "}}");
}

static int describe(struct buf *b, const struct job *job, const char *status)
{
        int r;

        r = append_ids(b, job, status);
        if (r == 0)
                r = append_times(b, job);
        if (r == 0)
                r = append_result(b, job);
        if (r == 0)
                r = append_callback(b, job);
        return r;
}

/* See the header. */
int job_describe(struct buf *b, const struct job *job)
{
        return describe(b, job, NULL);
}

/* See the header. */
int job_describe_more(struct buf *b, const struct job *job, const char *status, const char *more)
{
        int r = describe(b, job, status);

        if (r < 0 || !more)
                return r;
        b->size--; /* the brace */
        r = buf_append_str(b, more);
        return r < 0 ? r : buf_append_str(b, "}");
}

/* See the header. */
int job_reply(struct request *req, unsigned status, const struct job *job, const char *more)
{
        CLEANUP(buf_done) struct buf b;
        char *text;
        size_t size;

        buf_init(&b, 0);
        if (job_describe_more(&b, job, NULL, more) < 0)
                return request_fail(req, PROBLEM_UNAVAILABLE, "there is not enough memory");
        text = buf_steal(&b, &size);
        return request_reply_text(req, status, "application/json", text, size);
}

/* See the header. */
struct job *job_of_request(struct request *req, const char *id)
{
        struct jobs *jobs = request_app(req)->jobs;
        struct job *job = jobs ? jobs_find(jobs, id) : NULL;

        if (!jobs)
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        else if (!job)
                request_fail(req, PROBLEM_PROCESS_NOT_FOUND,
                             "no such process: %.64s (GET /execute/processes lists those that are "
                             "known)",
                             id);
        return job;
}
