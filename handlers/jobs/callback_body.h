/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The body of a callback: how a job ended, and what it wrote. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/base/limits.h"
#include "handlers/jobs/rich_log.h"
#include "proc/jobs.h"

/* What is told of a job, without its output. Strings are borrowed. */
struct callback_facts {
        const char *execution_id;
        const char *process_id;
        const char *name;                  /* NULL or "": none */
        const char *language;              /* NULL: a command */
        enum job_phase phase;              /* final */
        const struct job_status *result;   /* NULL: it never ran */
        const struct job_failure *failure; /* NULL: none */
        uint64_t timeout_ms;
        int64_t started_ms; /* 0: never */
        int64_t ended_ms;
        bool is_base64;     /* how its output is written */
        bool ignores_tasks; /* job_ignores_tasks */
};

/* A text, or null when there is none; it may be cut off inside a character. A time, or null before there was one. */
json_t *callback_text(const char *text);
json_t *callback_time(int64_t t_ms);

/* The members that need no disk. A new reference. */
json_t *callback_fields(const struct callback_facts *f);

/* For callback_limits: what the texts may take of LIMIT_WEBHOOK_BODY, once they are encoded. */
#define CALLBACK_MAX_TEXT (LIMIT_WEBHOOK_BODY - 1 * MIB)

struct callback_limits {
        size_t max_text;
        struct rich_limits rich;
};

/* Adds the output and what was displayed, which are read from the logs in the directory @dir, to @fields, which it
 * takes; on any thread. Of each stream these are the last LIMIT_JOB_CALLBACK bytes, of what was displayed
 * LIMIT_JOB_CALLBACK_RICH; less of the streams, where all together would exceed @limits. *ret comes from malloc,
 * without a NUL. A negative errno when it could not be read just now (-EMFILE, -ENFILE, -ENOMEM); a log that is not
 * there or damaged counts as empty. */

int callback_body_make(json_t *fields, const char *dir, bool is_base64,
                       const struct callback_limits *limits, char **ret, size_t *ret_size,
                       struct error *err);
