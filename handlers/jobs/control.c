/* SPDX-License-Identifier: Apache-2.0 */

/* Input is taken or refused as a whole, so that a client that was refused can send it again. */

#include "handlers/jobs/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "agent/json/base64.h"
#include "agent/json/document.h"
#include "agent/loop/job.h"
#include "handlers/execution/arguments.h"
#include "handlers/jobs/await.h"
#include "handlers/jobs/describe.h"
#include "proc/jobs.h"
#include "proc/signals.h"

#define DEFAULT_WAIT_MS 30000
#define MAX_WAIT_MS     (3600 * 1000)
#define MAX_ID          256

/* clang-format off */
const struct json_field job_input_args[] = {
        F_STRING(struct job_input_args, id, .in = IN_PATH, .required = true, .min = 1, .max = MAX_ID,
                 .doc = "process_id or execution_id"),
        F_TEXT(struct job_input_args, data, .alias = "input", .doc = "What the program reads next"),
        F_ENUM(struct job_input_args, encoding, .names = execution_encodings, .doc = "How data is written"),
        F_BOOL(struct job_input_args, eof, .doc = "Nothing will follow"),
        F_END
};

const struct json_field job_signal_args[] = {
        F_STRING(struct job_signal_args, id, .in = IN_PATH, .required = true, .min = 1, .max = MAX_ID,
                 .doc = "process_id or execution_id"),
        F_STRING(struct job_signal_args, signal, .required = true, .min = 1, .max = 32,
                 .doc = "Name or number, for the program and what it has in its process group"),
        F_END
};

const struct json_field job_wait_args[] = {
        F_STRING (struct job_wait_args, id, .in = IN_PATH, .required = true, .min = 1, .max = MAX_ID,
                  .doc = "process_id or execution_id"),
        F_SECONDS(struct job_wait_args, timeout_ms, .name = "timeout", .in = IN_QUERY, .max = MAX_WAIT_MS,
                  .def = DEFAULT_WAIT_MS, .doc = "Time to wait for its end, s; 0: none"),
        F_END
};
/* clang-format on */

/* For what can only be done to a program that runs. */
static int fail_state(struct request *req, const struct job *job)
{
        enum job_phase phase = job_phase(job);
        const char *id = job_process_id(job);

        if (phase == PHASE_QUEUED)
                return request_fail(req, PROBLEM_PROCESS_NOT_RUNNING,
                                    "%s has not been started yet; try again when its status is "
                                    "running",
                                    id);
        return request_fail(req, PROBLEM_PROCESS_NOT_RUNNING, "%s has ended; its status is %s", id,
                            job_phase_name(phase));
}

/* --- input --- */

static int fail_unread(struct request *req, const struct job *job)
{
        if (job_phase(job) != PHASE_RUNNING)
                return fail_state(req, job);
        return request_fail_field(req, PROBLEM_PROCESS_NOT_RUNNING, "/data",
                                  "data: nobody reads the standard input of %s any more: it was "
                                  "closed, or given as a whole when the job was started",
                                  job_process_id(job));
}

static int fail_size(struct request *req, size_t size)
{
        return request_fail_field(req, PROBLEM_INVALID_REQUEST, "/data",
                                  "data: must be at most %zu bytes long, got %zu; send it in "
                                  "pieces",
                                  LIMIT_INPUT_QUEUE, size);
}

static int take_input(struct request *req, struct job *job, const char *data, size_t size, bool eof)
{
        char now[CLOCK_RFC3339_SIZE];
        int r = 0;

        if (size > LIMIT_INPUT_QUEUE)
                return fail_size(req, size);
        if (job_phase(job) != PHASE_RUNNING)
                return fail_state(req, job);
        if (size > 0)
                r = job_write(job, data, size);
        if (r >= 0 && eof)
                r = job_close_input(job);
        if (r == -EPIPE || r == -ESRCH)
                return fail_unread(req, job);
        if (r == -ENOBUFS) {
                request_set_header(req, "Retry-After", "1");
                return request_fail_field(req, PROBLEM_LIMIT_REACHED, "/data",
                                          "data: the program has not read what came before, and "
                                          "there is no room for more; try again");
        }
        if (r < 0)
                return request_fail(req, PROBLEM_UNAVAILABLE, "there is not enough memory");
        return request_reply_json(req, 200,
                                  json_pack("{s:b, s:s, s:s, s:I, s:b, s:s}", "success", true,
                                            "process_id", job_process_id(job), "execution_id",
                                            job_execution_id(job), "bytes_written",
                                            (json_int_t)size, "eof", eof, "timestamp",
                                            clock_rfc3339_now(now)));
}

