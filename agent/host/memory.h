/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/host/cgroups.h"
#include "agent/host/host.h"

/* Reads /proc/meminfo below @root and the limits of @groups, into the fields of @ret that are about memory and swap.
 * What cannot be read is zero. May be called on any thread. */
void host_memory_read(const char *root, const struct host_cgroups *groups, struct host_sample *ret);
