/* SPDX-License-Identifier: Apache-2.0 */

/* What the routes that run code and commands at once answer. */

#include "handlers/execution/doc.h"

#include "agent/json/document.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/execute.h"

const struct enum_name execution_reason_names[] = {
        { "exit", 0 },  { "signal", 0 },       { "timeout", 0 },   { "oom", 0 }, { "cpu_limit", 0 },
        { "spawn", 0 }, { "output_limit", 0 }, { "cancelled", 0 }, { NULL, 0 },
};

const struct enum_name execution_encoding_names[] = {
        { "utf-8", DOCUMENT_UTF8 },
        { "base64", DOCUMENT_BASE64 },
        { NULL, 0 },
};

/* clang-format off */
const struct shape usage_shape[] = {
        S_NUMBER ("user_seconds", .optional = true, .doc = "Processor time of the program itself", .example = "0.021"),
        S_NUMBER ("system_seconds", .optional = true, .doc = "Processor time of the kernel for it", .example = "0.004"),
        S_NUMBER ("cpu_time", .optional = true, .doc = "Both, s", .example = "0.025"),
        S_INTEGER("max_rss_bytes", .optional = true, .doc = "Memory at its peak", .example = "11010048"),
        S_INTEGER("io_read_bytes", .optional = true, .doc = "Read from disks", .example = "4096"),
        S_INTEGER("io_write_bytes", .optional = true, .doc = "Written to disks", .example = "4096"),
        S_INTEGER("peak_processes", .optional = true, .doc = "Processes and threads at once", .example = "3"),
        S_INTEGER("process_limit_hits", .optional = true, .doc = "How often it could not have another", .example = "1"),
        S_END
};

const struct shape rich_output_shape[] = {
        S_STRING("type", .doc = "Media type of data", .example = "\"image/png\""),
        S_STRING("format", .optional = true, .doc = "How data is written: base64, utf-8 or json",
                 .example = "\"base64\""),
        S_ANY   ("data", .doc = "What was displayed: a text, or JSON", .example = "\"iVBORw0KGgo=\""),
        S_MAP   ("metadata", S_ITEM(SHAPE_ANY), .optional = true, .doc = "Where it comes from, its size, …",
                 .example = "{\"source\":\"matplotlib\"}"),
        S_TIME  ("timestamp", .optional = true, .doc = "When it was displayed"),
        S_END
};

#define RESULT_MEMBERS                                                                                                \
        S_BOOL   ("success", .doc = "It ended by itself, with exit code 0"),                                          \
        S_INTEGER("exit_code", .doc = "128 + n for signal n; 124 after a timeout; 152 when its processor time was "   \
                  "used up", .example = "0"),                                                                         \
        S_INTEGER("exitCode", .doc = "The same", .example = "0"),                                                     \
        S_ENUM   ("reason", execution_reason_names, .doc = "What ended it"),                                          \
        S_INTEGER("signal", .optional = true, .doc = "That ended it; absent if none did", .example = "9"),            \
        S_NUMBER ("execution_time", .doc = "From start to end, s", .example = "0.043"),                               \
        S_STRING ("execution_id", .doc = "Its name, for POST /execute/kill/{id}",                                     \
                  .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),                                                    \
        S_INTEGER("pid", .doc = "Number of its process", .example = "4242"),                                          \
        S_OBJECT ("usage", usage_shape, .doc = "What it has used, as far as it is known"),                            \
        S_LIST   ("limits_not_enforced", S_ITEM(SHAPE_STRING), .optional = true,                                      \
                  .doc = "Limits of the request that nothing here can see to; absent if there are none",              \
                  .example = "[\"max_processes\"]"),                                                                  \
        S_INTEGER("stdout_bytes", .doc = "Bytes that it wrote to stdout", .example = "3"),                            \
        S_INTEGER("stderr_bytes", .doc = "Bytes that it wrote to stderr", .example = "0"),                            \
        S_TIME   ("timestamp", .doc = "When it was answered")

#define OUTPUT_MEMBERS                                                                                                \
        S_STRING ("stdout", .doc = "Ill-formed UTF-8 is replaced, unless encoding is base64", .example = "\"42\\n\""), \
        S_STRING ("stderr", .doc = "Likewise; after a timeout or a limit its last line says so", .example = "\"\""),  \
        S_BOOL   ("stdout_truncated", .doc = "It wrote too much; head and tail are here", .example = "false"),        \
        S_BOOL   ("stderr_truncated", .doc = "Likewise", .example = "false"),                                         \
        S_ENUM   ("encoding", execution_encoding_names, .doc = "How stdout and stderr are written")

static const struct shape execute_shape[] = {
        RESULT_MEMBERS,
        OUTPUT_MEMBERS,
        S_STRING("language", .doc = "Of the code", .example = "\"python\""),
        RICH_MEMBERS,
        S_BOOL  ("cached", .optional = true, .doc = "It is a kept result; only if one would have done",
                 .example = "false"),
        S_NUMBER("cache_age", .optional = true, .doc = "Its age, s", .example = "0.0"),
        S_END
};

static const struct shape command_shape[] = {
        RESULT_MEMBERS,
        OUTPUT_MEMBERS,
        S_STRING("command", .doc = "As it was asked for", .example = "\"echo 42\""),
        RICH_MEMBERS,
        S_END
};

/* Nothing was started then. */
static const enum problem start_problems[] = {
        PROBLEM_INVALID_REQUEST, PROBLEM_WORKDIR_NOT_FOUND, PROBLEM_RUNTIME_NOT_AVAILABLE, PROBLEM_COMMAND_NOT_FOUND,
        PROBLEM_COMMAND_NOT_EXECUTABLE, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE,
        PROBLEM_PATH_NOT_ALLOWED, PROBLEM_PERMISSION_DENIED, /* of cache_inputs */
        N_PROBLEMS,
};

static const enum problem command_problems[] = {
        PROBLEM_INVALID_REQUEST, PROBLEM_WORKDIR_NOT_FOUND, PROBLEM_COMMAND_NOT_FOUND, PROBLEM_COMMAND_NOT_EXECUTABLE,
        PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE,
        N_PROBLEMS,
};

const struct route_doc execute_post_doc = {
        .description = "Answers when the code has ended, with 200 whatever it did: see `success` and `reason`. At "
                       "its `timeout` it is killed with all that it started, and the answer has what was written "
                       "so far. When the client leaves, it is ended, unless there is an `Idempotency-Key`.\n\n"
                       "White space may come before the answer, which keeps the connection alive.",
        .replies = (const struct route_reply[]){
                { 200, NULL, execute_shape, "It has ended" },
                { 0 },
        },
        .problems = start_problems,
        .example = "{\"code\":\"print(6 * 7)\",\"language\":\"python\",\"timeout\":10}",
};

const struct route_doc commands_run_post_doc = {
        .description = "As `POST /execute`. With `args` (also an empty list) `command` is the name of one program; "
                       "without it is a line for `/bin/sh`.",
        .replies = (const struct route_reply[]){
                { 200, NULL, command_shape, "It has ended" },
                { 0 },
        },
        .problems = command_problems,
        .example = "{\"command\":\"echo $((6 * 7))\",\"timeout\":10}",
};
/* clang-format on */
