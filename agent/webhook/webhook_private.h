/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What webhook.c (the queue) and webhook_attempt.c (one attempt) share. */

#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/webhook/journal.h"
#include "agent/webhook/target.h"
#include "agent/webhook/webhook.h"

struct timer;
struct transfers;

struct webhooks {
        struct loop *loop;
        struct webhooks_options options; /* without the borrowed strings and lists, but for … */
        char *ca_file;
        struct target_rules rules;
        int dir; /* of the journal */
        struct transfers *transfers;
        struct timer *timer;

        /* Every delivery is on one of these. */
        struct list waiting; /* by due_ms */
        struct list ready;   /* in order */
        struct list sending; /* being read from the journal, or sent */
        struct list busy;    /* a worker writes to its file */
        unsigned n_deliveries;
        uint64_t n_bytes; /* of all bodies, on the disk */
        unsigned n_sending;
        uint64_t n_sending_bytes; /* in memory */

        struct list turns; /* that are waited for */
        struct timer *turn_timer;
        unsigned n_turns; /* that somebody has */
        uint64_t hold_ms; /* how long the last that failed holds up the others */
        uint64_t held_until_ms;

        unsigned n_jobs; /* on the thread pool */
        bool is_announced;
        bool is_closing;
        bool is_closed;
        void (*on_closed)(void *arg);
        void *closed_arg;
};

struct delivery {
        struct list link;
        struct webhooks *owner;
        char id[LIMIT_WEBHOOK_ID + 1];
        char *host; /* so that one that hangs does not hold up all others */
        size_t body_size;
        uint64_t due_ms; /* clock_now_ms */

        enum webhook_status status;
        struct journal_note note;
        int64_t delivered_at_ms;
};

int64_t webhook_now_ms(void);

/* Tells the owner. */
void webhook_announce(struct delivery *d);
/* A job of @w is over; the last one of a queue that closes ends it, and then @w may be gone. */
void webhook_job_done(struct webhooks *w);
/* Starts what can be started now, and arms the timer for the rest. */
void webhook_pump(struct webhooks *w);
/* Puts @d among those that wait for their time. */
void webhook_wait(struct delivery *d, uint64_t delay_ms);
/* Unlinks and frees. */
struct delivery *webhook_delivery_free(struct delivery *d);

/* Those who wait for their turn: the beginning, the close, the end, and something that may have made room. */
void webhook_turns_init(struct webhooks *w);
void webhook_turns_close(struct webhooks *w);
void webhook_turns_free(struct webhooks *w);
void webhook_turns_pump(struct webhooks *w);
/* Ends a queue that closes, if nothing is under way any more. Then @w may be gone. */
void webhook_check_closed(struct webhooks *w);

/* Begins an attempt for @d, which is ready. */
void webhook_attempt(struct delivery *d);
