/* SPDX-License-Identifier: Apache-2.0 */

/* One client of a session: what it types goes to the shell, what the shell writes goes to it from its own place in the
 * session's output. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "agent/ws/channel.h"
#include "handlers/terminal/session.h"
#include "proc/process.h"

/* How much of the past a new client sees. */
#define RECENT_SIZE (64 * KIB)

struct input_args {
        struct json_text data;
};

struct resize_args {
        uint64_t cols, rows;
};

/* clang-format off */
const struct json_field terminal_input_args[] = {
        F_TEXT(struct input_args, data, .required = true, .max = LIMIT_INPUT_BYTES, .doc = "What is typed"),
        F_END
};

const struct json_field terminal_resize_args[] = {
        F_UINT(struct resize_args, cols, .required = true, .min = 1, .max = PTY_MAX_SIZE, .doc = "Columns"),
        F_UINT(struct resize_args, rows, .required = true, .min = 1, .max = PTY_MAX_SIZE, .doc = "Rows"),
        F_END
};
/* clang-format on */

/* --- what the client sends --- */

static void type(struct attachment *a, const char *data, size_t size)
{
        struct session *s = a->session;
        int r;

        if (size == 0 || s->has_ended)
                return;
        s->active_ms = clock_now_ms();
        r = process_write(s->process, data, size);
        if (r == PROCESS_E_QUEUED)
                channel_pause(a->channel, true);
        else if (r == -ENOBUFS || r == -ENOMEM)
                channel_send_error(a->channel, PROBLEM_LIMIT_REACHED, "/data",
                                   "data: the terminal's input queue is full; nothing of it was "
                                   "typed");
}

static void on_input(void *arg, const void *args)
{
        const struct input_args *input = args;

        type(arg, input->data.data, input->data.size);
}

static void on_binary(void *arg, const char *data, size_t size)
{
        type(arg, data, size);
}

static void on_resize(void *arg, const void *args)
{
        struct attachment *a = arg;
        const struct resize_args *resize = args;
        const struct pty_size size = { .columns = (unsigned)resize->cols,
                                       .rows = (unsigned)resize->rows };

        if (!a->session->has_ended && process_resize(a->session->process, &size) == 0)
                a->session->size = size;
}

/* See session.h. */
void attachment_resume_input(struct attachment *a)
{
        channel_pause(a->channel, false);
}

/* --- what it gets --- */

/* There was a process, but no shell in it. */
static void send_start_failure(struct attachment *a, const struct spawn_failure *failure)
{
        const struct session *s = a->session;
        bool is_cwd = failure->stage == SPAWN_CWD;
        bool is_missing = failure->error == ENOENT || failure->error == ENOTDIR;
        enum problem p = is_missing ? PROBLEM_COMMAND_NOT_FOUND : PROBLEM_COMMAND_NOT_EXECUTABLE;
        char message[512];

        (void)snprintf(message, sizeof(message), "%s: %.300s: %s", is_cwd ? "cwd" : "shell",
                       is_cwd ? s->cwd : s->shell, strerror(failure->error));
        channel_send_error(a->channel, is_cwd ? PROBLEM_WORKDIR_NOT_FOUND : p,
                           is_cwd ? "/cwd" : "/shell", message);
}

static void send_end(struct attachment *a)
{
        const struct process_result *result = process_result(a->session->process);
        char now[CLOCK_RFC3339_SIZE];
        json_t *message;

        if (result->reason == END_SPAWN)
                send_start_failure(a, &result->failure);
        message = json_pack("{s:s, s:i, s:i, s:i, s:s, s:s}", "type", "exit", "code",
                            result->exit_code, "exitCode", result->exit_code, "exit_code",
                            result->exit_code, "reason", process_reason_name(result->reason),
                            "timestamp", clock_rfc3339_now(now));
        if (result->signal)
                json_object_set_new(message, "signal", json_integer(result->signal));
        channel_send(a->channel, message);
        channel_finish(a->channel);
        a->is_end_sent = true;
        a->is_over = true;
}

/* Others are faster: what this client has not seen is gone. */
static void give_up(struct attachment *a)
{
        char reason[96];

        (void)snprintf(reason, sizeof(reason), "too slow; attach again with since=%llu",
                       (unsigned long long)a->offset);
        a->is_over = true;
        channel_close(a->channel, WS_TOO_SLOW, reason);
}

