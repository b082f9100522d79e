/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What running code and running a command have in common: a process, its output, and one answer. */

#include <stdint.h>

#include <jansson.h>

#include "agent/json/document.h"
#include "agent/json/field.h"
#include "proc/runtime.h"

struct request;

/* "utf-8" and "base64", values of enum document_encoding. */
extern const struct enum_name execution_encodings[];

/* The arguments that /execute and /commands/run share, as members and as rows of a field table. */
struct execution_args {
        uint64_t timeout_ms;
        uint64_t grace_ms;
        bool has_grace;
        const char *workdir;
        json_t *env;
        struct json_text input;
        int input_encoding;
        int encoding;
};

/* clang-format off */
#define EXECUTION_FIELDS(strct, default_timeout_s)                                                                     \
        F_SECONDS   (strct, run.timeout_ms, .name = "timeout", .min = 1, .def = (default_timeout_s) * 1000,            \
                     .doc = "Wall-clock limit, s; over max-timeout is clamped"),                                       \
        F_SECONDS   (strct, run.grace_ms, .name = "kill_grace", .max = 60000,                                          \
                     .set_offset = offsetof(strct, run.has_grace),                                                     \
                     .doc = "Time between SIGTERM and SIGKILL at the limit, s; default kill-grace"),                   \
        F_STRING    (strct, run.workdir, .name = "workdir", .alias = "working_dir", .min = 1, .max = 4095,             \
                     .doc = "Working directory; relative ones start at the workspace, the default"),                   \
        F_STRING_MAP(strct, run.env, .name = "env", .environment = true, .max = LIMIT_ENV_ENTRIES,                     \
                     .max_item = LIMIT_ENV_VALUE_BYTES, .doc = "Environment variables of this execution"),             \
        F_TEXT      (strct, run.input, .name = "stdin", .max = LIMIT_INPUT_BYTES,                                      \
                     .doc = "Standard input; empty without it"),                                                       \
        F_ENUM      (strct, run.input_encoding, .name = "stdin_encoding", .names = execution_encodings,                \
                     .doc = "How stdin is written"),                                                                   \
        F_ENUM      (strct, run.encoding, .name = "encoding", .names = execution_encodings,                            \
                     .doc = "How stdout and stderr are returned: repaired UTF-8, or exact bytes in base64")
/* clang-format on */

/* Everything pointed to lives in the request's arguments, or is a constant. */
struct execution_spec {
        const struct execution_args *args;
        const struct json_text *code; /* NULL: argv is the program */
        enum language language;
        char **argv;               /* takes the array, not the strings; NULL with code */
        const char *size_field;    /* to blame when all together is too long for the kernel */
        const char *program_field; /* to blame when the program cannot be executed */
        const char *label_name;    /* one member of the answer, e.g. "language": "python" */
        const char *label;
};

/* Starts it and arranges the answer. Returns what a handler returns. */
int execution_start(struct request *req, const struct execution_spec *spec);
