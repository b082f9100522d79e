/* SPDX-License-Identifier: Apache-2.0 */

/* A client of a job: what the job writes goes to it from any offset on, in frames that are made when the connection
 * takes them. The job does not care how many clients it has, or whether they read; who leaves comes back with its
 * offsets.
 *
 * The logs are looked at before the handshake is answered, so that a wrong offset can be refused as plain HTTP. */

#include "handlers/jobs/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "jobs"
#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/http/request.h"
#include "handlers/jobs/attach_private.h"
#include "handlers/jobs/describe.h"
#include "handlers/jobs/log_reader.h"
#include "handlers/jobs/output_open.h"

/* clang-format off */
const struct json_field job_attach_args[] = {
        F_STRING(struct job_attach_args, id, .in = IN_PATH, .required = true, .min = 1, .max = 64,
                 .doc = "process_id or execution_id"),
        F_STRING(struct job_attach_args, offset, .in = IN_QUERY, .min = 1, .max = 64,
                 .doc = "Where the output begins: N of stdout, or N,M of stdout and stderr; default 0"),
        F_END
};
/* clang-format on */

/* --- messages --- */

static json_t *pack_offsets(const uint64_t at[N_CHANNELS])
{
        return json_pack("{s:I, s:I}", "stdout", (json_int_t)at[CHANNEL_STDOUT], "stderr",
                         (json_int_t)at[CHANNEL_STDERR]);
}

static json_t *pack_pid(const struct job *job)
{
        return job_pid(job) > 0 ? json_integer(job_pid(job)) : json_null();
}

static void send_attached(struct attached *a)
{
        char now[CLOCK_RFC3339_SIZE];

        channel_send(a->channel, json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:o, s:o, s:s}", "type",
                                           "attached", "process_id", job_process_id(a->job),
                                           "execution_id", job_execution_id(a->job), "status",
                                           job_phase_name(job_phase(a->job)), "pid",
                                           pack_pid(a->job), "tty", (int)job_has_terminal(a->job),
                                           "offset", pack_offsets(follower_offsets(a->follower)),
                                           "end", pack_offsets(job_totals(a->job)), "timestamp",
                                           clock_rfc3339_now(now)));
}

static void send_started(struct attached *a)
{
        char now[CLOCK_RFC3339_SIZE];

        channel_send(a->channel, json_pack("{s:s, s:s, s:o, s:s}", "type", "started", "status",
                                           job_phase_name(job_phase(a->job)), "pid",
                                           pack_pid(a->job), "timestamp", clock_rfc3339_now(now)));
}

static void send_gap(struct attached *a, const struct follower_piece *p)
{
        char now[CLOCK_RFC3339_SIZE];

        channel_send(a->channel,
                     json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "type", "gap", "stream",
                               channel_names[p->channel], "from", (json_int_t)(p->offset - p->lost),
                               "to", (json_int_t)p->offset, "lost", (json_int_t)p->lost,
                               "timestamp", clock_rfc3339_now(now)));
}

/* In the words of terminals and of streamed executions alike: clients wait for "exit" or for "complete". */
static void send_exit(struct attached *a)
{
        const struct job_status *result = job_result(a->job);
        const char *status = job_phase_name(job_phase(a->job));
        char now[CLOCK_RFC3339_SIZE];
        json_t *message;

        message = json_pack(
                "{s:s, s:i, s:i, s:i, s:s, s:s, s:o, s:s}", "type", "exit", "code",
                result->exit_code, "exitCode", result->exit_code, "exit_code", result->exit_code,
                "status", status, "reason", job_reason_name(result->reason), "next_offset",
                pack_offsets(follower_offsets(a->follower)), "timestamp", clock_rfc3339_now(now));
        if (result->signal > 0)
                json_object_set_new(message, "signal", json_integer(result->signal));
        channel_send(a->channel, message);
        channel_send(a->channel,
                     json_pack("{s:s, s:b, s:i, s:s, s:s, s:s}", "type", "complete", "success",
                               (int)(job_phase(a->job) == PHASE_COMPLETED), "exit_code",
                               result->exit_code, "execution_id", job_execution_id(a->job),
                               "status", status, "timestamp", now));
}

/* --- output --- */

