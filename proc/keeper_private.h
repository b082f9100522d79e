/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by the files of agent-keeper: keeper.c (its life), keeper_start.c (what it makes, and the program),
 * keeper_io.c (output and input), keeper_rich.c (what the program displays), keeper_tree.c (what it started),
 * keeper_control.c (who talks to it) and keeper_end.c (what is left in files). */

#include <poll.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "proc/joblog.h"
#include "proc/keeper_protocol.h"
#include "proc/keeper_system.h"
#include "proc/spawn.h"

#define KEEPER_CONNECTIONS 8
#define KEEPER_READ_SIZE   (64 * KIB)
#define KEEPER_NEVER       UINT64_MAX
/* Before what cannot be had now is tried again. */
#define KEEPER_PAUSE_US (50 * UINT64_C(1000))

/* In order of force. */
enum kill_state { KILL_NONE, KILL_TERM, KILL_KILL };

struct connection {
        int fd; /* -1: free */
        bool is_subscribed;
        bool is_urgent;  /* a report is owed now */
        bool has_grown;  /* one is owed when next_us has come */
        bool is_blocked; /* its socket is full */
        uint64_t next_us;
};

struct stream {
        int fd;            /* read end of the pipe, or master of the terminal; -1: closed */
        int log_fd;        /* -1: none */
        uint64_t pause_us; /* until then nobody has the terminal open */
        struct joblog_writer log;
};

/* What is displayed. */
struct rich_log {
        int fd;              /* read end of the pipe; -1: none, or closed */
        int log_fd;          /* -1: nothing has come yet */
        uint64_t size;       /* of the file */
        uint64_t line_start; /* where the line that is coming begins */
        bool is_skipping;    /* it does not fit */
        uint64_t n_dropped;  /* lines */
};

struct input {
        int fd; /* write end of the pipe, or a second descriptor of the master; -1: none, or closed */
        uint32_t head; /* where the queue begins */
        uint32_t size; /* of the queue */
        bool is_ending;
        uint64_t received;
        uint64_t done;
};

struct keeper {
        struct keeper_config config;
        const char *shim;
        const char *leaf;     /* path; empty: none */
        char **argv, **envp;  /* for the shim */
        uint64_t cpu_seconds; /* the limit that it sets; 0: none */

        int dir_fd;
        int signal_fd;
        int listen_fd;
        uint64_t listen_us; /* until then nobody is let in */
        int leaf_fd;
        int stdin_fd;  /* what the program gets when it gets no pipe */
        int status_fd; /* the shim's, until it is at its end */
        int end_fd;    /* status.tmp */
        struct stream streams[2];
        struct rich_log rich;
        struct input input;
        struct connection connections[KEEPER_CONNECTIONS];

        pid_t leader; /* 0: not started */
        bool leader_lives;
        bool has_children;  /* as far as we know */
        bool has_started;   /* the program runs, not just the shim */
        uint64_t looked_us; /* at the clock, for pauses */
        uint64_t started_us;
        uint64_t started_ms;
        uint64_t deadline_us;
        uint64_t drained_us; /* when the end waits for pipes no longer */
        struct spawn_failure failure;
        int wait_status;
        struct rusage usage;

        enum kill_state kill_state;
        enum keeper_reason kill_reason; /* of the end, if the leader dies of it */
        bool was_termed;
        uint64_t kill_us;   /* when SIGKILL follows */
        uint64_t answer_us; /* when the end no longer waits for the dying */
        uint64_t strike_us; /* when to look for survivors again */
        unsigned n_strikes;

        bool has_ended;
        bool is_saved; /* the status file is there, or never will be */
        uint64_t save_us;
        char status[KEEPER_STATUS_MAX];
        size_t status_size;
};

/* keeper_start.c. Return 0 or a negative errno. */
int keeper_receive_config(struct keeper *k, int fd);
int keeper_prepare(struct keeper *k);
int keeper_start_program(struct keeper *k);

/* keeper_io.c */
extern char keeper_buffer[KEEPER_READ_SIZE]; /* for what is read, until it is written */
void keeper_read_stream(struct keeper *k, struct stream *s);
void keeper_drain(struct keeper *k);
bool keeper_has_streams(const struct keeper *k);
/* False: it is more than the window allows. */
bool keeper_take_input(struct keeper *k, const char *data, size_t size);
void keeper_end_input(struct keeper *k);
void keeper_write_input(struct keeper *k);
void keeper_close_input(struct keeper *k);

/* keeper_rich.c */
/* Reads once. Returns how much; 0: nothing now, or the end. */
long keeper_read_rich(struct keeper *k);
void keeper_drain_rich(struct keeper *k);
/* Nothing more is kept. */
void keeper_end_rich(struct keeper *k);

/* keeper_tree.c */
void keeper_kill(struct keeper *k, enum keeper_reason reason, uint64_t grace_ms);
void keeper_kill_now(struct keeper *k, enum keeper_reason reason);
/* One more round against what has survived. */
void keeper_strike(struct keeper *k);
/* To the leader's process group, or the terminal's foreground group. */
void keeper_signal(struct keeper *k, int sig);

/* keeper_control.c */
void keeper_listen_ready(struct keeper *k);
void keeper_connection_ready(struct keeper *k, struct connection *c, short revents);
void keeper_connect(struct keeper *k, int fd, bool is_subscribed);
/* What everybody should know: now, or when it is time. */
void keeper_tell(struct keeper *k);
void keeper_tell_growth(struct keeper *k);
void keeper_send_reports(struct keeper *k, uint64_t now);
/* When the next report is due. */
uint64_t keeper_next_report(const struct keeper *k);

/* keeper_end.c */
int keeper_write_identity(const struct keeper *k);
void keeper_end(struct keeper *k);
void keeper_save(struct keeper *k);
void keeper_clean_up(struct keeper *k);
