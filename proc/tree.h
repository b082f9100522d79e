/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Finding and ending what an execution started where there are no cgroups: a walk over /proc. It takes
 * milliseconds, so it belongs on a worker thread. */

#include <stdbool.h>
#include <sys/types.h>

#include "agent/base/id.h"

struct tree_target {
        pid_t leader;         /* 0: all descendants of this process, whoever started them */
        bool leader_is_gone;  /* it was reaped: its number may belong to somebody else */
        char marker[ID_SIZE]; /* value of TREE_MARKER in the members' environment */
};

#define TREE_MARKER "VM_AGENT_EXECUTION_ID"

/* How many members live; zombies do not. */
unsigned tree_count(const struct tree_target *t);
/* SIGTERM or such to each member, and SIGCONT so that stopped ones notice. */
void tree_signal(const struct tree_target *t, int sig);
/* SIGKILL in rounds until no member is left, but not forever. Returns how many were left. */
unsigned tree_kill(const struct tree_target *t);
