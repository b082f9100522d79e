/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How is told what an execution has used: the members of "usage". What is not known is left out. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "proc/usage.h"

struct usage_member {
        const char *name;
        uint64_t value;
        bool is_time; /* microseconds, which are told as seconds */
};

#define USAGE_MEMBERS 8

/* Returns how many there are. */
size_t usage_members(const struct usage *u, struct usage_member ret[USAGE_MEMBERS]);
/* All of them as an object; a new reference. */
json_t *usage_describe(const struct usage *u);
