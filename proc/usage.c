/* SPDX-License-Identifier: Apache-2.0 */

#include "proc/usage.h"

#include "agent/base/macros.h"

/* In which the kernel counts input and output, whatever the disk's are. */
#define BLOCK_SIZE 512

static uint64_t micros(const struct timeval *t)
{
        return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

/* See the header. */
uint64_t usage_cpu_us(const struct rusage *leader)
{
        return micros(&leader->ru_utime) + micros(&leader->ru_stime);
}

/* The kernel starts ru_maxrss at the peak of the memory that exec left behind, which was the agent's. So without
 * a memory controller there is a floor of some megabytes. */
static void take_leader(const struct rusage *leader, struct usage *ret)
{
        ret->user_us = micros(&leader->ru_utime);
        ret->system_us = micros(&leader->ru_stime);
        ret->max_rss = (uint64_t)leader->ru_maxrss * KIB;
        ret->has_io = true;
        ret->read_bytes = (uint64_t)leader->ru_inblock * BLOCK_SIZE;
        ret->written_bytes = (uint64_t)leader->ru_oublock * BLOCK_SIZE;
}

/* See the header. */
void usage_compute(const struct cgroup_usage *leaf, const struct rusage *leader, struct usage *ret)
{
        *ret = (struct usage){ 0 };
        if (leader)
                take_leader(leader, ret);
        if (leaf->user_us + leaf->system_us > 0) {
                ret->user_us = leaf->user_us;
                ret->system_us = leaf->system_us;
        }
        ret->cpu_us = ret->user_us + ret->system_us;
        if (leaf->memory_peak > 0)
                ret->max_rss = leaf->memory_peak;
        if (leaf->has_io) {
                ret->has_io = true;
                ret->read_bytes = leaf->read_bytes;
                ret->written_bytes = leaf->written_bytes;
        }
        ret->peak_tasks = leaf->peak_tasks;
        ret->refused_tasks = leaf->refused_tasks;
}
