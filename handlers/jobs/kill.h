/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All ways to kill an execution: by process_id, execution_id, or the pid of anything that belongs to it. One handler;
 * the id is in the path, the query or the body. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct kill_args {
        const char *id; /* NULL: not here; see the next three */
        const char *query_id;
        uint64_t pid; /* 0: not given, as the next one */
        uint64_t query_pid;
        uint64_t grace_ms;
        uint64_t query_grace_ms;
        bool has_grace;
        bool has_query_grace;
};
extern const struct json_field kill_path_args[]; /* id in the path, grace in query or body */
extern const struct json_field kill_body_args[]; /* all in the body, or else in the query */
int kill_any(struct request *req);
extern const struct route_doc kill_any_doc;
