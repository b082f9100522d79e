/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by supervisor.c, supervisor_room.c (how many may run), supervisor_wards.c (children that are no executions),
 * supervisor_take_over.c (what a predecessor left), process.c (the life of one execution), process_stream.c (its
 * output), process_input.c (its input) and process_tree.c (what it started), and by system_owners.c, which lists them
 * all; nobody else looks inside. */

#include <sys/resource.h>

#include <uv.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/id.h"
#include "agent/base/list.h"
#include "agent/loop/gate.h"
#include "proc/cgroup.h"
#include "proc/process.h"
#include "proc/supervisor.h"
#include "proc/tree.h"

/* What is still owed before the object may go. */
enum {
        OWED_LEADER = 1 << 0, /* it has to be reaped */
        OWED_STDOUT = 1 << 1, /* the pipe's handle has to be closed */
        OWED_STDERR = 1 << 2,
        OWED_TREE = 1 << 3,  /* what the leader started has to end */
        OWED_TIMER = 1 << 4, /* the handle has to be closed */
        OWED_WATCH = 1 << 5, /* likewise, of the leaf's event file */
        OWED_WALK = 1 << 6,  /* a worker thread walks /proc for us */
        OWED_INPUT = 1 << 7, /* the handle has to be closed */
        OWED_RICH = 1 << 8,  /* likewise */
};

/* In order of force. */
enum kill_state { KILL_NONE, KILL_TERM, KILL_KILL };

/* What a walk over /proc is for. */
enum walk { WALK_NONE, WALK_COUNT, WALK_TERM, WALK_KILL };

/* As what it counts against max_processes. */
enum count { COUNT_NOT, COUNT_RUNNING, COUNT_LINGERING, N_COUNTS };

/* Among the streams: what comes beside the output. */
#define STREAM_RICH 2
#define N_STREAMS   3

struct process_stream {
        uv_poll_t poll;
        int fd;                /* read end of the pipe, or master of the terminal; -1: closed */
        unsigned owed;         /* OWED_STDOUT, OWED_STDERR or OWED_RICH */
        struct output *output; /* NULL: of STREAM_RICH, which is kept in the process */
        struct process *process;
};

/* What process_write feeds. */
struct process_input {
        uv_poll_t poll; /* active while something is queued */
        int fd; /* write end of the pipe, or a second descriptor of the master; -1: none, or closed */
        struct buf queue;
        size_t n_written; /* bytes at the start of the queue that are done with */
        bool is_ending;   /* to be closed when the queue is empty */
};

struct process {
        unsigned refs;
        struct supervisor *supervisor; /* a reference: its budget outlives our output */
        bool is_gone;                  /* the supervisor has let go */
        struct list link;              /* supervisor->processes */
        struct list pid_link;          /* supervisor->pids[…]; until reaped */
        struct gate gate;

        char id[ID_SIZE];
        pid_t pid;
        int status_fd;
        uint64_t started_us;
        uint64_t grace_ms;
        uint64_t max_written; /* of one stream; 0: no limit */
        uint64_t max_rich_written;
        struct process_stream streams[N_STREAMS]; /* by enum process_channel, and STREAM_RICH */
        struct rich *rich;                        /* NULL: there is none */
        struct process_input input;
        bool is_terminal; /* streams[0] and input are the two directions of a terminal */
        bool is_live;     /* output is handed over, or nobody wants it: in no case kept */
        bool is_paused;   /* nobody takes output at the moment */
        int term_signal;

        uv_timer_t
                timer; /* deadline, then grace or drain, then the answer's own deadline, or the look at the tree */
        struct clock_deadline due;
        uv_poll_t watch; /* cgroup.events of the leaf, while it outlives the leader */
        int watch_fd;
        struct cgroup_leaf leaf;
        struct cgroup_usage usage;
        struct process_limits_plan limits;
        bool is_tree_unchecked; /* nobody has looked yet whether something outlives the leader */
        bool has_survivors;     /* something is known to have outlived the leader */
        enum walk walk_wanted;  /* when the running one has ended */

        enum kill_state kill_state;
        bool was_termed;             /* it got SIGTERM and a chance to exit on its own */
        enum end_reason kill_reason; /* what the result will say, if the leader dies of it */
        int wait_status;
        struct rusage rusage;
        bool has_ended;
        struct process_result result;
        enum count counted_as;

        void (*on_end)(struct process *p, void *arg);
        void (*on_output)(struct process *p, enum process_channel from, const char *data,
                          size_t size, void *arg);
        void (*on_input_drained)(struct process *p, void *arg);
        void *arg;
};

#define N_PID_BUCKETS 256
#define READ_SIZE     (64 * KIB)

