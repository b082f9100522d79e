/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What answers about background jobs have in common, for the documents. */

#include "agent/http/route_doc.h"
#include "handlers/execution/doc.h"

/* Members that every process object has. */
extern const struct enum_name job_status_names[];
extern const struct enum_name job_reason_names[];
extern const struct shape job_callback_shape[];
/* Places in both streams. */
extern const struct shape job_offsets_shape[];

/* clang-format off */
#define JOB_MEMBERS                                                                                                  \
        S_STRING ("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),                                     \
        S_STRING ("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),                                   \
        S_STRING ("id", .doc = "The same as process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),            \
        S_STRING ("name", .nullable = true, .doc = "What it was called in the request", .example = "\"build\""),     \
        S_ENUM   ("status", job_status_names, .doc = "Where it is"),                                                  \
        S_STRING ("language", .nullable = true, .doc = "Of code; null for commands", .example = "\"python\""),       \
        S_STRING ("command", .nullable = true, .doc = "The command, or the first line of the code; up to 1 KiB",     \
                  .example = "\"print(6 * 7)\""),                                                                    \
        S_INTEGER("pid", .nullable = true, .doc = "Null before it is started", .example = "4242"),                   \
        S_TIME   ("start_time", .nullable = true, .doc = "While it is queued: when it was queued"),                  \
        S_TIME   ("started_at", .nullable = true, .doc = "The same"),                                                \
        S_TIME   ("queued_at", .nullable = true, .doc = "When it was asked for"),                                    \
        S_TIME   ("end_time", .nullable = true, .doc = "Null until its end"),                                        \
        S_TIME   ("completed_at", .nullable = true, .doc = "The same"),                                              \
        S_NUMBER ("duration", .doc = "From its start to its end, or until now, s", .example = "0.043"),              \
        S_NUMBER ("execution_time", .doc = "The same", .example = "0.043"),                                          \
        S_NUMBER ("timeout", .nullable = true, .doc = "After which it is killed, s; null: none", .example = "300"),  \
        S_INTEGER("exit_code", .nullable = true, .doc = "Null until its end", .example = "0"),                       \
        S_INTEGER("signal", .nullable = true, .doc = "That ended it; null: none", .example = "null"),                \
        S_BOOL   ("tty", .doc = "It has a terminal", .example = "false"),                                            \
        S_BOOL   ("lingering", .doc = "It has ended, and something that it started lives on", .example = "false"),   \
        S_INTEGER("stdout_bytes", .doc = "Bytes that it wrote to stdout", .example = "3"),                           \
        S_INTEGER("stderr_bytes", .doc = "Bytes that it wrote to stderr", .example = "0"),                           \
        S_INTEGER("stdout_dropped", .nullable = true, .doc = "Bytes lost to a full disk; null until its end",        \
                  .example = "0"),                                                                                   \
        S_INTEGER("stderr_dropped", .nullable = true, .doc = "Likewise", .example = "0"),                            \
        S_ENUM   ("reason", job_reason_names, .nullable = true, .doc = "What ended it; null until then"),            \
        S_STRING ("error", .nullable = true, .doc = "Why it could not be started, or was lost", .example = "null"),  \
        S_OBJECT ("usage", usage_shape, .nullable = true, .doc = "What it has used; null until its end"),        \
        S_LIST   ("limits_not_enforced", S_ITEM(SHAPE_STRING), .optional = true,                                     \
                  .doc = "Limits of the request that nothing here can see to; absent if there are none",             \
                  .example = "[\"max_processes\"]"),                                                                 \
        S_OBJECT ("callback", job_callback_shape, .nullable = true, .doc = "State of its webhook; null without one")
/* clang-format on */
