/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The registry of background jobs: queues them, starts them in order when there is room, keeps what has ended for a
 * while, and finds everything again after a restart, however the agent ended.
 *
 *     QUEUED ──▶ RUNNING ──▶ COMPLETED | FAILED | KILLED | TIMED_OUT
 *        └────────────────────────▶ FAILED (it could not be started) | KILLED
 *
 * On the disk, below the state directory, of which the registry is the only user (it holds a lock):
 *     jobs/PROCESS_ID/job.json       what is known from the start; a directory without it was never accepted
 *     jobs/PROCESS_ID/program.json   what is to be run: the owner's document, which is not understood here
 *     jobs/PROCESS_ID/callback.json  the final state of its callback
 *     jobs/PROCESS_ID/error          why it could not be started
 *     jobs/PROCESS_ID/…              its keeper's files and logs: keeper_protocol.h, joblog.h
 *     scripts/EXECUTION_ID/          its source, removed at its end
 *
 * All writing is done by worker threads. Jobs are refcounted: one that was evicted stays valid, without its files, for
 * who has a reference. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/base/id.h"
#include "agent/base/list.h"
#include "proc/job_link.h"

struct job;
struct jobs;
struct supervisor;

enum job_phase {
        PHASE_QUEUED,
        PHASE_RUNNING,
        PHASE_COMPLETED, /* exit code 0 */
        PHASE_FAILED,
        PHASE_KILLED,
        PHASE_TIMED_OUT,
};

/* "queued", "running", "completed", "failed", "killed", "timeout" */
const char *job_phase_name(enum job_phase p);
static inline bool job_phase_is_final(enum job_phase p)
{
        return p > PHASE_RUNNING;
}

struct jobs_options {
        /* Looked at by jobs_new only, as are the next two. An absolute path; made if missing. */
        const char *state_dir;
        const char *shim;
        const char *keeper;
        uint64_t max_queued;
        uint64_t keep_ms;        /* what has ended for longer is evicted … */
        uint64_t max_kept;       /* … as are the oldest beyond this number … */
        uint64_t max_kept_bytes; /* … and beyond this size of all their logs */
        /* What lingers, or has a callback under way, neither goes nor counts. */
        uint64_t log_capacity;  /* bytes, of each stream of each job */
        uint64_t rich_max_size; /* of what each job displays */
        uint64_t rich_max_count;
        uint64_t max_memory; /* of one job; 0: no limit, as for the next two */
        uint64_t max_tasks;
        uint64_t max_files;
};

/* What the registry wants from its owner. All are called on the loop. */
struct jobs_ops {
        /* There is room for @job, whose turn it is: read its program (job_read_program), and call job_launch or
         * job_refuse, once, now or later. If the job is killed meanwhile both do nothing but remove its script. */
        void (*start)(void *arg, struct job *job);
        /* It has ended; before its watchers are told. Also, once after a restart, for each job that ended before it and
         * whose callback has no final state, or which could not be started and nobody had said why. Here the owner
         * says why a program could not be started (job_set_failure), and sees to the callback. Not for jobs that were
         * dropped before. */
        void (*on_end)(void *arg, struct job *job);
};

/* Opens the state directory, and reads what is there: the list is complete when this returns. -EBUSY: another agent
 * uses it. @s gives room, and kills nothing that is a keeper's; it is borrowed until jobs_close. */
int jobs_new(struct loop *l, struct supervisor *s, const struct jobs_options *o,
             const struct jobs_ops *ops, void *arg, struct jobs **ret, struct error *err);
/* Copies what may change at run time. Jobs that run keep what they have. */
void jobs_set_options(struct jobs *j, const struct jobs_options *o);
/* Lets go of everything: starts nothing any more, and calls nobody but @on_closed(@arg), later, when no worker and no
 * handle is left; and before that those who are still owed an on_added or the done of a job_read_program, because they
 * have something to free. What runs goes on, what is queued waits for the next agent. Once. */
void jobs_close(struct jobs *j, void (*on_closed)(void *arg), void *arg);
/* After on_closed, or from it. Jobs that somebody has a reference to stay valid. Returns NULL. */
struct jobs *jobs_free(struct jobs *j);

/* --- accepting --- */

/* Strings are copied. */
struct job_new {
        const char *name;         /* NULL: none; what the client calls it */
        const char *language;     /* a constant of ours; NULL: a command */
        const char *command;      /* one line for people; cut after LIMIT_JOB_LABEL bytes */
        const char *callback_url; /* NULL: none */
        const char *repeat_id;    /* by which jobs_find_repeat finds it; NULL: by none */
        const char *repeat_body;  /* what job_repeat_body says; as the id, it outlives the agent */
        uint64_t timeout_ms;      /* 0: none */
        bool has_terminal;
        bool is_base64;        /* how its output is to be written where nobody says */
        bool ignores_tasks;    /* what job_ignores_tasks says */
        const json_t *program; /* an object; borrowed until @on_added; only read, by a worker */
};

/* Accepts a job: @on_added(@arg, job, NULL) is called later, once its files are written (then it survives the agent);
 * or @on_added(@arg, NULL, why). The job is borrowed, and queued: its start, if there is room, comes when @on_added has
 * returned (job_is_starting tells whether that will be at once). Nobody finds it before. 0, or -ENOBUFS: too many are
 * queued; -ESHUTDOWN: nothing is called. */
int jobs_add(struct jobs *j, const struct job_new *spec,
             void (*on_added)(void *arg, struct job *job, const struct error *err), void *arg,
             struct error *err);

/* --- starting: for the owner's start hook --- */

/* Reads program.json in a worker; @done(@arg, document or NULL, why) on the loop, which gets the document's reference.
 * After jobs_close it is called at once, with -ESHUTDOWN. */
