/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Looks at the system's processes, one after the other: at most one worker thread is busy with it, however many ask.
 * Each who asks gets a look that was begun afterwards; those who wait share one. */

#include <stddef.h>

#include "agent/base/error.h"
#include "agent/base/list.h"
#include "proc/system_snapshot.h"

struct loop;
struct system_processes;

/* Embedded in what its owner makes of a look. */
struct system_query {
        struct list link; /* ours, until @done */
        /* On a worker thread: may use @q and what it points to. Not called when the look failed. */
        void (*run)(struct system_query *q, const struct system_snapshot *s);
        /* Back on the loop, always and last: the query is its owner's again. @err is NULL, or why the look failed. */
        void (*done)(struct system_query *q, const struct error *err);
};

/* @collect, called on the loop when a look begins, adds the agent's own executions to @o. */
struct system_processes *system_processes_new(struct loop *l,
                                              void (*collect)(void *arg, struct system_owners *o),
                                              void *arg);
/* When nobody waits any more. */
struct system_processes *system_processes_free(struct system_processes *sp);

/* -EBUSY: LIMIT_PROCESS_LISTINGS wait already. @done is not called from inside, and not at all on failure. */
int system_processes_ask(struct system_processes *sp, struct system_query *q);
