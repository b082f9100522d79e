/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One look at how the machine is doing, but for the disks. May be called on any thread, by one at a time. */

#include "agent/host/cgroups.h"
#include "agent/host/cpu.h"
#include "agent/host/host.h"

struct host_reader {
        const char *root; /* "" but in tests: all paths are below it */
        struct host_cgroups cgroups;
        uint64_t cgroups_at_us; /* when they were looked for; 0: never */
};

/* Fills in all of @ret but cpu_percent, which two readings tell (host_cpu_percent), and the disks. What is not there is
 * zero. -EMFILE, -ENFILE: nothing can be read now. */
int host_reader_read(struct host_reader *r, const struct host_cpus *usable,
                     struct host_cpu_reading *ret_cpu, struct host_sample *ret);
void host_reader_done(struct host_reader *r);
