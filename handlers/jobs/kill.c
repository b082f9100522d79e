/* SPDX-License-Identifier: Apache-2.0 */

/* No number is ever handed to kill(2) here: a pid only serves to find an execution of ours, and that is what is killed,
 * as a whole. Who is no leader is looked for in /proc, by a worker, as GET /processes does; what has neither a leader's
 * session, nor one of ours for an ancestor, nor the marker in its environment, belongs to somebody else.
 *
 *     number? ── a leader's? ── no ──▶ look ──▶ owner ──┐
 *       no           yes                                ▼
 *       └─ by id ────┴───────────────────────▶ job: kill, watch, answer at its end
 *                                              foreground execution: kill, answer */

#include "handlers/jobs/kill.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "handlers/jobs/await.h"
#include "handlers/processes.h"
#include "proc/jobs.h"
#include "proc/supervisor.h"
#include "proc/system_processes.h"

#define LOG_MODULE "kill"
#include "agent/base/log.h"

#define MAX_GRACE_MS 60000
#define MAX_ID       256

/* What people are told. */
#define KILLED    "Process terminated successfully"
#define HAD_ENDED "process had already ended"

/* clang-format off */
#define GRACE(member, has, where)                                                                      \
        F_SECONDS(struct kill_args, member, .name = "grace", .in = (where), .max = MAX_GRACE_MS,       \
                  .set_offset = offsetof(struct kill_args, has),                                       \
                  .doc = "Time between SIGTERM and SIGKILL, s; 0: SIGKILL at once")

const struct json_field kill_path_args[] = {
        F_STRING(struct kill_args, id, .in = IN_PATH, .required = true, .min = 1, .max = MAX_ID,
                 .doc = "process_id, execution_id, or the pid of a process that belongs to it"),
        GRACE(grace_ms, has_grace, IN_BODY),
        GRACE(query_grace_ms, has_query_grace, IN_QUERY),
        F_END
};

const struct json_field kill_body_args[] = {
        F_STRING(struct kill_args, id, .name = "process_id", .alias = "execution_id", .number_ok = true, .min = 1,
                 .max = MAX_ID,
                 .doc = "process_id, execution_id, or the pid of a process that belongs to it"),
        F_STRING(struct kill_args, query_id, .name = "process_id", .alias = "execution_id", .in = IN_QUERY, .min = 1,
                 .max = MAX_ID, .doc = "The same"),
        F_UINT(struct kill_args, pid, .min = 1, .max = INT_MAX, .doc = "A pid, as a number"),
        F_UINT(struct kill_args, query_pid, .name = "pid", .in = IN_QUERY, .min = 1, .max = INT_MAX, .doc = "The same"),
        GRACE(grace_ms, has_grace, IN_BODY),
        GRACE(query_grace_ms, has_query_grace, IN_QUERY),
        F_END
};
/* clang-format on */

/* What is being stopped has no executions any more that could be found. */
static bool is_stopping(const struct app *app)
{
        return !app->jobs || !app->supervisor;
}

static int fail_stopping(struct request *req)
{
        return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
}

static int fail_unknown(struct request *req, const char *id)
{
        return request_fail(req, PROBLEM_PROCESS_NOT_FOUND,
                            "no such process: %.64s is no process_id, no execution_id, and no pid "
                            "of anything that the agent started",
                            id);
}

/* --- background jobs --- */

static int answer(struct request *req, const char *process_id, const char *execution_id,
                  const char *status, const int *exit_code, const char *message)
{
        char now[CLOCK_RFC3339_SIZE];
        json_t *doc;

        doc = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s}", "success", true, "process_id", process_id,
                        "execution_id", execution_id, "status", status, "message", message,
                        "timestamp", clock_rfc3339_now(now));
        json_object_set_new(doc, "exit_code", exit_code ? json_integer(*exit_code) : json_null());
        return request_reply_json(req, 200, doc);
}

static int answer_job(struct request *req, const struct job *job, const char *message)
{
        const struct job_status *result = job_result(job);

        return answer(req, job_process_id(job), job_execution_id(job),
                      job_phase_name(job_phase(job)), result ? &result->exit_code : NULL, message);
}

static void answer_awaited(struct request *req, struct job *job)
{
        enum job_phase phase = job_phase(job);

        if (phase == PHASE_KILLED)
                answer_job(req, job, KILLED);
        else if (job_phase_is_final(phase)) /* a moment before the signal */
                answer_job(req, job, HAD_ENDED);
        else /* its keeper needs nobody for the rest */
                answer_job(req, job, "the process was told to end; the agent is shutting down");
}

static int kill_job(struct request *req, struct job *job, uint32_t grace_ms)
{
        bool had_ended = job_phase_is_final(job_phase(job));

        log_info("job is killed", "id=%s job=%s phase=%s grace_ms=%u", request_id(req),
                 job_process_id(job), job_phase_name(job_phase(job)), grace_ms);
        job_kill(job, grace_ms); /* after its end: what lingers */
        if (had_ended)
                return answer_job(req, job, HAD_ENDED);
        if (job_phase_is_final(job_phase(job)))
                answer_awaited(req, job);
        else
                job_await(req, job, 0, answer_awaited);
        return 0;
}

/* --- foreground executions --- */

static const char *status_of(const struct process_result *result)
{
        switch (result->reason) {
        case END_EXIT:
                return result->exit_code == 0 ? "completed" : "failed";
        case END_TIMEOUT:
                return "timeout";
        case END_CANCELLED:
                return "killed";
        default:
                return "failed";
        }
}

