/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /execute/processes and GET /execute/processes/{id}. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct jobs_list_args {
        int status;
        bool has_status;
        const char *name;
        uint64_t limit;
        const char *cursor;
};
extern const struct json_field jobs_list_args[];
int jobs_list_get(struct request *req);
extern const struct route_doc jobs_list_get_doc;

/* Of all routes that have nothing but a job's id in their path. */
struct job_id_args {
        const char *id;
};
extern const struct json_field job_id_args[];
int job_get(struct request *req);
extern const struct route_doc job_get_doc;
