/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A child that is born inside a cgroup and borrows the parent's memory until it execs. */

#include <sys/types.h>

/* Runs @fn(@arg) in a new process in the cgroup v2 directory @cgroup_fd, with all signals blocked, and waits
 * until it has called exec or _exit, which is all it may end with. What @fn writes to memory is visible to the
 * caller. Only for the loop's thread. Returns 0 or a negative errno; -ENOSYS where the kernel, a seccomp
 * filter or the architecture does not offer it. */
int vfork_into_cgroup(int cgroup_fd, void (*fn)(void *arg), void *arg, pid_t *ret_pid);
