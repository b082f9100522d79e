/* SPDX-License-Identifier: Apache-2.0 */

/* What the client sends while its program runs: input, signals, and that it has had enough. */

#include <errno.h>
#include <stdio.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/json/base64.h"
#include "handlers/execution/run.h"
#include "handlers/execution/stream_private.h"
#include "proc/signals.h"

/* clang-format off */
const struct json_field stream_input_args[] = {
        F_TEXT(struct stream_input_args, data, .max = LIMIT_INPUT_QUEUE, .doc = "What the program reads next"),
        F_BOOL(struct stream_input_args, eof, .doc = "Nothing will follow"),
        F_ENUM(struct stream_input_args, encoding, .names = execution_encodings, .doc = "How data is written"),
        F_END
};

const struct json_field stream_signal_args[] = {
        F_STRING(struct stream_signal_args, signal, .required = true, .min = 1, .max = 32,
                 .doc = "Name or number, for the program and what it has in its process group"),
        F_END
};
/* clang-format on */

static bool is_running(struct execution_stream *s)
{
        if (s->state == STREAM_RUNNING)
                return true;
        stream_refuse(s, PROBLEM_INVALID_REQUEST, "/type",
                      s->state == STREAM_ENDED ? "type: the execution has ended"
                                               : "type: nothing was started yet");
        return false;
}

/* --- input --- */

/* Says so once: who pours a file into a program need not hear it for each piece. */
static void tell_unread(struct execution_stream *s)
{
        if (!s->is_unread)
                stream_refuse(s, PROBLEM_INVALID_REQUEST, "/data",
                              s->has_stdin ? "data: stdin was given with the execution"
                                           : "data: nobody reads stdin any more");
        s->is_unread = !s->has_stdin;
}

/* After process_write or process_close_input. */
static void check_written(struct execution_stream *s, int r)
{
        if (r == PROCESS_E_QUEUED)
                channel_pause(s->channel, true);
        else if (r == -EPIPE)
                tell_unread(s);
        else if (r < 0)
                stream_refuse(s, PROBLEM_UNAVAILABLE, "/data",
                              "data: the program has not read what came before, and there is no "
                              "room for more");
}

static int write_base64(struct execution_stream *s, const struct json_text *text)
{
        CLEANUP(mem_free) char *bytes = NULL;
        size_t size;
        int r = -EINVAL;

        if (text->size % 4 == 0) /* a message has no lines to wrap: white space is a mistake */
                r = base64_to_bytes(text->data, text->size, &bytes, &size);
        if (r == 0)
                return process_write(s->process, bytes, size);
        if (r != -EINVAL)
                return r;
        stream_refuse(s, PROBLEM_INVALID_REQUEST, "/data",
                      "data: encoding is base64, but this is not valid base64");
        return 0;
}

/* See stream_private.h. */
void stream_on_input(void *arg, const void *message)
{
        const struct stream_input_args *args = message;
        struct execution_stream *s = arg;
        int r = 0;

        if (!is_running(s))
                return;
        if (args->data.size > 0)
                r = args->encoding == DOCUMENT_BASE64
                            ? write_base64(s, &args->data)
                            : process_write(s->process, args->data.data, args->data.size);
        if (r >= 0 && args->eof)
                r = process_close_input(s->process);
        check_written(s, r);
}

/* See stream_private.h. */
void stream_on_eof(void *arg, const void *args)
{
        struct execution_stream *s = arg;

        (void)args;
        if (is_running(s))
                check_written(s, process_close_input(s->process));
}

/* See stream_private.h. */
void stream_on_input_drained(void *arg)
{
        struct execution_stream *s = arg;

        if (s->channel)
                channel_pause(s->channel, false);
}

/* --- signals --- */

/* See stream_private.h. */
void stream_on_signal(void *arg, const void *message)
{
        const struct stream_signal_args *args = message;
        struct execution_stream *s = arg;
        char text[100];
        int signum;

        if (!is_running(s))
                return;
        signum = signal_from_name(args->signal);
        if (signum < 0 || process_signal(s->process, signum) == -EINVAL) {
                (void)snprintf(text, sizeof(text), "signal: there is no signal '%s'", args->signal);
                stream_refuse(s, PROBLEM_INVALID_REQUEST, "/signal", text);
        }
}

/* See stream_private.h. */
void stream_on_kill(void *arg, const void *args)
{
        struct execution_stream *s = arg;

        (void)args;
        if (is_running(s))
                run_cancel(s->run);
}
