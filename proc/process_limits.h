/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What one execution may use at most, and who sees to it: its cgroup, where there is one with the controller, for all
 * that it started together; else resource limits, which the kernel counts for each process by itself. */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "proc/cgroup.h"

struct credentials;

/* 0: none */
struct process_limits {
        uint64_t max_memory;  /* bytes */
        uint64_t cpu_seconds; /* on processors; SIGXCPU, and SIGKILL a second later */
        uint64_t max_tasks;   /* processes and threads */
};

struct process_limits_plan {
        struct cgroup_limits leaf;
        struct process_limits
                own;        /* resource limits: memory is RLIMIT_DATA, tasks is RLIMIT_NPROC */
        bool ignores_tasks; /* max_tasks was asked for, and nothing sees to it */
};

/* Who sees to what, when @asked for more than @allowed is cut to that. @controllers: CGROUP_* of the cgroup; 0: none.
 * @user: whom the program becomes; NULL: it stays who we are. The number of tasks is counted for a user, all executions
 * of his together; so it is no limit for root, nor for our own user, of whom we have threads and children ourselves. */
void process_limits_plan(const struct process_limits *asked, const struct process_limits *allowed,
                         unsigned controllers, const struct credentials *user,
                         struct process_limits_plan *ret);

/* Gives @pid, which is ours and need not have begun, the resource limits; what the shim does for others. A negative
 * errno. */
int process_limits_apply(pid_t pid, const struct process_limits *own);

/* Whether it was the limit of processor time that ended who ended with @status (of wait), after @cpu_us of its own and
 * of those that it had waited for. Shells report the death of others as an exit code. The kernel counts for its limit
 * by ticks of the clock, so half of the time is proof enough. */
static inline bool process_limits_ended(uint64_t cpu_seconds, int status, uint64_t cpu_us)
{
        bool has_used_it = cpu_us >= cpu_seconds * 500000;

        if (cpu_seconds == 0)
                return false;
        if (WIFSIGNALED(status))
                return WTERMSIG(status) == SIGXCPU || (WTERMSIG(status) == SIGKILL && has_used_it);
        return WEXITSTATUS(status) == 128 + SIGXCPU && has_used_it;
}

/* What a shell calls that end. */
#define PROCESS_CPU_EXIT_CODE (128 + SIGXCPU)
