/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Does starting a program work? A trial starts the smallest one there is, true(1), by the way that all executions take:
 * a leaf of the cgroup tree, the shim, the user whom executions run as, exec. It counts nowhere. */

#include <stdbool.h>

#include "agent/base/error.h"
#include "proc/cgroup.h"
#include "proc/supervisor.h"

struct trial {
        struct supervisor *supervisor;
        struct supervisor_ward ward;
        struct cgroup_leaf leaf;
        int status_fd;
        bool is_running;
        bool was_killed;
        /* From the loop, never from inside a function of this header. @err: what went wrong, as a part of a sentence;
         * NULL: it works. */
        void (*on_end)(struct trial *t, const struct error *err);
};

/* @t is zeroed memory of the caller's, but for its on_end. */
void trial_init(struct trial *t, struct supervisor *s);
/* Negative errno: not even the shim could be started, and on_end will not be called. */
int trial_start(struct trial *t, struct error *err);
/* The program has ended and is still a zombie: we were not told, or did not listen. */
bool trial_is_unheard(const struct trial *t);
/* Its end then comes soon. Harmless when none is running. */
void trial_kill(struct trial *t);
/* Before the supervisor is closed, which waits for the program's end. No other trial may be started. */
void trial_close(struct trial *t);
