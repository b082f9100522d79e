/* SPDX-License-Identifier: Apache-2.0 */

/* What can be checked at once is checked before a job is accepted, with the words of an execution in the foreground;
 * the rest is found out when it starts. submission.c has what follows, start.c the start. */

#include "handlers/jobs/submit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/webhook/webhook.h"
#include "handlers/execution/launch.h"
#include "handlers/execution/tally.h"
#include "handlers/jobs/describe.h"
#include "handlers/jobs/program.h"
#include "handlers/jobs/start.h"
#include "handlers/jobs/submission.h"
#include "proc/supervisor.h"

#define BACKGROUND_TIMEOUT_S 300
#define ASYNC_TIMEOUT_S      3600

/* clang-format off */
/* A timeout of 0 is none. */
#define CODE_FIELDS(strct, default_timeout_s)                                                                          \
        F_TEXT  (strct, execute.code, .name = "code", .required = true, .max = LIMIT_CODE_BYTES,                       \
                 .doc = "Source text"),                                                                                \
        F_ENUM  (strct, execute.language, .name = "language", .names = language_names, .def = LANGUAGE_PYTHON,         \
                 .doc = "Language"),                                                                                   \
        EXECUTION_FIELDS(strct, execute.run, default_timeout_s, 0),                                                    \
        JOB_FIELDS(strct)

#define JOB_FIELDS(strct)                                                                                              \
        F_STRING(strct, job.name, .name = "name", .max = LIMIT_JOB_NAME, .doc = "What to call it in lists"),           \
        F_BOOL  (strct, job.tty, .name = "tty", .doc = "Give it a terminal instead of pipes"),                         \
        F_UINT  (strct, job.columns, .name = "cols", .alias = "columns", .min = 1, .max = PTY_MAX_SIZE, .def = 80,     \
                 .doc = "Width of the terminal"),                                                                      \
        F_UINT  (strct, job.rows, .name = "rows", .min = 1, .max = PTY_MAX_SIZE, .def = 24,                            \
                 .doc = "Height of the terminal")

const struct json_field execute_background_args[] = {
        CODE_FIELDS(struct execute_background_args, BACKGROUND_TIMEOUT_S),
        F_END
};

const struct json_field commands_background_args[] = {
        F_STRING     (struct commands_background_args, commands.command, .name = "command", .required = true, .min = 1,
                      .max = LIMIT_ARG_BYTES, .doc = "A program, or without args a line for /bin/sh"),
        F_STRING_LIST(struct commands_background_args, commands.args, .name = "args", .max = LIMIT_ARGS,
                      .max_item = LIMIT_ARG_BYTES, .doc = "The program's arguments"),
        EXECUTION_FIELDS(struct commands_background_args, commands.run, BACKGROUND_TIMEOUT_S, 0),
        JOB_FIELDS(struct commands_background_args),
        F_END
};

const struct json_field execute_async_args[] = {
        CODE_FIELDS(struct execute_async_args, ASYNC_TIMEOUT_S),
        F_STRING    (struct execute_async_args, callback_url, .required = true, .min = 1, .max = LIMIT_WEBHOOK_URL,
                     .doc = "Where the result is sent by POST; http or https"),
        F_STRING_MAP(struct execute_async_args, callback_headers, .max = LIMIT_WEBHOOK_HEADERS,
                     .max_item = LIMIT_WEBHOOK_HEADER_BYTES, .doc = "Headers of that request"),
        F_STRING    (struct execute_async_args, callback_signature_secret, .min = 1, .max = LIMIT_WEBHOOK_SECRET,
                     .doc = "Key of its signature; not signed without it"),
        F_END
};
/* clang-format on */

const struct jobs_ops submit_ops = { .start = start_job, .on_end = start_on_end };

/* --- the checks --- */

/* Each fails the request and returns false when something is wrong. */
static bool check_program(struct request *req, const struct run_spec *spec,
                          const struct job_args *job)
{
        struct launch_failure why;

        if (!request_app(req)->jobs)
                launch_fail_closed(&why);
        else if (job->tty && spec->args->input.data)
                launch_fail(&why, PROBLEM_INVALID_REQUEST, "/stdin",
                            "stdin: a job with a terminal (tty) reads that; leave stdin out, and "
                            "send it to POST /execute/processes/ID/input");
        else if (launch_check(request_app(req), spec, &why))
                return true;
        tally_refused_job(request_app(req), spec->code ? language_name(spec->language) : NULL);
        request_fail_field(req, why.problem, why.field, "%s", why.message);
        return false;
}

/* A job is kept until its callback is delivered or given up, so their number is bounded here. */
static bool has_room_for_callback(struct request *req, enum language language)
{
        struct app *app = request_app(req);
        uint64_t max = app->config->webhook_max_queued;

        if (jobs_n_callbacks(app->jobs) < max)
                return true;
        tally_refused_job(app, language_name(language));
        request_set_header(req, "Retry-After", "1");
        request_fail(req, PROBLEM_LIMIT_REACHED,
                     "webhook-max-queued reached: %llu callbacks are not delivered yet; try again "
                     "when some are",
                     (unsigned long long)max);
        return false;
}

static bool check_callback(struct request *req, const struct execute_async_args *args,
                           enum language language)
{
        struct error err = ERROR_INIT;

