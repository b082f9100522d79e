/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an execution has used: by its cgroup, which knows all that it started, and for what the cgroup does not tell, by
 * what the kernel says of the leader and of those that it has waited for. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "proc/cgroup.h"

/* 0 means that it is not known, but where user time or system time is, the other may be none. */
struct usage {
        uint64_t
                cpu_us; /* the sum of the next two; known alone where an older keeper has told it */
        uint64_t user_us;
        uint64_t system_us;
        uint64_t
                max_rss; /* bytes: peak of the tree with a memory controller, else of the largest process */
        bool has_io;
        uint64_t read_bytes; /* from disks, with has_io, as the next one */
        uint64_t written_bytes;
        uint64_t peak_tasks;    /* processes and threads at once */
        uint64_t refused_tasks; /* that max_tasks was in the way of */
};

/* @leaf: zeros without a cgroup. @leader: NULL when it has not been reaped. */
void usage_compute(const struct cgroup_usage *leaf, const struct rusage *leader, struct usage *ret);
/* Of the leader and of those that it has waited for. */
uint64_t usage_cpu_us(const struct rusage *leader);
