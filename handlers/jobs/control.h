/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is sent to a background job that runs, and waiting for its end. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"
#include "handlers/jobs/await.h" /* job_waits_end, for who stops the agent */

struct request;
struct route_doc;

struct job_input_args {
        const char *id;
        struct json_text data;
        int encoding; /* enum document_encoding */
        bool eof;
};
extern const struct json_field job_input_args[];
int job_input_post(struct request *req);
extern const struct route_doc job_input_post_doc;

struct job_signal_args {
        const char *id;
        const char *signal;
};
extern const struct json_field job_signal_args[];
int job_signal_post(struct request *req);
extern const struct route_doc job_signal_post_doc;

struct job_wait_args {
        const char *id;
        uint64_t timeout_ms;
};
extern const struct json_field job_wait_args[];
int job_wait_get(struct request *req);
extern const struct route_doc job_wait_get_doc;
