/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Finding and ending what an execution started where there are no cgroups: a walk over /proc. It takes
 * milliseconds, so it belongs on a worker thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/base/id.h"

enum tree_kind {
        TREE_OF_LEADER,   /* what @leader has started, itself included */
        TREE_OF_INSTANCE, /* what the agents of an instance have started, whoever of them lives */
        TREE_OF_THIS_AGENT, /* all descendants of this process, whoever started them, but for @spared */
};

struct tree_target {
        enum tree_kind kind;
        pid_t leader;
        bool leader_is_gone; /* it was reaped: its number may belong to somebody else */
        char marker
                [ID_SIZE]; /* value of TREE_MARKER, or of TREE_INSTANCE, in the members' environment */
        const pid_t *
                spared; /* children of this process that are left alone, with all they have started */
        size_t n_spared;
};

#define TREE_MARKER   "VM_AGENT_EXECUTION_ID"
#define TREE_INSTANCE "VM_AGENT_INSTANCE"

/* The variables @envp with @markers ("NAME=value", NULL at the end) instead of what it has of such: a program may have
 * handed its own environment to another one that it wants to be started. An array that owns nothing but itself. */
char **tree_mark(char *const *envp, char *const *markers);

/* How many members live; zombies do not. */
unsigned tree_count(const struct tree_target *t);
/* SIGTERM or such to each member, and SIGCONT so that stopped ones notice. */
void tree_signal(const struct tree_target *t, int sig);
/* SIGKILL in rounds until no member is left, but not forever. Returns how many were left. */
unsigned tree_kill(const struct tree_target *t);
