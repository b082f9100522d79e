/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /execute/processes/{id}/attach: a background job's output live, its input, signals and window size, over a
 * WebSocket. */

#include "agent/json/field.h"

struct request;
struct route_doc;

struct job_attach_args {
        const char *id;
        const char *offset;
};
extern const struct json_field job_attach_args[];
int job_attach_get(struct request *req);
extern const struct route_doc job_attach_get_doc;