/* Input in base64; much of it is decoded by a worker. */
struct decoding {
        struct request *request; /* a reference, as the next; neither is for the worker */
        struct job *job;
        struct json_text text; /* the request's */
        bool eof;
        char *bytes;
        size_t size;
        int r;
};

static void decode(void *job)
{
        struct decoding *d = job;

        d->r = base64_to_bytes(d->text.data, d->text.size, &d->bytes, &d->size);
}

static void on_decoded(void *job)
{
        struct decoding *d = job;

        if (d->r == -EINVAL)
                request_fail_field(d->request, PROBLEM_INVALID_REQUEST, "/data",
                                   "data: encoding is base64, but this is not valid base64");
        else if (d->r < 0)
                request_fail(d->request, PROBLEM_UNAVAILABLE, "there is not enough memory");
        else
                take_input(d->request, d->job, d->bytes, d->size, d->eof);
        request_unref(d->request);
        job_unref(d->job);
        free(d->bytes);
        free(d);
}

static int take_base64(struct request *req, struct job *job, const struct job_input_args *args)
{
        struct decoding *d = xnew(struct decoding);

        d->request = request_ref(req);
        d->job = job_ref(job);
        d->text = args->data;
        d->eof = args->eof;
        if (d->text.size > LIMIT_JSON_INLINE &&
            job_run(request_app(req)->loop, d, decode, on_decoded) == 0)
                return 0;
        decode(d);
        on_decoded(d);
        return 0;
}

/* Answers POST /execute/processes/{id}/input. */
int job_input_post(struct request *req)
{
        const struct job_input_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);

        if (!job)
                return 0;
        if (!args->data.data && !args->eof)
                return request_fail_field(req, PROBLEM_MISSING_PARAMETER, "/data",
                                          "data: required, unless eof is true");
        if (args->encoding == DOCUMENT_BASE64 && args->data.size > 0)
                return take_base64(req, job, args);
        return take_input(req, job, args->data.data, args->data.size, args->eof);
}

/* --- signals --- */

/* Answers POST /execute/processes/{id}/signal. */
int job_signal_post(struct request *req)
{
        const struct job_signal_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);
        char now[CLOCK_RFC3339_SIZE], number[16];
        int signum = signal_from_name(args->signal);
        const char *name;
        int r = -EINVAL;

        if (!job)
                return 0;
        if (signum > 0 && job_phase(job) != PHASE_RUNNING)
                return fail_state(req, job);
        if (signum > 0)
                r = job_signal(job, signum);
        if (r == -EINVAL)
                return request_fail_field(req, PROBLEM_INVALID_REQUEST, "/signal",
                                          "signal: there is no signal '%.32s'", args->signal);
        if (r == -ENOBUFS) {
                request_set_header(req, "Retry-After", "1");
                return request_fail(req, PROBLEM_LIMIT_REACHED,
                                    "%s has not taken what it was sent before; try again",
                                    job_process_id(job));
        }
        if (r < 0)
                return fail_state(req, job);
        (void)snprintf(number, sizeof(number), "%d", signum);
        name = signal_name(signum);
        return request_reply_json(req, 200,
                                  json_pack("{s:b, s:s, s:s, s:s, s:s}", "success", true,
                                            "process_id", job_process_id(job), "execution_id",
                                            job_execution_id(job), "signal", name ? name : number,
                                            "timestamp", clock_rfc3339_now(now)));
}

/* --- waiting --- */

static void answer_wait(struct request *req, struct job *job)
{
        bool is_finished = job_phase_is_final(job_phase(job));

        job_reply(req, 200, job, is_finished ? ",\"finished\":true" : ",\"finished\":false");
}

/* Answers GET /execute/processes/{id}/wait. */
int job_wait_get(struct request *req)
{
        const struct job_wait_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);

        if (!job)
                return 0;
        if (args->timeout_ms == 0 || job_phase_is_final(job_phase(job)))
                answer_wait(req, job);
        else
                job_await(req, job, args->timeout_ms, answer_wait);
        return 0;
}
