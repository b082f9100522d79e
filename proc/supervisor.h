/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All processes of the agent: starts them, reaps them, bounds their number, and leaves none behind. */

#include <stdint.h>

#include "agent/base/list.h"
#include "agent/loop/loop.h"
#include "proc/process.h"

/* Positive outcomes of supervisor_start. */
#define SUPERVISOR_E_LIMIT  1 /* max_processes are running or lingering, rooms included */
#define SUPERVISOR_E_CLOSED 2 /* shutting down */

struct cgroup;

struct supervisor_options {
        const char *shim;        /* path of agent-shim */
        const char *runtime_dir; /* exists; scripts and such live under it */
        const char *run_as;      /* NULL: the agent's user */
        bool use_cgroups;        /* where possible */
        uint64_t max_processes;
        uint64_t max_output;
        uint64_t max_output_total;
        uint64_t max_discard;
        uint64_t rich_max_size; /* of what one execution displays */
        uint64_t rich_max_count;
        bool keep_tail;
        uint64_t max_memory;
        uint64_t max_tasks;
        uint64_t max_files; /* the children's soft RLIMIT_NOFILE; 0: the agent's own */
};

struct supervisor_counts {
        uint64_t running;
        uint64_t lingering;
        uint64_t jobs;    /* rooms that are taken by others */
        uint64_t started; /* since the agent started */
        uint64_t failed;  /* starts for which the system had no process, memory or descriptor */
};

/* Becomes a subreaper, prepares the cgroup (kills what a crashed predecessor left), watches SIGCHLD. */
int supervisor_new(struct loop *l, const struct supervisor_options *o, struct supervisor **ret,
                   struct error *err);
/* Copies what may change at run time (limits). */
void supervisor_set_limits(struct supervisor *s, const struct supervisor_options *o);

/* 0, a SUPERVISOR_E_* outcome, or a negative errno (nothing was started; err says why). That the program
 * itself could not be executed is no error here but a result with END_SPAWN. *ret is borrowed: valid until
 * on_end returns; take a reference to keep it longer. */
int supervisor_start(struct supervisor *s, const struct process_options *o, struct process **ret,
                     struct error *err);

/* Ends what an agent that was killed has left of its executions and terminals, in a cgroup or not, and sees to it that
 * a successor can do the same; and removes its files from the runtime directory, unless other agents use that, too.
 * @state_dir is locked: nobody uses it but us. To be called once, before anything is started. It takes some
 * milliseconds: one look at /proc. What cannot be done is logged: no reason not to start. */
void supervisor_take_over(struct supervisor *s, const char *state_dir);

/* @pid is a child of ours that outlives us: a keeper. Neither it nor what descends from it is an orphan of an
 * execution, and supervisor_close leaves them alone. To be called in the turn of the loop in which it was started; it
 * ends by itself when the child has died. */
void supervisor_spare(struct supervisor *s, pid_t pid);

/* A child of ours that is no execution, or not yet: it counts nowhere and is not looked at as a part of anything.
 * Embedded in an object of its owner's. supervisor_close waits until there is none any more; its owner has to end
 * it. */
struct supervisor_ward {
        struct list link; /* supervisor->wards[…]; on no list: not guarded */
        pid_t pid;
        /* It has been reaped, with @status as of wait(2), and is not guarded any more. */
        void (*on_death)(struct supervisor_ward *w, int status);
};

/* To be called in the turn of the loop in which the child was started. -ECHILD: @w->pid is no child of ours, or one
 * that we know as something else. */
int supervisor_guard(struct supervisor *s, struct supervisor_ward *w);
/* Before the child becomes an execution. Harmless when it is not guarded. */
void supervisor_release(struct supervisor *s, struct supervisor_ward *w);

/* Room among max_processes for something that somebody else runs. False: there is none, or the end has begun. */
bool supervisor_take_room(struct supervisor *s);
void supervisor_give_room(struct supervisor *s);
/* What runs already, found again: it counts, room or not. */
void supervisor_force_room(struct supervisor *s);
/* @fn(@arg) is called, always from the loop and never from inside a function of this header, when there is room again
 * after supervisor_take_room was refused, or after all was taken. A room for who was refused is kept free until then,
 * so that a crowd of executions cannot keep it out. NULL: nobody. */
void supervisor_on_room(struct supervisor *s, void (*fn)(void *arg), void *arg);

/* By its id, or by the pid of its leader (as long as that is its own); borrowed, or NULL. */
struct process *supervisor_find(struct supervisor *s, const char *id);
struct process *supervisor_find_leader(struct supervisor *s, pid_t pid);

/* Who the children run as, and where their cgroups are (NULL: nowhere). */
struct cgroup *supervisor_cgroup(const struct supervisor *s);
const struct credentials *supervisor_user(const struct supervisor *s);
/* Whom a child has to become; NULL: it stays who the agent is. Then nothing is to be changed, nor may most agents. */
const struct credentials *supervisor_other_user(const struct supervisor *s);
const char *supervisor_runtime_dir(const struct supervisor *s);
/* Who sees to the limits of an execution that is asked for with @asked. */
void supervisor_plan_limits(const struct supervisor *s, const struct process_limits *asked,
                            struct process_limits_plan *ret);
/* "cgroup" or "subreaper": how trees are found. */
const char *supervisor_tracking(const struct supervisor *s);
void supervisor_count(const struct supervisor *s, struct supervisor_counts *ret);

/* Refuses new processes, kills everything but what is spared, lingering trees included, and calls @on_closed when all
 * are reaped and all handles are closed; the supervisor is freed right after @on_closed returns. */
void supervisor_close(struct supervisor *s, void (*on_closed)(void *arg), void *arg);