void job_read_program(struct job *job,
                      void (*done)(void *arg, json_t *program, const struct error *err), void *arg);

struct job_launch {
        char *const *argv; /* as in struct job_options, and so are the others */
        const char *first;
        char *const *envp;
        const char *cwd;
        int input_fd;
        bool has_input;
        bool has_terminal;
        bool has_rich;
        struct pty_size size;
        uint64_t timeout_ms;
        uint64_t grace_ms;
        struct process_limits limits;
};

/* Everything is copied or used up when this returns. Failures end the job. */
void job_launch(struct job *job, const struct job_launch *o);

/* Why a program could not be started. @problem is the owner's number, 0: none; @field a JSON pointer or NULL. */
struct job_failure {
        int problem;
        const char *field;
        const char *message;
};

/* It cannot be started: it ends as PHASE_FAILED. */
void job_refuse(struct job *job, const struct job_failure *why);
/* In on_end: words for a spawn failure. Copied. */
void job_set_failure(struct job *job, const struct job_failure *why);

/* The directory in which the job's source is to be, or was; the parent exists and can be traversed by everybody. */
const char *jobs_script_root(const struct jobs *j);

/* --- what is known of a job; borrowed, as long as the job --- */

const char *job_process_id(const struct job *job); /* "proc_…" */
/* "exec_…", the marker in its environment, and its script's directory below jobs_script_root */
const char *job_execution_id(const struct job *job);
const char *job_name(const struct job *job);         /* "": none */
const char *job_language(const struct job *job);     /* NULL: a command */
const char *job_command(const struct job *job);      /* one line, cut */
const char *job_callback_url(const struct job *job); /* NULL: none */
const char *job_repeat_body(const struct job *job);  /* NULL: none */
uint64_t job_timeout_ms(const struct job *job);
bool job_has_terminal(const struct job *job);
bool job_is_base64(const struct job *job);
/* Its program asks for a limit that nothing sees to: that of processes. */
bool job_ignores_tasks(const struct job *job);
uint64_t job_order(const struct job *job); /* ascending, unique, also across restarts */
const char *job_dir(const struct job *job);

enum job_phase job_phase(const struct job *job);
/* It has room, and its owner or the kernel is starting it. */
bool job_is_starting(const struct job *job);
/* Something that it started is known to outlive it. */
bool job_is_lingering(const struct job *job);
/* Evicted or dropped: its files are gone or going. */
bool job_is_gone(const struct job *job);
int64_t job_queued_ms(const struct job *job); /* Unix time, as the next two; 0: not yet */
int64_t job_started_ms(const struct job *job);
int64_t job_ended_ms(const struct job *job);
pid_t job_pid(const struct job *job);              /* 0: never started, or not yet */
const uint64_t *job_totals(const struct job *job); /* bytes of stdout and stderr, as far as known */
/* NULL unless the phase is final. Queued ones that were killed have reason KEEPER_KILLED, exit code 143,
 * and neither a signal nor a started_ms. */
const struct job_status *job_result(const struct job *job);
/* Why it could not be started, or NULL. */
const struct job_failure *job_failure(const struct job *job);

/* --- its callback, whose state is the owner's --- */

/* NULL: nothing is known yet. */
const json_t *job_callback(const struct job *job);
/* Takes @state. Final: there will be no other; it is written down, and the job may be evicted. */
void job_set_callback(struct job *job, json_t *state, bool is_final);
bool job_callback_is_final(const struct job *job);

/* --- doing --- */

struct job *job_ref(struct job *job);
struct job *job_unref(struct job *job); /* returns NULL */

/* Ends the whole tree, also what lingers. A queued job is never started from now on, and ends once that is on the disk;
 * so the next agent does not start it either. */
void job_kill(struct job *job, uint32_t grace_ms);
/* As in job_link.h, also job_resize; -ESRCH / -EPIPE while it is queued, too. */
int job_signal(struct job *job, int signum);
int job_write(struct job *job, const void *data, size_t size);
int job_close_input(struct job *job);
int job_resize(struct job *job, const struct pty_size *size);
/* Forgets it and removes its files, after its end: as if it had never been. */
void job_drop(struct job *job);

/* Who wants to know. Embedded in the watcher's object, which removes it before it goes (also from inside a callback).
 * It does not keep the job, and is removed with it. Called on the loop, never from inside a function of this header.
 * Any may be NULL. */
struct job_watch {
        struct list link;
        void (*on_change)(struct job_watch *w, struct job *job); /* of phase; or gone */
        void (*on_grown)(struct job_watch *w, struct job *job);
        void (*on_input_drained)(struct job_watch *w, struct job *job);
};

void job_watch_add(struct job *job, struct job_watch *w);
/* Harmless for one that is zeroed or was removed. */
void job_watch_remove(struct job_watch *w);

/* --- finding --- */

/* By process_id or execution_id. Borrowed, or NULL. */
struct job *jobs_find(struct jobs *j, const char *id);
/* The one that was accepted with that repeat_id, and is known: as jobs_find. */
struct job *jobs_find_repeat(struct jobs *j, const char *id);
/* The one that @pid leads and that has not ended. */
struct job *jobs_find_leader(struct jobs *j, pid_t pid);
/* Newest first; NULL at the end. */
struct job *jobs_newest(struct jobs *j);
struct job *jobs_older(struct job *job);
size_t jobs_n_queued(const struct jobs *j);
size_t jobs_n_running(const struct jobs *j); /* starting, running, lingering */
size_t jobs_n_known(const struct jobs *j);
/* Callbacks that are still to be delivered, or to be given up: of jobs in any phase. */
size_t jobs_n_callbacks(const struct jobs *j);
bool jobs_has_keeper(const struct jobs *j, pid_t pid);
