/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/host/host.h"

/* Fills in all of @ret; texts that nobody knows are empty. Files are read below @root, "" but in tests. May be called
 * on any thread; asking the kernel for the network's addresses may take milliseconds. */
void host_facts_read(const char *root, struct host_facts *ret);
/* The network's part. */
void host_links_read(struct host_facts *ret);
