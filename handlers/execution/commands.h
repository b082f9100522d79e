/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "handlers/execution/arguments.h"

struct request;
struct route_doc;
struct run_spec;

struct commands_args {
        const char *command;
        json_t *args; /* NULL: a shell reads the command */
        struct execution_args run;
};

extern const struct json_field commands_args[];

/* What is to be run. It points into @args; argv is a new array. */
struct run_spec commands_spec(const struct commands_args *args);

int commands_run_post(struct request *req);
extern const struct route_doc commands_run_post_doc;
