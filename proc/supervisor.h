/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All processes of the agent: starts them, reaps them, bounds their number, and leaves none behind. */

#include <stdint.h>

#include "agent/loop/loop.h"
#include "proc/process.h"

/* Positive outcomes of supervisor_start. */
#define SUPERVISOR_E_LIMIT  1 /* max_processes are running or lingering */
#define SUPERVISOR_E_CLOSED 2 /* shutting down */

struct supervisor_options {
        const char *shim;        /* path of agent-shim */
        const char *runtime_dir; /* exists; scripts and such live under it */
        const char *run_as;      /* NULL: the agent's user */
        bool use_cgroups;        /* where possible */
        uint64_t max_processes;
        uint64_t max_output;
        uint64_t max_output_total;
        uint64_t max_discard;
        bool keep_tail;
        uint64_t max_memory;
        uint64_t max_tasks;
        uint64_t max_files; /* the children's soft RLIMIT_NOFILE; 0: the agent's own */
};

struct supervisor_counts {
        uint64_t running;
        uint64_t lingering;
        uint64_t started; /* since the agent started */
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

/* Who the children run as. */
const struct credentials *supervisor_user(const struct supervisor *s);
const char *supervisor_runtime_dir(const struct supervisor *s);
/* "cgroup" or "subreaper": how trees are found. */
const char *supervisor_tracking(const struct supervisor *s);
void supervisor_count(const struct supervisor *s, struct supervisor_counts *ret);

/* Refuses new processes, kills everything, lingering trees included, and calls @on_closed when all are reaped
 * and all handles are closed; the supervisor is freed right after @on_closed returns. */
void supervisor_close(struct supervisor *s, void (*on_closed)(void *arg), void *arg);
