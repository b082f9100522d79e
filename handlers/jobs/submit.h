/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* POST /execute/background, /commands/background and /execute/async: accepting jobs; and starting them when the
 * registry has room. */

#include "agent/json/field.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"
#include "proc/jobs.h"

struct request;
struct route_doc;

/* What a job has beyond an execution. */
struct job_args {
        const char *name;
        bool tty;
        uint64_t columns;
        uint64_t rows;
};

struct execute_background_args {
        struct execute_args execute;
        struct job_args job;
};
extern const struct json_field execute_background_args[];
int execute_background_post(struct request *req);
extern const struct route_doc execute_background_post_doc;

struct commands_background_args {
        struct commands_args commands;
        struct job_args job;
};
extern const struct json_field commands_background_args[];
int commands_background_post(struct request *req);
extern const struct route_doc commands_background_post_doc;

struct execute_async_args {
        struct execute_args execute;
        struct job_args job;
        const char *callback_url;
        json_t *callback_headers; /* NULL: none */
        const char *callback_signature_secret;
};
extern const struct json_field execute_async_args[];
int execute_async_post(struct request *req);
extern const struct route_doc execute_async_post_doc;

/* What the registry calls; its argument is the struct app. */
extern const struct jobs_ops submit_ops;
