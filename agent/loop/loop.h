/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The one event loop. */

#include <stdint.h>

#include <uv.h>

#include "agent/base/histogram.h"

/* Ticks whose lag is remembered. */
#define LOOP_LAGS 4

struct loop {
        uv_loop_t uv;
        uv_timer_t lag_timer;
        uint64_t lag_expected_us;
        uint64_t lag_ms;     /* how late the last tick was */
        uint64_t lag_max_ms; /* the worst since the start */
        uint64_t lags_ms[LOOP_LAGS];
        unsigned n_lags;      /* ticks so far */
        struct histogram lag; /* of all ticks, us */
        unsigned n_jobs;      /* that workers have, or wait for one */
        uint64_t paused_us;   /* until the last tick */
        uint64_t used_us;     /* of the processor until then, by this thread */
        void (*on_tick)(void *arg);
        void *tick_arg;
};

int loop_init(struct loop *l);
/* Runs until nothing is left to wait for, or loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* @fn(@arg) is called several times a second while the loop runs: one timer for all that has to look around. */
void loop_on_tick(struct loop *l, void (*fn)(void *arg), void *arg);
/* Closes the loop's own handles, runs what is left of closing, and closes the loop. Returns -EBUSY, and logs
 * each handle at error level, when somebody left one open: that is a bug. */
int loop_close(struct loop *l);
