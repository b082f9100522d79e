/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent itself takes of the machine. */

#include <stdint.h>

struct loop;

struct self {
        uint64_t resident; /* bytes */
        uint64_t fds;
        uint64_t max_fds;
        uint64_t cpu_user_us;
        uint64_t cpu_system_us;
};

/* Never takes long, whatever there is to count. */
void self_read(struct loop *l, struct self *ret);

/* Open descriptors, for kernels that do not know their number. Exact when there are few. Of many it is the number that
 * a worker has counted: at most about a second ago if somebody asks that often. */
uint64_t self_count_fds(struct loop *l);
