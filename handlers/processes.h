/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /processes: all processes of the system, with the agent's own marked. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;
struct system_query;

struct processes_args {
        const char *name;
        const char *user;
        uint64_t limit;
        int sort;
        bool ours;
};

extern const struct json_field processes_args[];

extern const struct route_doc processes_get_doc;
int processes_get(struct request *req);

/* Asks for the next look at the system's processes, with the agent's own marked: system_processes_ask. 0; 1: too many
 * wait already, and the request has been failed; or a negative errno. Unless it is 0 the query stays the caller's. */
int processes_ask(struct request *req, struct system_query *q);