/* Who started it waits for its end; here it is enough that it comes. */
static int kill_process(struct request *req, struct process *p, uint32_t grace_ms)
{
        const char *id = process_id(p);
        const struct process_result *result = process_has_ended(p) ? process_result(p) : NULL;

        log_info("execution is killed", "id=%s execution=%s lingering=%s", request_id(req), id,
                 result ? "yes" : "no");
        if (result)
                answer(req, id, id, status_of(result), &result->exit_code, HAD_ENDED);
        else
                answer(req, id, id, "killed", NULL, KILLED);
        process_kill_gently(p, END_CANCELLED, grace_ms);
        return 0;
}

static bool kill_by_id(struct request *req, const char *id, uint32_t grace_ms)
{
        const struct app *app = request_app(req);
        struct job *job = jobs_find(app->jobs, id);
        struct process *p = job ? NULL : supervisor_find(app->supervisor, id);

        if (job)
                kill_job(req, job, grace_ms);
        else if (p)
                kill_process(req, p, grace_ms);
        return job || p;
}

/* --- by pid --- */

/* Looking for the owner of a pid. */
struct search {
        struct system_query query;
        struct request *request; /* a reference; not for the worker */
        pid_t pid;
        uint32_t grace_ms;
        char owner[ID_SIZE]; /* its execution_id; "": none */
        bool is_left;        /* the client has gone */
};

/* On a worker thread. */
static void run(struct system_query *q, const struct system_snapshot *s)
{
        struct search *search = container_of(q, struct search, query);

        for (size_t i = 0; i < s->n; i++) {
                const struct system_process *p = &s->processes[i];

                if (p->pid == search->pid && p->owner)
                        (void)snprintf(search->owner, sizeof(search->owner), "%s",
                                       p->owner->execution_id);
        }
}

static void search_free(struct search *s)
{
        request_unref(s->request);
        free(s);
}

static void on_searched(struct system_query *q, const struct error *err)
{
        struct search *s = container_of(q, struct search, query);
        struct request *req = s->request;
        char pid[16];

        (void)snprintf(pid, sizeof(pid), "%d", (int)s->pid);
        if (s->is_left) {
                log_debug("client left before its kill", "id=%s pid=%s", request_id(req), pid);
        } else if (err) {
                log_warning("cannot look for a process", "id=%s error=%s", request_id(req),
                            log_quote(err->message));
                request_fail(req, PROBLEM_UNAVAILABLE,
                             "the processes cannot be looked at at the moment");
        } else {
                request_on_cancel(req, NULL, NULL); /* s will be gone */
                if (is_stopping(request_app(req)))  /* since it was asked */
                        fail_stopping(req);
                else if (!*s->owner || !kill_by_id(req, s->owner, s->grace_ms))
                        fail_unknown(req, pid);
        }
        search_free(s);
}

static void on_search_left(void *arg)
{
        ((struct search *)arg)->is_left = true;
}

static int search_and_kill(struct request *req, pid_t pid, uint32_t grace_ms)
{
        struct search *s = xnew(struct search);
        int r;

        s->query.run = run;
        s->query.done = on_searched;
        s->request = request_ref(req);
        s->pid = pid;
        s->grace_ms = grace_ms;
        r = processes_ask(req, &s->query);
        if (r == 0) {
                request_on_cancel(req, on_search_left, s);
                return 0;
        }
        search_free(s);
        return r < 0 ? r : 0;
}

static int kill_by_pid(struct request *req, pid_t pid, const char *id, uint32_t grace_ms)
{
        const struct app *app = request_app(req);
        struct job *job = jobs_find_leader(app->jobs, pid);
        struct process *p = job ? NULL : supervisor_find_leader(app->supervisor, pid);

        if (job)
                return kill_job(req, job, grace_ms);
        if (p)
                return kill_process(req, p, grace_ms);
        /* A keeper is the agent's, but no part of its job. */
        if (pid <= 1 || pid == getpid() || jobs_has_keeper(app->jobs, pid))
                return fail_unknown(req, id);
        return search_and_kill(req, pid, grace_ms);
}

/* --- the handler --- */

static uint32_t grace_of(const struct request *req, const struct kill_args *args)
{
        if (args->has_grace)
                return (uint32_t)args->grace_ms;
        if (args->has_query_grace)
                return (uint32_t)args->query_grace_ms;
        return (uint32_t)MIN(request_app(req)->config->job_kill_grace_ms, (uint64_t)UINT32_MAX);
}

/* Digits only, as the system writes it. */
static bool parse_pid(const char *text, pid_t *ret)
{
        uint64_t number;

        if (str_parse_u64(text, &number) < 0 || number > INT_MAX)
                return false;
        *ret = (pid_t)number;
        return true;
}

/* Answers all the routes that kill. */
int kill_any(struct request *req)
{
        const struct kill_args *args = request_args(req);
        const char *id = args->id ? args->id : args->query_id;
        uint64_t number = args->pid ? args->pid : args->query_pid;
        uint32_t grace_ms = grace_of(req, args);
        char text[16];
        pid_t pid;

        if (!id && number) {
                (void)snprintf(text, sizeof(text), "%d", (int)number);
                id = text;
        }
        if (!id)
                return request_fail_field(req, PROBLEM_MISSING_PARAMETER, "/process_id",
                                          "process_id: required, in the body or the query");
        if (is_stopping(request_app(req)))
                return fail_stopping(req);
        if (kill_by_id(req, id, grace_ms))
                return 0;
        if (parse_pid(id, &pid))
                return kill_by_pid(req, pid, id, grace_ms);
        return fail_unknown(req, id);
}
