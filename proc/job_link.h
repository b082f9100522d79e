/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's side of one background job: starting it with a keeper of its own (agent-keeper), or finding the keeper
 * that a predecessor has started; and talking to it. What they say to each other stands in keeper_protocol.h, what is
 * in the logs in joblog.h.
 *
 * A job belongs to its keeper, not to the agent: freeing the link, or dying, leaves it alone.
 *
 * What blocks the loop: the files that are read when connecting and at the end have a few hundred bytes and have been
 * written a moment ago, so they are read inline; that is one open and one read, some 10 µs unless the disk has just
 * that moment a problem. Starting costs as much as a spawn, 0.2 to 0.4 ms. Nothing is written to disk here but by a
 * worker thread, when a keeper has been lost. The keeper is an ordinary child of the agent as long as both live:
 * whoever waits for children reaps it, and nothing needs its exit status. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/error.h"
#include "proc/keeper_protocol.h"
#include "proc/pty.h"
#include "proc/spawn.h"
#include "proc/usage.h"

struct cgroup;
struct job_link;
struct loop;

/* Positive outcome of job_link_write. */
#define JOB_LINK_E_QUEUED 1 /* taken; but give no more until on_input_drained */

enum job_state {
        JOB_STARTING, /* or being connected */
        JOB_RUNNING,
        JOB_ENDED,
        JOB_LOST, /* the keeper died without a word; what it kept was killed */
};

/* What the status file says. */
struct job_status {
        enum keeper_reason reason;
        int exit_code;
        int signal;
        struct spawn_failure failure;
        int64_t started_ms; /* Unix time */
        int64_t ended_ms;
        uint64_t duration_us;
        struct usage usage;
        uint64_t totals[2]; /* stdout, stderr */
        uint64_t dropped[2];
        uint64_t rich_size; /* of KEEPER_RICH */
};

/* What the keeper file says. */
struct job_identity {
        pid_t pid; /* of the keeper */
        uint64_t start;
        pid_t leader; /* 0: none */
        uint64_t leader_start;
        int64_t started_ms;
        bool has_terminal;
        bool is_of_this_boot;
        struct cgroup_limits limits; /* of the leaf, as it was made */
        char leaf[4096];             /* "": none */
};

/* Where all jobs live. Borrowed by links until they are freed. */
struct job_host {
        struct loop *loop;
        const char *shim;
        const char *keeper;
        const struct credentials *user; /* NULL: the agent's own */
        struct cgroup *cgroup;          /* NULL: none */
        uint64_t max_memory;            /* 0: no limit, as in all that follow */
        uint64_t max_tasks;
        uint64_t max_files; /* soft limit */
};

/* All are called on the loop, never from inside a function of this header; all may be NULL; each may call everything
 * here, job_link_free too. */
struct job_callbacks {
        void (*on_started)(struct job_link *l, pid_t pid, void *arg);
        /* More output is in the logs: the totals of stdout and stderr. Not for each write. */
        void (*on_grown)(struct job_link *l, const uint64_t totals[2], void *arg);
        /* What job_link_write had to queue is on its way, or nobody will read it any more. */
        void (*on_input_drained)(struct job_link *l, void *arg);
        /* Once, in any case, unless the link is freed before. The logs are complete. */
        void (*on_end)(struct job_link *l, const struct job_status *status, void *arg);
        /* After the end: nothing that the job left running lives any more, and nobody uses its directory. */
        void (*on_gone)(struct job_link *l, void *arg);
};

struct job_options {
        /* All are copied or used up before job_link_start returns. */
        const char *dir; /* absolute; made with mode 0700 if it does not exist */
        const char *
                id; /* a file name below ID_SIZE: the marker in the environment, and the name of the cgroup */
        char *const *argv;
        const char *first; /* as in struct spawn_spec */
        char *const *envp; /* without the marker */
        const char *cwd;
        /* They can only lower the host's. */
        struct process_limits limits;
        int input_fd;      /* stdin, borrowed; -1: /dev/null */
        bool has_input;    /* a pipe instead, for job_link_write */
        bool has_terminal; /* instead of pipes, with @size */
        struct pty_size size;
        bool merge_stderr;
        bool has_rich; /* descriptor DRIVER_RICH_FD is a pipe, and what comes through it is kept */
        uint64_t timeout_ms;   /* 0: none. Enforced by the keeper */
        uint64_t grace_ms;     /* between term_signal and SIGKILL at the deadline */
        int term_signal;       /* 0: SIGTERM */
        uint64_t log_capacity; /* of each stream */
        uint64_t rich_max_size;
};

/* Starts a job. That the program itself cannot be executed, or its files cannot be made, is no error here but an end
 * with KEEPER_SPAWN. -EBUSY: there is a job in that directory. On failure nothing runs. */
int job_link_start(const struct job_host *h, const struct job_options *o,
                   const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                   struct error *err);
/* Finds the job @id in @dir, in whatever state it is; what that is comes by callback. */
int job_link_connect(const struct job_host *h, const char *dir, const char *id,
                     const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                     struct error *err);
/* Calls nobody any more. The job goes on. Returns NULL. */
struct job_link *job_link_free(struct job_link *l);

enum job_state job_link_state(const struct job_link *l);
/* The leader; 0 before it is known. */
pid_t job_link_pid(const struct job_link *l);
/* The keeper; 0 when unknown. */
pid_t job_link_keeper_pid(const struct job_link *l);
bool job_link_has_terminal(const struct job_link *l);
/* Something that the job started is known to outlive it. */
bool job_link_is_lingering(const struct job_link *l);
const uint64_t *job_link_totals(const struct job_link *l); /* [2], as far as known */
/* Valid once ended or lost. */
const struct job_status *job_link_status(const struct job_link *l);

/* Ends the whole tree: term_signal, and after @grace_ms SIGKILL; 0: at once. @reason: KEEPER_KILLED or KEEPER_TIMEOUT.
 * Also what lingers after the end. Harmless when it is late. When too many commands wait already, they give way to
 * this one. */
void job_link_kill(struct job_link *l, enum keeper_reason reason, uint32_t grace_ms);
/* To the leader's process group or the terminal's foreground group. -ESRCH: ended. -EINVAL: no such signal. -ENOBUFS:
 * the keeper has not taken what came before; try again. */
int job_link_signal(struct job_link *l, int signum);
/* To stdin, or the terminal. 0; JOB_LINK_E_QUEUED; -EPIPE: nobody reads; -ENOBUFS: more than LIMIT_INPUT_QUEUE would
 * wait, nothing was taken; -ENOMEM. */
int job_link_write(struct job_link *l, const void *data, size_t size);
/* The end of stdin, behind what is queued; for a terminal its end-of-file character. 0; JOB_LINK_E_QUEUED; -EPIPE. */
int job_link_close_input(struct job_link *l);
/* -ENOTTY; -EPIPE: ended; -EINVAL: no sane size; -ENOBUFS: as for a signal. */
int job_link_resize(struct job_link *l, const struct pty_size *size);

/* The files by themselves. -ENOENT; -EBADMSG. */
int job_status_read(int dir_fd, struct job_status *ret);
/* Where no keeper has, or ever will: it would use the same names. A negative errno: nothing was written. */
int job_status_write(int dir_fd, const struct job_status *s);
int job_identity_read(int dir_fd, struct job_identity *ret);
const char *job_reason_name(enum keeper_reason reason);