struct supervisor {
        unsigned refs; /* the owner's, and one of each process object */
        struct loop *loop;
        struct supervisor_options options; /* strings are owned copies */
        struct credentials *user;
        struct cgroup *cgroup; /* NULL: trees are found by walking */
        struct output_budget budget;

        struct list processes;
        struct list pids[N_PID_BUCKETS];
        struct list spared[N_PID_BUCKETS];
        size_t n_spared;
        struct list wards[N_PID_BUCKETS];
        size_t n_wards;
        char *instance;      /* "NAME=value" for the environment of what we start; NULL: none */
        int runtime_lock_fd; /* says that we use the runtime directory; -1: none */
        uint64_t n_counted[N_COUNTS];
        uint64_t n_started;
        uint64_t n_failed;
        uint64_t n_rooms;    /* taken by others */
        bool is_room_wanted; /* somebody was refused one */
        void (*on_room)(void *arg);
        void *on_room_arg;
        uv_timer_t room; /* active while on_room is owed */

        struct gate gate; /* the handles */
        uv_signal_t sigchld;
        uv_timer_t rescan;
        bool is_closing;
        bool is_sweeping;    /* a worker thread kills what has escaped its tree … */
        pid_t *sweep_spared; /* … but not these */
        size_t n_sweep_spared;
        void (*on_closed)(void *arg);
        void *arg;

        char list_buffer[READ_SIZE]; /* for the kernel's list of our children */
        char read_buffer[READ_SIZE]; /* everybody's, until what was read has been handed over */
};

static inline bool process_owes(const struct process *p, unsigned bits)
{
        return gate_is_pending(&p->gate, bits);
}

/* process_start.c */
int process_new(struct supervisor *s, const struct process_options *o, struct process **ret,
                struct error *err);

/* process.c */
void process_free(struct process *p);
void process_on_gone(struct gate *g);
void process_start_timer(struct process *p, uint64_t ms);
void process_on_reaped(struct process *p, int status, const struct rusage *usage);
/* SIGKILL for the tree. Never calls on_end. */
void process_kill_now(struct process *p, enum end_reason reason);
/* Takes the next step after something has happened. May call on_end, so it comes last. */
void process_advance(struct process *p);

/* process_stream.c */
int process_stream_open(struct process_stream *s, int *ret_write_fd);
int process_stream_start(struct process_stream *s, struct process *p, unsigned owed);
/* Reads what is in the pipe at this moment, paused or not. May call on_output. */
void process_stream_drain(struct process_stream *s);
/* After is_paused or has_ended has changed. */
void process_stream_update(struct process_stream *s);
void process_stream_close(struct process_stream *s);

/* process_input.c */
int process_input_open(struct process_input *in, int *ret_read_fd);
int process_input_start(struct process *p);
/* Drops what is queued; harmless when it was closed before. */
void process_input_close(struct process *p);

/* process_tree.c */
void process_tree_terminate(struct process *p);
void process_tree_kill(struct process *p);
/* After the leader was reaped: finds out whether something outlives it, and if so keeps watching. OWED_TREE is
 * done now or later; in the latter case process_advance is called. */
void process_tree_check(struct process *p);
/* Refreshes p->usage while there is a leaf to ask. */
void process_tree_account(struct process *p);

/* supervisor_room.c */
void supervisor_room_init(struct supervisor *s);
/* Whether as many run as may. */
bool supervisor_is_full(const struct supervisor *s);
/* Whether an execution may start. */
bool supervisor_has_room(const struct supervisor *s);
/* After something has ended, or the limit was changed; @was_full: there was no room before. */
void supervisor_room_changed(struct supervisor *s, bool was_full);

/* supervisor_wards.c */
void supervisor_wards_init(struct supervisor *s);
void supervisor_wards_free(struct supervisor *s);
/* @pid was reaped. False: it is neither spared nor guarded. */
bool supervisor_ward_died(struct supervisor *s, pid_t pid, int status);
/* Whether we have children that are nobody's leader, and not spared. If not, no tree outlives its leader: the first of
 * those who do would be our child. */
bool supervisor_has_orphans(struct supervisor *s);
/* Puts down who is spared by the sweep of supervisor_close. */
void supervisor_wards_spare_from_sweep(struct supervisor *s);

/* supervisor.c */
struct supervisor *supervisor_ref(struct supervisor *s);
struct supervisor *supervisor_unref(struct supervisor *s);
void supervisor_count_as(struct supervisor *s, struct process *p, enum count as);
void supervisor_add(struct supervisor *s, struct process *p);
void supervisor_forget(struct supervisor *s, struct process *p);
/* Something died, or refused to: look at the remaining trees again, soon. */
void supervisor_rescan(struct supervisor *s);
