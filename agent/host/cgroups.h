/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which cgroups we are in, of version 1 or 2 or of both side by side. May be called on any thread. */

#include <stdbool.h>
#include <stddef.h>

enum host_controller { HOST_CPU, HOST_CPUACCT, HOST_MEMORY, HOST_N_CONTROLLERS };

/* Where a controller's figures are. */
struct host_hierarchy {
        char *mount; /* the directory where it is mounted; NULL: there is none */
        char *own;   /* our cgroup below it: "" or "/a/b" */
        bool is_v2;
        bool is_container; /* what is mounted is not the whole machine's, but a part of it that is meant for us */
};

struct host_cgroups {
        struct host_hierarchy of[HOST_N_CONTROLLERS];
};

/* Reads @root/proc/self/mountinfo and @root/proc/self/cgroup; @root is "" but in tests, where all paths are below it.
 * What is not found has no mount. */
void host_cgroups_find(const char *root, struct host_cgroups *ret);
void host_cgroups_done(struct host_cgroups *c);

/* Our cgroup's directory for @up = 0, the one that it is in for 1 and so on; NULL above the mount. From malloc. */
char *host_cgroup_dir(const struct host_hierarchy *h, size_t up);
