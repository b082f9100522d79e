/* SPDX-License-Identifier: Apache-2.0 */

/* What a client of a job sends: input, signals, the size of its window, and that it has had enough. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/config.h"
#include "agent/json/base64.h"
#include "agent/json/document.h"
#include "agent/loop/job.h"
#include "handlers/execution/arguments.h"
#include "handlers/jobs/attach_private.h"
#include "proc/signals.h"

struct input_args {
        struct json_text data;
        bool eof;
        int encoding; /* enum document_encoding */
};

struct signal_args {
        const char *signal;
};

struct resize_args {
        uint64_t cols, rows;
};

struct kill_args {
        uint64_t grace_ms;
        bool has_grace;
};

/* clang-format off */
const struct json_field attach_input_args[] = {
        F_TEXT(struct input_args, data, .max = LIMIT_INPUT_QUEUE, .doc = "What the program reads next"),
        F_BOOL(struct input_args, eof, .doc = "Nothing will follow"),
        F_ENUM(struct input_args, encoding, .names = execution_encodings, .doc = "How data is written"),
        F_END
};

const struct json_field attach_signal_args[] = {
        F_STRING(struct signal_args, signal, .required = true, .min = 1, .max = 32,
                 .doc = "Name or number, for the program and what it has in its process group"),
        F_END
};

const struct json_field attach_resize_args[] = {
        F_UINT(struct resize_args, cols, .required = true, .min = 1, .max = PTY_MAX_SIZE, .doc = "Columns"),
        F_UINT(struct resize_args, rows, .required = true, .min = 1, .max = PTY_MAX_SIZE, .doc = "Rows"),
        F_END
};

const struct json_field attach_kill_args[] = {
        F_SECONDS(struct kill_args, grace_ms, .name = "grace", .max = 60000,
                  .set_offset = offsetof(struct kill_args, has_grace),
                  .doc = "Time between SIGTERM and SIGKILL, s; default job-kill-grace"),
        F_END
};
/* clang-format on */

static void refuse(struct attached *a, enum problem p, const char *field, const char *message)
{
        channel_send_error(a->channel, p, field, message);
}

/* Says what is wrong when there is no program to talk to. */
static bool is_running(struct attached *a)
{
        enum job_phase phase = job_phase(a->job);

        if (phase == PHASE_RUNNING)
                return true;
        if (phase == PHASE_QUEUED)
                refuse(a, PROBLEM_INVALID_REQUEST, "/type",
                       "type: the process has not been started yet");
        else
                refuse(a, PROBLEM_PROCESS_NOT_RUNNING, "/type", "type: the process has ended");
        return false;
}

/* --- input --- */

/* Says so once: who pours a file into a program need not hear it for each piece. */
static void tell_unread(struct attached *a)
{
        if (!a->is_unread)
                refuse(a, PROBLEM_INVALID_REQUEST, "/data", "data: nobody reads stdin any more");
        a->is_unread = true;
}

/* After job_write or job_close_input. */
static void check_written(struct attached *a, int r)
{
        if (r == JOB_LINK_E_QUEUED) {
                a->is_full = true;
                attach_update_pause(a);
        } else if (r == -EPIPE || r == -ESRCH)
                tell_unread(a);
        else if (r < 0)
                refuse(a, PROBLEM_LIMIT_REACHED, "/data",
                       "data: the program has not read what came before, and there is no room for "
                       "more");
}

static void take_input(struct attached *a, const char *data, size_t size, bool eof)
{
        int r = 0, end = 0;

        if (!is_running(a))
                return;
        if (size > 0)
                r = job_write(a->job, data, size);
        if (r >= 0 && eof)
                end = job_close_input(a->job);
        check_written(a, end != 0 ? end : r);
}

/* Input in base64; much of it is decoded by a worker. Meanwhile the client has to wait, so nothing gets ahead of it. */
struct decoding {
        struct attached *attached; /* not for the worker; NULL: it has gone */
        const char *text;
        size_t text_size;
        char *copy; /* of text, for a worker */
        bool eof;
        char *bytes;
        size_t size;
        int r;
};

static void decode(void *arg)
{
        struct decoding *d = arg;

        d->r = -EINVAL;
        if (d->text_size % 4 == 0) /* a message has no lines to wrap: white space is a mistake */
                d->r = base64_to_bytes(d->text, d->text_size, &d->bytes, &d->size);
}

/* What is not taken has no end either. */
static void take_decoded(struct attached *a, const struct decoding *d)
{
        if (d->r == 0)
                take_input(a, d->bytes, d->size, d->eof);
        else if (d->r == -EINVAL)
                refuse(a, PROBLEM_INVALID_REQUEST, "/data",
                       "data: encoding is base64, but this is not valid base64");
        else
                refuse(a, PROBLEM_UNAVAILABLE, "/data", "data: there is not enough memory");
}

