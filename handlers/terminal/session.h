/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A terminal session: a shell on a terminal, its recent output, and the clients that are attached to it. Shared by
 * session.c (its life), attachment.c (one client), terminal.c and terminals.c (the endpoints).
 *
 * Life: running → ended (the shell has exited; what clients have not seen yet waits for them) → freed. A session
 * without a name ends with its client. A named one waits for the next client, for the linger time; what its shell
 * writes meanwhile goes into the ring. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/list.h"
#include "agent/base/ring.h"
#include "agent/json/field.h"
#include "proc/process.h"
#include "proc/pty.h"

struct app;
struct channel;
struct request;
struct timer;

struct terminals {
        struct list sessions;
        uint64_t n_sessions;
        void (*on_ended)(void *arg); /* the agent stops, and waits for the last of them */
        void *on_ended_arg;
};

struct session {
        struct list link;
        struct terminals *terminals;
        struct app *app;
        char *name;              /* NULL: none */
        char *shell, *cwd;       /* as started */
        struct process *process; /* a reference */
        struct pty_size size;
        int64_t started_ms; /* Unix time */
        uint64_t active_ms; /* last input or output */

        struct ring output;
        bool is_paused; /* nobody keeps up with it */

        struct list attachments;
        unsigned n_attachments;
        struct timer *linger; /* runs while nobody is attached; NULL: somebody is */

        bool has_ended;
        bool is_doomed;           /* it waits for nobody any more */
        bool was_end_seen;        /* a client has got the news that it has ended */
        struct list ending_waits; /* DELETE requests */
};

struct attachment {
        struct list link;
        struct session *session;
        struct channel *channel;
        uint64_t offset; /* of the next byte to send */
        bool is_end_sent;
        bool is_over; /* the last message was sent, or it was too slow */
};

/* session.c */
struct session_options {
        const char *name; /* NULL: none; copied */
        char *const *argv;
        char *const *envp;
        const char *cwd;
        struct pty_size size;
};

/* Starts the shell. Outcomes and errors as supervisor_start. */
int session_new(struct app *app, const struct session_options *o, struct session **ret,
                struct error *err);
struct session *session_find(const struct terminals *t, const char *name);
/* Hangs up: the shell and all that it has started will end, and then the session. */
void session_end(struct session *s);
/* Answers @req when the session has ended. */
void session_answer_end(struct session *s, struct request *req);
void session_add(struct session *s, struct attachment *a);
/* A client has left, or will get nothing more. May free the session. */
void session_remove(struct session *s, struct attachment *a);
/* Clients have taken output: what nobody needs is forgotten, and the shell may go on. */
void session_taken(struct session *s);

/* terminals.c */
/* A session has gone. */
void terminals_check_ended(struct terminals *t);

/* attachment.c */
/* Lets a client in; @since is the offset it wants to go on from, or NULL for the recent output. */
void attachment_new(struct session *s, struct request *req, bool is_created, const uint64_t *since);
/* There is output, or the end. */
void attachment_notify(struct attachment *a);
/* The shell has read its input. */
void attachment_resume_input(struct attachment *a);

/* What its clients send, besides "ping". */
extern const struct json_field terminal_input_args[];
extern const struct json_field terminal_resize_args[];
