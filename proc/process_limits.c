/* SPDX-License-Identifier: Apache-2.0 */

#include "proc/process_limits.h"

#include <errno.h>
#include <stddef.h>
#include <sys/resource.h>

#include "agent/base/macros.h"
#include "proc/spawn.h"

static uint64_t stricter(uint64_t a, uint64_t b)
{
        return a > 0 && b > 0 ? MIN(a, b) : MAX(a, b);
}

/* See the header. */
void process_limits_plan(const struct process_limits *asked, const struct process_limits *allowed,
                         unsigned controllers, const struct credentials *user,
                         struct process_limits_plan *ret)
{
        uint64_t max_memory = stricter(asked->max_memory, allowed->max_memory);
        uint64_t max_tasks = stricter(asked->max_tasks, allowed->max_tasks);

        *ret = (struct process_limits_plan){ .own.cpu_seconds = stricter(asked->cpu_seconds,
                                                                         allowed->cpu_seconds) };
        if (controllers & CGROUP_MEMORY)
                ret->leaf.max_memory = max_memory;
        else
                ret->own.max_memory = max_memory;
        if (controllers & CGROUP_TASKS)
                ret->leaf.max_tasks = max_tasks;
        else if (asked->max_tasks > 0 && user && user->uid != 0)
                ret->own.max_tasks = max_tasks;
        else
                ret->ignores_tasks = asked->max_tasks > 0;
}

/* Never raises what it has. */
static int apply(pid_t pid, int resource, uint64_t soft, uint64_t hard)
{
        struct rlimit limit;

        if (soft == 0)
                return 0;
        if (prlimit(pid, (__rlimit_resource_t)resource, NULL, &limit) < 0)
                return -errno;
        limit.rlim_max = MIN(limit.rlim_max, (rlim_t)hard);
        limit.rlim_cur = MIN(limit.rlim_cur, (rlim_t)soft);
        return prlimit(pid, (__rlimit_resource_t)resource, &limit, NULL) < 0 ? -errno : 0;
}

/* See the header. */
int process_limits_apply(pid_t pid, const struct process_limits *own)
{
        int r;

        r = apply(pid, RLIMIT_DATA, own->max_memory, own->max_memory);
        if (r == 0)
                r = apply(pid, RLIMIT_CPU, own->cpu_seconds, own->cpu_seconds + 1);
        return r < 0 ? r : apply(pid, RLIMIT_NPROC, own->max_tasks, own->max_tasks);
}
