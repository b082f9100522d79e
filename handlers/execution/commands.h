/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "handlers/execution/execution.h"

struct commands_args {
        const char *command;
        json_t *args; /* NULL: a shell reads the command */
        struct execution_args run;
};

extern const struct json_field commands_args[];

int commands_run_post(struct request *req);
