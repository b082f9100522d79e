/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shares of processor time since the last look, without waiting: what the looks before have seen is kept. Of a
 * process that none of them has seen it is the share since its start. For one thread at a time. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/macros.h"

/* The kernel counts in ticks of some 10 ms: over less time than this a share would be noise. When two looks
 * follow each other faster, the later one reaches back further. */
#define SYSTEM_CPU_INTERVAL_US 500000

struct system_cpu;

/* One process in one look. */
struct system_cpu_sample {
        pid_t pid;
        uint64_t start_us; /* tells a process from its successor with the same number */
        uint64_t cpu_us;
        uint64_t taken_us; /* monotonic */
};

struct system_cpu *system_cpu_new(void);
struct system_cpu *system_cpu_free(struct system_cpu *c);
DEFINE_CLEANUP(struct system_cpu *, system_cpu_free)

/* Begins a look at @now_us (monotonic). Returns the time of the look that shares refer to; 0: there is none. */
uint64_t system_cpu_begin(struct system_cpu *c, uint64_t now_us);
/* The share in percent; 100 is one processor. @age_us: since the process started. */
double system_cpu_share(const struct system_cpu *c, const struct system_cpu_sample *s,
                        uint64_t age_us);
/* Ends the look: @samples, sorted by pid, become what later ones refer to. */
void system_cpu_end(struct system_cpu *c, const struct system_cpu_sample *samples, size_t n);