        if (!has_room_for_callback(req, language))
                return false;

        if (webhook_check_url(request_app(req)->webhooks, args->callback_url, &err) == 0 &&
            webhook_check_headers(args->callback_headers, &err) == 0)
                return true;
        request_fail_field(req, PROBLEM_INVALID_REQUEST, err.field, "%s", err.message);
        return false;
}

/* --- repeats --- */

/* What the process object lacks that the first answer had; to be freed. NULL without memory. */
static char *more_of_repeat(const struct job *job)
{
        CLEANUP(mem_free)
        char *message = xasprintf("accepted before; GET /execute/processes/%s tells its state",
                                  job_process_id(job));
        char now[CLOCK_RFC3339_SIZE];
        json_auto_t *more = json_pack("{s:b, s:s, s:s, s:s*}", "success", true, "message", message,
                                      "timestamp", clock_rfc3339_now(now), "callback_url",
                                      job_callback_url(job));
        char *text = more ? json_dumps(more, JSON_COMPACT) : NULL;

        if (text) { /* {…} becomes ,… */
                text[0] = ',';
                text[strlen(text) - 1] = '\0';
        }
        return text;
}

/* The HTTP layer knows repeats of what is being accepted, and for a while of what was. A job is known for longer than
 * that, also to the next agent. Returns whether @req has its answer; if not, *ret says what its repeats will say. */
static bool answer_repeat(struct request *req, struct request_repeat *ret)
{
        struct jobs *jobs = request_app(req)->jobs;
        CLEANUP(mem_free) char *more = NULL;
        const struct job *job;

        *ret = (struct request_repeat){ .id = "" };
        if (!request_repeat(req, ret) || !jobs)
                return false;
        job = jobs_find_repeat(jobs, ret->id);
        if (!job)
                return false;
        if (!str_equal(job_repeat_body(job), ret->body)) {
                request_fail_reused(req);
                return true;
        }
        request_set_header(req, "Idempotency-Replayed", "true");
        more = more_of_repeat(job);
        job_reply(req, 200, job, more);
        return true;
}

/* --- the handlers --- */

/* No time limit is what the operator allows at most. */
static uint64_t timeout_of(const struct request *req, const struct execution_args *args)
{
        uint64_t max_ms = request_app(req)->config->max_timeout_ms;

        return args->timeout_ms == 0 ? max_ms : MIN(args->timeout_ms, max_ms);
}

static struct job_new describe_job(const struct request *req, const struct execution_args *args,
                                   const struct job_args *job, const struct request_repeat *repeat)
{
        const struct process_limits limits = execution_limits(args);
        struct process_limits_plan plan;

        supervisor_plan_limits(request_app(req)->supervisor, &limits, &plan);
        return (struct job_new){
                .name = job->name,
                .repeat_id = *repeat->id ? repeat->id : NULL,
                .repeat_body = *repeat->id ? repeat->body : NULL,
                .timeout_ms = timeout_of(req, args),
                .has_terminal = job->tty,
                .is_base64 = args->encoding == DOCUMENT_BASE64,
                .ignores_tasks = plan.ignores_tasks,
        };
}

static int submit_code(struct request *req, const struct execute_args *args,
                       const struct job_args *job, const struct request_repeat *repeat,
                       const char *callback_url)
{
        CLEANUP(mem_free) char *label = program_label_code(&args->code);
        struct job_new new = describe_job(req, &args->run, job, repeat);

        new.language = language_name((enum language)args->language);
        new.command = label;
        new.callback_url = callback_url;
        return submission_start(req, &new, program_document(true, request_body(req)),
                                callback_url != NULL);
}

/* Answers POST /execute/background. */
int execute_background_post(struct request *req)
{
        const struct execute_background_args *args = request_args(req);
        struct run_spec spec = execute_spec(&args->execute);
        struct request_repeat repeat;

        if (answer_repeat(req, &repeat) || !check_program(req, &spec, &args->job))
                return 0;
        return submit_code(req, &args->execute, &args->job, &repeat, NULL);
}

/* Answers POST /execute/async. */
int execute_async_post(struct request *req)
{
        const struct execute_async_args *args = request_args(req);
        struct run_spec spec = execute_spec(&args->execute);
        struct request_repeat repeat;

        if (answer_repeat(req, &repeat) || !check_program(req, &spec, &args->job) ||
            !check_callback(req, args, spec.language))
                return 0;
        return submit_code(req, &args->execute, &args->job, &repeat, args->callback_url);
}

/* Answers POST /commands/background. */
int commands_background_post(struct request *req)
{
        const struct commands_background_args *args = request_args(req);
        CLEANUP(mem_free) char *label = NULL;
        struct request_repeat repeat;
        struct run_spec spec;
        struct job_new new;
        bool is_good;

        if (answer_repeat(req, &repeat))
                return 0;
        spec = commands_spec(&args->commands);
        is_good = check_program(req, &spec, &args->job);
        free(spec.argv);
        if (!is_good)
                return 0;
        label = program_label_command(&args->commands);
        new = describe_job(req, &args->commands.run, &args->job, &repeat);
        new.command = label;
        return submission_start(req, &new, program_document(false, request_body(req)), false);
}