static void on_writable(void *arg)
{
        struct attachment *a = arg;
        struct session *s = a->session;
        struct ring_slice slices[2];
        unsigned n;

        if (a->is_over)
                return;
        n = ring_peek(&s->output, a->offset, slices);
        if (n > 0) {
                size_t taken = channel_write_text(a->channel, "output", a->offset, slices, n,
                                                  s->has_ended);

                a->offset += taken;
                if (taken > 0 && (a->offset < s->output.end || s->has_ended))
                        channel_want_write(a->channel);
                session_taken(s);
        } else if (s->has_ended) {
                send_end(a);
        }
}

/* See session.h. */
void attachment_notify(struct attachment *a)
{
        if (a->is_over)
                return;
        if (a->offset < a->session->output.start)
                give_up(a);
        else
                channel_want_write(a->channel);
}

/* --- its life --- */

static void on_shutdown(void *arg)
{
        (void)arg; /* the session ends, and the client is told so */
}

static void on_closed(void *arg)
{
        struct attachment *a = arg;

        if (a->is_end_sent && channel_was_taken(a->channel))
                a->session->was_end_seen = true;
        session_remove(a->session, a);
        free(a);
}

static const struct message_type types[] = {
        { "input", terminal_input_args, sizeof(struct input_args), on_input },
        { "resize", terminal_resize_args, sizeof(struct resize_args), on_resize },
        { NULL, NULL, 0, NULL },
};

static const struct channel_ops ops = {
        .types = types,
        .on_binary = on_binary,
        .on_writable = on_writable,
        .on_shutdown = on_shutdown,
        .on_closed = on_closed,
};

/* The recent output begins behind a line's end, where there is one. */
static uint64_t recent_offset(const struct session *s)
{
        uint64_t offset = s->output.end - MIN(s->output.end - s->output.start, RECENT_SIZE);
        struct ring_slice slices[2];
        const char *newline;

        if (offset == s->output.start || ring_peek(&s->output, offset, slices) == 0)
                return offset;
        newline = memchr(slices[0].data, '\n', slices[0].size);
        return newline ? offset + (uint64_t)(newline + 1 - slices[0].data) : offset;
}

/* A named session's first message: where its output begins for this client. */
static void send_attached(const struct attachment *a, bool is_created)
{
        const struct session *s = a->session;
        char now[CLOCK_RFC3339_SIZE];

        channel_send(a->channel,
                     json_pack("{s:s, s:s, s:s, s:b, s:I, s:i, s:i, s:I, s:I, s:s}", "type",
                               "attached", "session", s->name, "id", process_id(s->process),
                               "created", is_created, "pid", (json_int_t)process_pid(s->process),
                               "cols", (int)s->size.columns, "rows", (int)s->size.rows, "offset",
                               (json_int_t)a->offset, "end", (json_int_t)s->output.end, "timestamp",
                               clock_rfc3339_now(now)));
}

static void send_gap(const struct attachment *a, uint64_t since)
{
        char now[CLOCK_RFC3339_SIZE];
        bool is_restarted = since > a->session->output.end;

        channel_send(a->channel,
                     json_pack("{s:s, s:I, s:I, s:I, s:b, s:s}", "type", "gap", "from",
                               (json_int_t)since, "to", (json_int_t)a->offset, "lost",
                               (json_int_t)(is_restarted ? 0 : a->offset - since), "restarted",
                               is_restarted, "timestamp", clock_rfc3339_now(now)));
}

/* See session.h. */
void attachment_new(struct session *s, struct request *req, bool is_created, const uint64_t *since)
{
        struct attachment *a = xnew(struct attachment);
        const struct app *app = request_app(req);
        bool has_gap = since && (*since < s->output.start || *since > s->output.end);

        a->session = s;
        a->channel = channel_accept(app->websockets, app->loop, req, &ops, a);
        if (!since)
                a->offset = recent_offset(s);
        else
                a->offset = has_gap ? s->output.start : *since;
        if (s->name)
                send_attached(a, is_created);
        if (has_gap)
                send_gap(a, *since);
        session_add(s, a);
        attachment_notify(a);
}
