/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "handlers/execution/arguments.h"

struct request;
struct route_doc;
struct run_spec;

struct execute_args {
        struct json_text code;
        int language; /* enum language */
        struct execution_args run;
        struct cache_args cache;
};

extern const struct json_field execute_args[];

/* What is to be run. It points into @args. */
struct run_spec execute_spec(const struct execute_args *args);

int execute_post(struct request *req);
extern const struct route_doc execute_post_doc;
