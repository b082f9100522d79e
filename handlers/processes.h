/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /processes: all processes of the system, with the agent's own marked. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;

struct processes_args {
        const char *name;
        const char *user;
        uint64_t limit;
        int sort;
        bool ours;
};

extern const struct json_field processes_args[];

int processes_get(struct request *req);