static void finish(struct attached *a)
{
        a->is_over = true;
        if (job_result(a->job)) {
                send_exit(a);
                channel_finish(a->channel);
        } else {
                channel_close(a->channel, WS_INTERNAL, "the process was removed");
        }
}

static void go_on(struct attached *a)
{
        if (!a->is_over && !follower_want(a->follower))
                finish(a);
}

static void on_piece(void *arg, const struct follower_piece *piece)
{
        struct attached *a = arg;

        if (piece->lost > 0)
                send_gap(a, piece);
        a->piece = *piece;
        channel_want_write(a->channel);
}

static void on_end(void *arg, int r)
{
        struct attached *a = arg;

        if (r == 0) {
                go_on(a);
                return;
        }
        log_warning("cannot read the output of a job", "job=%s error=%s", job_process_id(a->job),
                    log_quote(strerror(-r)));
        a->is_over = true;
        channel_send_error(a->channel,
                           log_error_may_pass(r) || r == -EIO ? PROBLEM_UNAVAILABLE
                                                              : PROBLEM_NOT_FOUND,
                           NULL, "the output of the process cannot be read any more");
        channel_close(a->channel, WS_INTERNAL, "the output cannot be read");
}

static void on_writable(void *arg)
{
        struct attached *a = arg;
        const struct follower_piece *p = &a->piece;
        const struct ring_slice slice = { .data = p->data, .size = p->size };
        size_t taken;

        if (a->is_over || p->size == 0)
                return;
        taken = channel_write_text(a->channel, channel_names[p->channel], p->offset, &slice, 1,
                                   p->is_last);
        a->piece.size = 0;
        follower_take(a->follower, taken);
        go_on(a);
}

/* --- its life --- */

static void on_change(struct job_watch *w, struct job *job)
{
        struct attached *a = container_of(w, struct attached, watch);
        bool is_running = job_phase(job) == PHASE_RUNNING;

        if (is_running && !a->was_running && !a->is_over)
                send_started(a);
        a->was_running = a->was_running || is_running;
        if (job_phase_is_final(job_phase(job))) {
                a->is_full = false; /* nothing will drain any more */
                attach_update_pause(a);
        }
}

static void on_shutdown(void *arg)
{
        struct attached *a = arg;

        if (a->is_over) /* the end is on its way */
                return;
        a->is_over = true;
        channel_close(a->channel, WS_GOING_AWAY, "the agent is shutting down");
}

static void on_closed(void *arg)
{
        struct attached *a = arg;

        attach_forget_decoding(a);
        job_watch_remove(&a->watch);
        (void)follower_free(a->follower);
        (void)job_unref(a->job);
        free(a);
}

static void start(struct request *req, struct job *job, struct follower_options *o)
{
        static const struct follower_ops follower_ops = { on_piece, on_end };
        static const struct channel_ops channel_ops = {
                .types = attach_messages,
                .on_writable = on_writable,
                .on_shutdown = on_shutdown,
                .on_closed = on_closed,
        };
        struct attached *a = xnew(struct attached);

        a->app = request_app(req);
        a->follower = follower_new(o, &follower_ops, a);
        if (!a->follower) {
                output_refuse_follower(req, o);
                free(a);
                return;
        }
        a->job = job_ref(job);
        a->was_running = job_phase(job) != PHASE_QUEUED;
        a->watch.on_change = on_change;
        a->watch.on_input_drained = attach_on_input_drained;
        job_watch_add(job, &a->watch);
        a->channel = channel_accept(a->app->websockets, a->app->loop, req, &channel_ops, a);
        send_attached(a);
        go_on(a);
}

static void on_open(struct output_open *o)
{
        struct follower_options options = { .is_text = true };

        if (!ws_admit(request_app(o->req)->websockets, o->req))
                return;
        output_follow_from(o, &options);
        start(o->req, o->job, &options);
}

/* Answers GET /execute/processes/{id}/attach. */
int job_attach_get(struct request *req)
{
        const struct job_attach_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);
        struct output_wanted w = { .is_wanted = { true, true } };

        if (job && output_parse_offset(req, args->offset, CHANNEL_STDOUT, w.from))
                output_open(req, job, &w, on_open);
        return 0;
}
