/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Is the agent fit for work? What that takes is tried out while somebody asks, and only then: an agent that nobody asks
 * does not wake up for it. Who asks never waits, but is told what the latest trial has shown. */

#include <stdbool.h>
#include <stdint.h>

struct health;
struct loop;
struct supervisor;

enum health_check {
        HEALTH_LOOP,      /* the loop comes to its events in time */
        HEALTH_STATE_DIR, /* a file can be written there */
        HEALTH_SPAWN,     /* a program can be started */
        N_HEALTH_CHECKS,
};

enum health_status { HEALTH_OK, HEALTH_FAILED, HEALTH_PENDING /* was never tried */ };

struct health_verdict {
        enum health_status status;
        char error[256];       /* why it has failed: a part of a sentence; else "" */
        int64_t checked_at_ms; /* since the epoch; 0: never */
};

/* Starts the first trials. @state_dir is copied; the others must live until health_close. */
struct health *health_new(struct loop *l, struct supervisor *s, const char *state_dir);
/* No more trials; a program that is being tried is killed. Before the supervisor is closed. */
void health_close(struct health *h);
/* When the loop has ended, and with it what is done on worker threads. */
struct health *health_free(struct health *h); /* returns NULL */

/* Starts what trials are due. Whether all is well, by what is known now: what was never tried counts as well. */
bool health_ask(struct health *h);
void health_verdict(const struct health *h, enum health_check which, struct health_verdict *ret);
/* What has failed, one sentence for all, like "spawn: cannot execute a program: …; …"; "" when all is well. */
const char *health_problem(struct health *h);
const char *health_check_name(enum health_check which);

/* Worst lag that came at least twice among the loop's latest ticks, in milliseconds: what HEALTH_LOOP goes by. */
uint64_t health_lag_ms(const struct health *h);

/* The loop turns, but what ought to happen on it does not: children die, and we do not get to know. Only a new process
 * helps, so the watchdog is better not fed. */
bool health_is_wedged(const struct health *h);
