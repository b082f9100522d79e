/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by execution.c (start, end, cancel) and answer.c (what the client is told). */

#include <stdbool.h>

#include "handlers/execution/execution.h"
#include "proc/process.h"
#include "proc/staging.h"

struct execution {
        struct request *request; /* a reference */
        struct execution_spec spec;
        struct staging staging;
        struct process *process; /* borrowed, from its start to its end */
        char *cwd;
        bool is_cancelled; /* before there was a process */
};

/* The limit in force: what was asked for, or the operator's. */
uint64_t execution_timeout_ms(const struct execution *ex);
/* What is executed, as the client knows it. */
const char *execution_program(const struct execution *ex);

/* Answers that all together is too long for the kernel. */
void execution_fail_size(struct execution *ex);
/* Answers with the result of the process that has ended. */
void execution_answer(struct execution *ex);
