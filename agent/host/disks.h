/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The file systems. A server of files that does not answer holds the thread that asks for good. */

#include "agent/host/host.h"

struct host_disks {
        struct host_disk disks[HOST_MAX_DISKS];
        size_t n;
        bool has_first; /* the first one is that of the path which was asked for */
};

/* Those of @root/proc/self/mountinfo that are disks, each once, and that of @path before all others, whatever it is:
 * for a @path that is not there, that of the first directory above it that is. */
void host_disks_read(const char *root, const char *path, struct host_disks *ret);
