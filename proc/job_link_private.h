/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by job_link.c (the conversation), job_link_start.c (its beginning) and job_link_files.c (what is on disk). */

#include <uv.h>

#include "agent/base/buf.h"
#include "agent/base/id.h"
#include "agent/loop/gate.h"
#include "proc/job_link.h"

/* Of commands that wait for room in a socket: a keeper that does not read for so long is as good as gone. */
#define JOB_LINK_COMMANDS (256 * sizeof(struct keeper_command))

enum {
        LINK_TIMER = 1 << 0, /* the handle has to be closed */
        LINK_POLL = 1 << 1,  /* likewise */
        LINK_LOST = 1 << 2,  /* a worker thread clears up */
};

struct job_link {
        const struct job_host *host;
        struct job_callbacks callbacks;
        void *arg;
        struct gate gate;
        bool is_freed;

        char *dir;
        char id[ID_SIZE];
        enum job_state state;
        pid_t leader;
        pid_t keeper;
        bool has_terminal;
        bool is_started; /* on_started was called */
        bool lingers;    /* its keeper says so */
        uint64_t totals[2];
        struct job_status status;

        uv_timer_t timer; /* the next attempt to connect */
        unsigned delay_ms;
        uv_poll_t poll;
        int fd; /* the socket; -1: none, and its handle is closed or being closed */
        bool wants_connection;
        struct buf commands; /* struct keeper_command, each, that did not fit into the socket */

        bool is_input_closed;
        bool is_ending;  /* the end of the input follows when the queue is empty */
        bool is_waiting; /* on_input_drained is owed */
        struct buf input;
        size_t n_sent;          /* bytes at the start of the queue that are done with */
        uint64_t sent_total;    /* as the keeper counts what it has received */
        uint64_t received_done; /* by the keeper */
        bool has_credit;        /* the keeper's counters are known */
};

/* Makes a link that is not connected; job_link_free frees it. */
int job_link_new(const struct job_host *h, const char *dir, const char *id,
                 const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                 struct error *err);
/* Who sees to what a job is limited to. */
void job_link_plan_limits(const struct job_host *h, const struct process_limits *asked,
                          unsigned controllers, struct process_limits_plan *ret);
/* Listens on the socket @fd, which it takes. */
int job_link_listen(struct job_link *l, int fd);

/* Tries to connect, now or when the handle of the last connection is closed. */
void job_link_retry(struct job_link *l);
bool job_link_is_over(const struct job_link *l);
void job_link_on_ready(uv_poll_t *h, int status, int events);

/* job_link_send.c. -EAGAIN: the socket is full. */
int job_link_send(const struct job_link *l, const struct keeper_command *c, const void *data,
                  size_t size);
/* Sends what can be sent, and waits for room for the rest. */
void job_link_flush(struct job_link *l);
/* These two call out. */
void job_link_say_drained(struct job_link *l);
void job_link_lose_reader(struct job_link *l);

struct lost_job {
        struct job_link *link; /* not for the worker */
        char *dir;
        char id[ID_SIZE];
        struct job_status status;
        int result; /* negative: nothing could be found out, or done */
};

/* For a worker thread: ends what the dead keeper of @job has left, and writes its status. */
void job_lost_run(void *job);

/* The text of a status file. 0 or -EBADMSG. */
int job_status_parse(const char *text, struct job_status *ret);
/* 1 while the keeper of the job in @dir_fd lives, 0 when it does not; negative: that cannot be told now. */
int job_is_kept(int dir_fd);
