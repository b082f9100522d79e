/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a background job is to run, as the document that outlives the agent:
 *
 *     {"kind": "code" | "command", "arguments": {the body of the request}}
 *
 * It is decoded again when the job starts, which may be the next agent's doing. */

#include <stdbool.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "handlers/execution/launch.h"
#include "handlers/jobs/submit.h"

struct program {
        json_t *document; /* a reference; arguments point into it */
        bool is_code;
        union {
                struct execute_background_args code;
                struct commands_background_args command;
        } args;
};

/* A new reference, which has one of @body. */
json_t *program_document(bool is_code, const json_t *body);

/* Takes @document, also on failure, a negative errno: it is none of ours. */
int program_decode(struct program *p, json_t *document, struct error *err);
/* Harmless for one that is zeroed, or was done with. */
void program_done(struct program *p);

/* It points into @p; argv is a new array. */
struct run_spec program_spec(const struct program *p);
const struct execution_args *program_execution(const struct program *p);
const struct job_args *program_job(const struct program *p);

/* One line for people, of at most LIMIT_JOB_LABEL bytes; to be freed. Of code it is the first line that is not
 * blank. */
char *program_label_code(const struct json_text *code);
char *program_label_command(const struct commands_args *args);
