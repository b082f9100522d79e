/* SPDX-License-Identifier: Apache-2.0 */

/* One execution on a connection: a message asks for it, its output goes out as it comes, "result" and "complete" end
 * it. Clients wait for "complete" alone, so it comes in every case, also when nothing could be started.
 *
 * The object belongs to the connection and the run together, and goes with the last of them. When the client leaves
 * first, the run is cancelled, and its end is waited for. */

#include "handlers/execution/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "handlers/execution/result.h"
#include "handlers/execution/rich_answer.h"
#include "handlers/execution/run.h"
#include "handlers/execution/stream_private.h"

/* Of the frame with the result; the rest is for its other members. */
#define MAX_RICH (WS_FRAME_SIZE - 16 * KIB)
/* Of a command, in that frame: escaped it may be six times as long. */
#define MAX_LABEL (64 * KIB)

static void free_if_over(struct execution_stream *s)
{
        if (s->channel || s->run)
                return;
        s->label = NULL;
        stream_forget_request(s);
        stream_output_done(&s->output);
        buf_done(&s->result);
        json_decref(s->complete);
        free(s);
}

/* --- the end --- */

static json_t *describe_complete(bool success)
{
        char now[CLOCK_RFC3339_SIZE];

        return json_pack("{s:s, s:b, s:s}", "type", "complete", "success", success, "timestamp",
                         clock_rfc3339_now(now));
}

/* All output has been sent. */
static void send_end(struct execution_stream *s)
{
        channel_send_text(s->channel, s->result.data, s->result.size);
        buf_done(&s->result);
        channel_send(s->channel, STEAL(s->complete));
        channel_finish(s->channel);
}

static void end_without_result(struct execution_stream *s)
{
        s->state = STREAM_ENDED;
        channel_send(s->channel, describe_complete(false));
        channel_finish(s->channel);
}

/* See stream_private.h. */
void stream_refuse(struct execution_stream *s, enum problem p, const char *field,
                   const char *message)
{
        channel_send_error(s->channel, p, field, message);
        if (s->state == STREAM_IDLE)
                end_without_result(s);
}

static void on_refused(void *arg)
{
        struct execution_stream *s = arg;

        if (s->state == STREAM_IDLE)
                end_without_result(s);
}

/* --- output --- */

static void on_writable(void *arg)
{
        static const char *const types[] = {
                [PROCESS_STDOUT] = "stdout", [PROCESS_STDERR] = "stderr"
        };
        struct execution_stream *s = arg;
        struct stream_piece piece;
        size_t n = 0;

        while (n == 0 && stream_output_peek(&s->output, &piece)) {
                n = channel_write_text(s->channel, types[piece.from], piece.offset, piece.slices,
                                       piece.n_slices, piece.is_end);
                stream_output_take(&s->output, n);
        }
        if (stream_output_peek(&s->output, &piece))
                channel_want_write(s->channel);
        else if (s->complete)
                send_end(s);
        if (s->is_output_paused && s->process &&
            stream_output_size(&s->output) < LIMIT_STREAM_BUFFER / 2) {
                s->is_output_paused = false;
                process_pause_output(s->process, false);
        }
}

static void on_output(void *arg, enum process_channel from, const char *data, size_t size)
{
        struct execution_stream *s = arg;

        if (!s->channel || size == 0)
                return;
        stream_output_append(&s->output, from, data, size);
        s->is_line_open[from] = data[size - 1] != '\n';
        if (!s->is_output_paused && stream_output_size(&s->output) > LIMIT_STREAM_BUFFER) {
                s->is_output_paused = true;
                process_pause_output(s->process, true);
        }
        channel_want_write(s->channel);
}

/* --- the run --- */

static void on_failed(void *arg, enum problem p, const char *field, const char *message)
{
        struct execution_stream *s = arg;

        s->run = NULL;
        s->process = NULL;
        stream_forget_request(s);
        if (s->channel) {
                channel_pause(s->channel, false);
                channel_send_error(s->channel, p, field, message);
                end_without_result(s);
        }
        free_if_over(s);
}

static void on_started(void *arg, struct process *p)
{
        struct execution_stream *s = arg;

        s->process = p;
        stream_forget_request(s);
        if (!s->channel) /* closed meanwhile: the run knows that */
                return;
        s->state = STREAM_RUNNING;
        channel_pause(s->channel, false);
}

static json_t *describe_result(const struct execution_stream *s, const struct process *p,
                               const struct rich_answer *rich)
{
        size_t size = strlen(s->label);
        CLEANUP(mem_free)
        char *label = xstrndup(s->label,
                               size > MAX_LABEL ? utf8_complete_prefix(s->label, MAX_LABEL) : size);
        json_t *doc = json_pack("{s:s}", "type", "result");

        json_object_update_new(doc, result_describe(p, s->label_name, label));
        json_object_update_new(
                doc, json_pack("{s:I, s:I}", "stdout_bytes",
                               (json_int_t)stream_output_total(&s->output, PROCESS_STDOUT),
                               "stderr_bytes",
                               (json_int_t)stream_output_total(&s->output, PROCESS_STDERR)));
        rich_answer_describe(doc, rich);
        return doc;
}

/* With so much of what was displayed. False: there is no memory for it. */
static bool try_result(struct execution_stream *s, struct process *p, size_t max_rich)
{
        struct rich_answer rich;
        struct document *doc;
        char piece[4 * KIB];
        size_t n;
        int r = 0;

        rich_answer_init(&rich, process_rich(p), max_rich);
        doc = document_new(describe_result(s, p, &rich));
        if (s->is_code)
                rich_answer_add(doc, &rich, NULL, NULL);
        rich_answer_done(&rich);
        while (r == 0 && (n = document_read(doc, piece, sizeof(piece))) > 0)
                r = buf_append(&s->result, piece, n);
        document_free(doc);
        return r == 0;
}

