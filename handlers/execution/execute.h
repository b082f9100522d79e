/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "handlers/execution/execution.h"

struct execute_args {
        struct json_text code;
        int language; /* enum language */
        struct execution_args run;
};

extern const struct json_field execute_args[];

int execute_post(struct request *req);