static void on_decoded(void *arg)
{
        struct decoding *d = arg;
        struct attached *a = d->attached;

        if (a) {
                a->decoding = NULL;
                take_decoded(a, d);
                attach_update_pause(a);
        }
        free(d->bytes);
        free(d->copy);
        free(d);
}

/* Only what is with a worker is kept, and only one at a time: the channel is paused. */
static bool decode_later(struct attached *a, const struct decoding *d)
{
        struct decoding *later;

        if (d->text_size <= LIMIT_JSON_INLINE)
                return false;
        later = xnew(struct decoding);
        *later = *d;
        later->copy = try_alloc(d->text_size);
        if (later->copy) {
                memcpy(later->copy, d->text, d->text_size);
                later->text = later->copy;
                if (job_run(a->app->loop, later, decode, on_decoded) == 0) {
                        a->decoding = later;
                        attach_update_pause(a);
                        return true;
                }
        }
        free(later->copy);
        free(later);
        return false;
}

static void take_base64(struct attached *a, const struct input_args *args)
{
        struct decoding d = { .attached = a,
                              .text = args->data.data,
                              .text_size = args->data.size,
                              .eof = args->eof };

        if (decode_later(a, &d))
                return;
        decode(&d);
        take_decoded(a, &d);
        free(d.bytes);
}

static void on_input(void *arg, const void *message)
{
        const struct input_args *args = message;
        struct attached *a = arg;

        if (args->encoding == DOCUMENT_BASE64 && args->data.size > 0) {
                if (is_running(a))
                        take_base64(a, args);
        } else {
                take_input(a, args->data.data, args->data.size, args->eof);
        }
}

/* See attach_private.h. */
void attach_update_pause(struct attached *a)
{
        channel_pause(a->channel, a->is_full || a->decoding);
}

/* See attach_private.h. */
void attach_forget_decoding(struct attached *a)
{
        if (a->decoding)
                a->decoding->attached = NULL;
        a->decoding = NULL;
}

static void on_eof(void *arg, const void *args)
{
        struct attached *a = arg;

        (void)args;
        if (is_running(a))
                check_written(a, job_close_input(a->job));
}

/* See attach_private.h. */
void attach_on_input_drained(struct job_watch *w, struct job *job)
{
        struct attached *a = container_of(w, struct attached, watch);

        (void)job;
        a->is_full = false;
        attach_update_pause(a);
}

/* --- the rest --- */

static void on_signal(void *arg, const void *message)
{
        const struct signal_args *args = message;
        struct attached *a = arg;
        char text[100];
        int signum = signal_from_name(args->signal);
        int r = -EINVAL;

        if (!is_running(a))
                return;
        if (signum >= 0)
                r = job_signal(a->job, signum);
        if (r == -EINVAL) {
                (void)snprintf(text, sizeof(text), "signal: there is no signal '%s'", args->signal);
                refuse(a, PROBLEM_INVALID_REQUEST, "/signal", text);
        } else if (r == -ENOBUFS) {
                refuse(a, PROBLEM_LIMIT_REACHED, "/type",
                       "type: the process has not taken what it was sent before; try again");
        } else if (r < 0) {
                refuse(a, PROBLEM_PROCESS_NOT_RUNNING, "/type", "type: the process has ended");
        }
}

static void on_resize(void *arg, const void *message)
{
        const struct resize_args *args = message;
        struct attached *a = arg;
        const struct pty_size size = { .columns = (unsigned)args->cols,
                                       .rows = (unsigned)args->rows };

        if (!job_has_terminal(a->job))
                refuse(a, PROBLEM_INVALID_REQUEST, "/type",
                       "type: the process has no terminal; start it with \"tty\": true for one");
        else if (is_running(a))
                (void)job_resize(a->job, &size); /* it may end at any time */
}

/* Queued ones, too, and what one that has ended has left running. */
static void on_kill(void *arg, const void *message)
{
        const struct kill_args *args = message;
        struct attached *a = arg;

        job_kill(a->job,
                 (uint32_t)(args->has_grace ? args->grace_ms : a->app->config->job_kill_grace_ms));
}

const struct message_type attach_messages[] = {
        { "input", attach_input_args, sizeof(struct input_args), on_input },
        { "eof", NULL, 0, on_eof },
        { "signal", attach_signal_args, sizeof(struct signal_args), on_signal },
        { "resize", attach_resize_args, sizeof(struct resize_args), on_resize },
        { "kill", attach_kill_args, sizeof(struct kill_args), on_kill },
        { NULL, NULL, 0, NULL },
};
