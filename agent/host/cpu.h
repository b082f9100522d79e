/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Processors: how many may be used, and what they have done. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/host/cgroups.h"

#define HOST_MAX_CPUS 8192

struct host_cpus {
        uint64_t words[HOST_MAX_CPUS / 64]; /* a bit for each processor */
};

struct host_cpu_reading {
        uint64_t at_us;      /* monotonic; the caller's */
        uint64_t busy_ticks; /* of the processors that may be used, whoever used them */
        uint64_t total_ticks;
        uint64_t used_us;  /* by the cgroup that has the limit, or the container */
        size_t used_level; /* which one that is, counted from our own; with has_used */
        bool has_used;
        double cores;
        unsigned online;
};

/* The processors that the agent may run on; all, if the kernel will not say. */
void host_cpus_usable(struct host_cpus *ret);

/* Reads /proc/stat below @root, and the quotas of @groups. What cannot be read is zero, but there is a core at
 * least. */
void host_cpu_read(const char *root, const struct host_cgroups *groups,
                   const struct host_cpus *usable, struct host_cpu_reading *ret);
/* The share of the cores that was used between two readings, 0 to 100. */
double host_cpu_percent(const struct host_cpu_reading *before, const struct host_cpu_reading *now);
