/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A table with a field of each type, much like that of POST /execute. The corpus in
 * tests/corpus/decode is about these fields, whatever the real endpoint grows. */

#include "agent/base/limits.h"
#include "agent/json/field.h"

enum sample_language { SAMPLE_PYTHON, SAMPLE_JAVASCRIPT, SAMPLE_BASH, SAMPLE_GO };

struct sample_args {
        struct json_text code;
        int language;
        uint64_t timeout_ms;
        const char *workdir;
        json_t *env;
        json_t *args;
        struct json_text input;
        uint64_t max_output;
        bool background;
        bool timeout_is_set;
        bool background_is_set;
        const char *id;  /* from the path */
        uint64_t offset; /* from the query, as all below */
        uint64_t wait_ms;
        bool follow;
        int query_language;
        const char *filter;
};

static const struct enum_name sample_languages[] = {
        { "python", SAMPLE_PYTHON },
        { "python3", SAMPLE_PYTHON },
        { "javascript", SAMPLE_JAVASCRIPT },
        { "js", SAMPLE_JAVASCRIPT },
        { "node", SAMPLE_JAVASCRIPT },
        { "bash", SAMPLE_BASH },
        { "sh", SAMPLE_BASH },
        { "go", SAMPLE_GO },
        { NULL, 0 },
};

/* clang-format off */
static const struct json_field sample_fields[] = {
        F_TEXT       (struct sample_args, code,       .required = true, .min = 1, .max = 1000),
        F_ENUM       (struct sample_args, language,   .names = sample_languages,
                      .def = SAMPLE_PYTHON),
        F_SECONDS    (struct sample_args, timeout_ms, .name = "timeout", .min = 1000,
                      .max = 3600000, .def = 30000, .set_offset = offsetof(struct sample_args, timeout_is_set)),
        F_STRING     (struct sample_args, workdir,    .alias = "working_dir", .max = 64,
                      .def_text = "/workspace"),
        F_STRING_MAP (struct sample_args, env,        .environment = true, .max = 4,
                      .max_item = 64),
        F_STRING_LIST(struct sample_args, args,       .max = 4, .max_item = 16),
        F_TEXT       (struct sample_args, input,      .name = "stdin", .max = 64),
        F_UINT       (struct sample_args, max_output, .alias = "a/b~c", .min = 1, .max = 1048576,
                      .def = 65536),
        F_BOOL       (struct sample_args, background, .def = true,
                      .set_offset = offsetof(struct sample_args, background_is_set)),
        F_STRING     (struct sample_args, id,         .in = IN_PATH, .max = 16),
        F_UINT       (struct sample_args, offset,     .in = IN_QUERY),
        F_SECONDS    (struct sample_args, wait_ms,    .name = "wait", .in = IN_QUERY, .min = 500),
        F_BOOL       (struct sample_args, follow,     .in = IN_QUERY),
        F_ENUM       (struct sample_args, query_language, .name = "lang", .in = IN_QUERY,
                      .names = sample_languages),
        F_STRING     (struct sample_args, filter,     .in = IN_QUERY, .max = 16),
        F_END
};
/* clang-format on */
