/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The arguments that running code and running a command share, as members and as rows of a field table. */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/limits.h"
#include "agent/json/document.h"
#include "agent/json/field.h"
#include "proc/process_limits.h"

/* "utf-8" and "base64", values of enum document_encoding. */
extern const struct enum_name execution_encodings[];

struct execution_args {
        uint64_t timeout_ms;
        uint64_t grace_ms;
        bool has_grace;
        uint64_t memory_mb; /* 0: no limit, as for the next two */
        uint64_t cpu_seconds;
        uint64_t max_processes;
        const char *workdir;
        json_t *env;
        struct json_text input;
        int input_encoding;
        int encoding;
};

/* Whether a kept result will do, and how long the own one is kept. */
struct cache_args {
        bool wanted;
        bool is_told; /* else the operator decides */
        uint64_t ttl_ms;
        bool has_ttl;
        json_t *inputs; /* names of files, or NULL */
};

/* As member @cache. */
/* clang-format off */
#define CACHE_FIELDS(strct, cache)                                                                                     \
        F_BOOL       (strct, cache.wanted, .name = "cache", .set_offset = offsetof(strct, cache.is_told),              \
                      .doc = "Answer with the kept result of the same execution, if there is one, and keep this one's; "  \
                             "not for streams and background jobs"),                                                   \
        F_SECONDS    (strct, cache.ttl_ms, .name = "cache_ttl", .max = 8784ULL * 3600 * 1000,                          \
                      .set_offset = offsetof(strct, cache.has_ttl),                                                    \
                      .doc = "Oldest result that will do, and how long this one is kept, s; default cache-ttl"),       \
        F_STRING_LIST(strct, cache.inputs, .name = "cache_inputs", .max = LIMIT_CACHE_INPUTS,                          \
                      .max_item = LIMIT_FILE_PATH,                                                                     \
                      .doc = "Files that the result depends on, by their content; relative ones start at workdir")
/* clang-format on */

/* As member @run of the arguments' struct. A timeout under @min_timeout_ms is refused, one over max-timeout is
 * shortened. */
/* clang-format off */
#define EXECUTION_FIELDS(strct, run, default_timeout_s, min_timeout_ms)                                                \
        F_SECONDS   (strct, run.timeout_ms, .name = "timeout", .min = (min_timeout_ms),                                \
                     .def = (default_timeout_s) * 1000,                                                                \
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
                     .doc = "How stdout and stderr are returned: repaired UTF-8, or exact bytes in base64"),            \
        F_UINT      (strct, run.memory_mb, .name = "memory_mb", .min = LIMIT_MEMORY_MB_MIN,                            \
                     .max = LIMIT_MEMORY_MB_MAX, .doc = "Memory at most, MiB; can only lower max-memory"),             \
        F_UINT      (strct, run.cpu_seconds, .name = "cpu_seconds", .min = 1, .max = LIMIT_CPU_SECONDS,                \
                     .doc = "Processor time at most, s, of each process"),                                             \
        F_UINT      (strct, run.max_processes, .name = "max_processes", .min = 1, .max = LIMIT_TASKS,                  \
                     .doc = "Processes and threads at once at most; can only lower max-tasks")
/* clang-format on */

/* The limits among them. */
struct process_limits execution_limits(const struct execution_args *args);
