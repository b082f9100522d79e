/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by attach.c (a client of a job, and what it gets) and attach_input.c (what it sends). */

#include <stdbool.h>

#include "agent/ws/channel.h"
#include "handlers/jobs/follower.h"
#include "proc/jobs.h"

struct app;
struct decoding;
struct log_reader;
struct request;

struct attached {
        struct app *app;
        struct job *job;
        struct job_watch watch;
        struct follower *follower;
        struct channel *channel;
        struct follower_piece piece; /* size 0: none that waits to be sent */
        bool was_running;            /* the client knows that it was started */
        bool is_unread;              /* the client knows that nobody reads its input */
        bool is_full;                /* the program has to read before more is taken */
        struct decoding *decoding;   /* NULL: none of its input is with a worker */
        bool is_over;                /* the last message has been sent */
};

extern const struct message_type attach_messages[];
extern const struct json_field attach_input_args[];
extern const struct json_field attach_signal_args[];
extern const struct json_field attach_resize_args[];
extern const struct json_field attach_kill_args[];

/* Its messages wait while a worker has its input, or the program has not read what came before. */
void attach_update_pause(struct attached *a);
/* Nobody waits for the worker any more. */
void attach_forget_decoding(struct attached *a);

/* The program has read what was queued. */
void attach_on_input_drained(struct job_watch *w, struct job *job);
