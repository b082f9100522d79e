/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How late and how busy the loop is, without the loop's own types: for those who only report it. */

#include <stdint.h>

struct histogram;
struct loop;

uint64_t loop_lag_ms(const struct loop *l);     /* of the last tick */
uint64_t loop_lag_max_ms(const struct loop *l); /* the worst since the start */
/* Of all ticks, four a second, us. */
const struct histogram *loop_lag_histogram(const struct loop *l);
/* Work that the thread pool has, or that waits for it. */
unsigned loop_n_jobs(const struct loop *l);
/* The second worst of the latest LOOP_LAGS ticks, about a second: one that is over has no say here. */
uint64_t loop_lag_repeated_ms(const struct loop *l);
