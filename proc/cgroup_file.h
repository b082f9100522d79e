/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by cgroup.c, cgroup_leaf.c and cgroup_pool.c: the kernel's small control files, and empty leaves. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "proc/cgroup.h"

/* As many as executions usually run at once. */
#define CGROUP_POOL_SIZE 32

struct cgroup_pool {
        struct cgroup_leaf leaves[CGROUP_POOL_SIZE];
        unsigned n;
};

struct cgroup_pool *cgroup_pool(struct cgroup *c);
/* Removes what is kept. */
void cgroup_pool_clear(struct cgroup_pool *pool);

int cgroup_fd(const struct cgroup *c);
/* The directory that holds the agent's. */
int cgroup_own_fd(const struct cgroup *c);

/* Has @fd hand down to the cgroups below it what it has itself. */
void cgroup_enable_controllers(int fd);
/* Limits whose controller is missing are ignored. */
void cgroup_set_limits(int fd, const struct cgroup_limits *limits);

/* The text of file @name in directory @dir_fd, NUL-terminated, cut to fit. Returns its size or a negative
 * errno. */
ssize_t cgroup_file_read(int dir_fd, const char *name, char *dst, size_t size);
int cgroup_file_write(int dir_fd, const char *name, const char *text);

/* No more than this many cgroups below another are removed at once, so that the loop is not held. */
#define CGROUP_MAX_BELOW 256

/* Removes the empty cgroups below @dir_fd, however deep. */
void cgroup_remove_below(int dir_fd);
