/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which of the system's processes are the agent's, and of which execution. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/base/id.h"

struct jobs;
struct supervisor;
struct system_process;

/* One execution. */
struct system_owner {
        char execution_id[ID_SIZE];
        char process_id[ID_SIZE]; /* the same where there is no background job */
        const char *status;       /* a constant, such as "running" or "lingering" */
        pid_t leader;             /* 0: unknown */
        bool leader_is_gone;      /* it was reaped: its number may belong to somebody else */
};

struct system_owners {
        struct system_owner *v;
        size_t n;
        size_t capacity;
};

/* On the loop's thread; either id may be the marker in the environment. */
void system_owners_add(struct system_owners *o, const char *execution_id, const char *process_id,
                       const char *status, pid_t leader, bool leader_is_gone);
/* All that a supervisor has. */
void system_owners_add_supervised(struct system_owners *o, const struct supervisor *s);
/* All background jobs of which something lives, their keepers included. */
void system_owners_add_jobs(struct system_owners *o, struct jobs *j);
void system_owners_done(struct system_owners *o);

/* For who marks. Sorting comes before everything else, and no owner is added after it. */
void system_owners_sort(struct system_owners *o);
/* The one that @pid leads, or led if nobody else does; or NULL. */
const struct system_owner *system_owners_by_leader(const struct system_owners *o, pid_t pid);

/* Sets the owner of each of @v, which are sorted by pid and have none: the leaders, their sessions, who carries the
 * marker in its environment (TREE_MARKER), and all descendants of these. Reads /proc; for a worker thread. */
void system_owners_mark(const struct system_owners *o, struct system_process *v, size_t n);
