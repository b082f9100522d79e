/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by stream.c (a connection and its execution, from the first message to the last), stream_request.c (what it
 * was asked for) and stream_input.c (what the client sends meanwhile). */

#include <stdbool.h>

#include <jansson.h>

#include "agent/base/buf.h"
#include "agent/ws/channel.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"
#include "handlers/execution/stream_output.h"

struct app;
struct process;
struct run;

enum stream_state {
        STREAM_IDLE,     /* nothing was asked for yet */
        STREAM_STARTING, /* no other message is taken */
        STREAM_RUNNING,
        STREAM_ENDED, /* or there was nothing; all that is left is to send it */
};

/* What is to be run, in copies: messages are gone before it has started. */
struct stream_request {
        union {
                struct execute_args code;
                struct commands_args command;
        } args;     /* points to: */
        char *text; /* the code, or the command */
        char *input;
        json_t *list; /* references */
        json_t *env;
};

struct execution_stream {
        struct app *app;
        struct channel *channel; /* NULL: closed */
        struct run *run;         /* NULL: not begun, or gone; with both NULL the object goes */
        enum stream_state state;
        struct stream_request request;
        const char *label_name; /* one member of the result, e.g. "language": "python" */
        const char *label;
        struct process *process; /* borrowed, while it runs */
        struct stream_output output;
        bool is_line_open[2]; /* the last line of output has no end yet */
        bool is_output_paused;
        bool has_stdin;    /* it was given with the execution */
        bool is_unread;    /* the client knows that nobody reads its input */
        bool is_code;      /* as opposed to a command, which displays nothing */
        struct buf result; /* the last messages, once there are any */
        json_t *complete;
};

struct stream_input_args {
        struct json_text data;
        bool eof;
        int encoding; /* enum document_encoding */
};

struct stream_signal_args {
        const char *signal;
};

extern const struct json_field stream_input_args[];
extern const struct json_field stream_signal_args[];

/* stream.c */
/* Tells what is wrong with a message. When nothing has been started yet, that is the end: clients wait for it. */
void stream_refuse(struct execution_stream *s, enum problem p, const char *field,
                   const char *message);

/* stream_request.c */
/* Copies the arguments to s->request. False: it must not run, and the client has been told. */
bool stream_keep_code(struct execution_stream *s, const struct execute_args *args);
bool stream_keep_command(struct execution_stream *s, const struct commands_args *args);
/* Frees the copies, but for a text that is the label. */
void stream_forget_request(struct execution_stream *s);

/* stream_input.c */
void stream_on_input(void *arg, const void *args);
void stream_on_eof(void *arg, const void *args);
void stream_on_signal(void *arg, const void *args);
void stream_on_kill(void *arg, const void *args);
/* The program has read what was queued. */
void stream_on_input_drained(void *arg);