/* One frame: so of what was displayed it has only what fits. */
static void write_result(struct execution_stream *s, struct process *p)
{
        if (try_result(s, p, MAX_RICH))
                return;
        buf_done(&s->result);
        if (!try_result(s, p, 0))
                abort(); /* as for every small allocation */
}

static void add_note(struct execution_stream *s, const struct process_result *result)
{
        CLEANUP(mem_free) char *note = result_note(result, run_timeout_ms(s->run));
        const char *line = note;

        if (!note)
                return;
        line += !s->is_line_open[PROCESS_STDERR];
        stream_output_append(&s->output, PROCESS_STDERR, line, strlen(line));
}

static void prepare_end(struct execution_stream *s, struct process *p)
{
        const struct process_result *result = process_result(p);
        bool success = result->reason == END_EXIT && result->exit_code == 0;

        write_result(s, p);
        s->complete = describe_complete(success);
        json_object_set_new(s->complete, "exit_code", json_integer(result->exit_code));
        json_object_set_new(s->complete, "execution_id", json_string(process_id(p)));
        add_note(s, result);
        stream_output_end(&s->output);
}

static void on_end(void *arg, struct process *p)
{
        struct execution_stream *s = arg;
        struct stream_piece piece;

        if (s->channel) {
                s->state = STREAM_ENDED;
                prepare_end(s, p);
                channel_pause(s->channel, false);
                if (stream_output_peek(&s->output, &piece))
                        channel_want_write(s->channel);
                else
                        send_end(s);
        }
        s->process = NULL;
        s->run = NULL;
        free_if_over(s);
}

/* @spec is good for the start alone. */
static void start(struct execution_stream *s, struct run_spec *spec)
{
        static const struct run_ops ops = {
                .on_failed = on_failed,
                .on_started = on_started,
                .on_output = on_output,
                .on_input_drained = stream_on_input_drained,
                .on_end = on_end,
        };

        spec->has_input = true;
        s->has_stdin = spec->args->input.data;
        s->state = STREAM_STARTING;
        s->run = run_new(s->app, spec, &ops, s);
        run_begin(s->run);
        if (s->state == STREAM_STARTING)
                channel_pause(s->channel, true);
}

static void on_execute(void *arg, const void *args)
{
        struct execution_stream *s = arg;
        struct run_spec spec;

        if (!stream_keep_code(s, args))
                return;
        s->label_name = "language";
        s->is_code = true;
        s->label = language_name((enum language)s->request.args.code.language);
        spec = execute_spec(&s->request.args.code);
        start(s, &spec);
}

static void on_run(void *arg, const void *args)
{
        struct execution_stream *s = arg;
        struct run_spec spec;

        if (!stream_keep_command(s, args))
                return;
        s->label_name = "command";
        s->label = s->request.text;
        spec = commands_spec(&s->request.args.command);
        start(s, &spec);
}

/* --- the connection --- */

static void on_shutdown(void *arg)
{
        struct execution_stream *s = arg;

        if (s->state == STREAM_IDLE) /* what runs has the grace period to end */
                channel_close(s->channel, WS_GOING_AWAY, "the agent is shutting down");
}

static void on_closed(void *arg)
{
        struct execution_stream *s = arg;

        s->channel = NULL;
        stream_output_done(&s->output);
        if (s->is_output_paused && s->process)
                process_pause_output(s->process, false);
        if (s->run)
                run_cancel(s->run);
        free_if_over(s);
}

static int accept_stream(struct request *req, const struct channel_ops *ops)
{
        struct app *app = request_app(req);
        struct execution_stream *s;

        if (!ws_admit(app->websockets, req))
                return 0;
        s = xnew(struct execution_stream);
        s->app = app;
        stream_output_init(&s->output);
        s->channel = channel_accept(app->websockets, app->loop, req, ops, s);
        return 0;
}

/* clang-format off */
#define COMMON_MESSAGES                                                                                                \
        { "input",   stream_input_args,  sizeof(struct stream_input_args),  stream_on_input },                         \
        { "eof",     NULL,               0,                                 stream_on_eof },                           \
        { "signal",  stream_signal_args, sizeof(struct stream_signal_args), stream_on_signal },                        \
        { "kill",    NULL,               0,                                 stream_on_kill },                          \
        { .name = NULL }

#define STREAM_OPS(message_types)                                                                                      \
        {                                                                                                              \
                .types = (message_types), .on_refused = on_refused, .on_writable = on_writable,                        \
                .on_shutdown = on_shutdown, .on_closed = on_closed,                                                    \
        }
/* clang-format on */

/* Answers GET /execute/stream. */
int execute_stream_get(struct request *req)
{
        static const struct message_type types[] = {
                { "execute", execute_args, sizeof(struct execute_args), on_execute },
                { "run", execute_args, sizeof(struct execute_args), on_execute },
                COMMON_MESSAGES,
        };
        static const struct channel_ops ops = STREAM_OPS(types);

        return accept_stream(req, &ops);
}

/* Answers GET /commands/stream. */
int commands_stream_get(struct request *req)
{
        static const struct message_type types[] = {
                { "execute", commands_args, sizeof(struct commands_args), on_run },
                { "run", commands_args, sizeof(struct commands_args), on_run },
                COMMON_MESSAGES,
        };
        static const struct channel_ops ops = STREAM_OPS(types);

        return accept_stream(req, &ops);
}
