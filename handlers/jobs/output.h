/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /execute/processes/{id}/output: what a background job wrote, from any offset on, once or live. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;

struct job_output_args {
        const char *id;
        int stream; /* enum output_streams */
        const char *offset;
        bool follow;
        uint64_t limit;
        int encoding; /* enum document_encoding */
        bool has_encoding;
};
extern const struct json_field job_output_args[];
int job_output_get(struct request *req);
extern const struct route_doc job_output_get_doc;
