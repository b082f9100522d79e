/* SPDX-License-Identifier: Apache-2.0 */

/* What is said on the WebSockets that run code and commands. */

#include "agent/ws/channel_doc.h"
#include "handlers/execution/commands.h"
#include "handlers/execution/doc.h"
#include "handlers/execution/execute.h"
#include "handlers/execution/stream.h"
#include "handlers/execution/stream_private.h"

/* clang-format off */
static const struct shape output_shape[] = {
        S_STRING ("data", .doc = "What the program wrote", .example = "\"42\\n\""),
        S_INTEGER("offset", .doc = "Of its first byte in the stream", .example = "0"),
        S_INTEGER("end", .doc = "Offset behind its last one", .example = "3"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape result_shape[] = {
        S_BOOL   ("success", .doc = "It ended by itself, with exit code 0"),
        S_INTEGER("exit_code", .example = "0"),
        S_INTEGER("exitCode", .doc = "The same", .example = "0"),
        S_ENUM   ("reason", execution_reason_names, .doc = "What ended it"),
        S_INTEGER("signal", .optional = true, .doc = "That ended it", .example = "9"),
        S_NUMBER ("execution_time", .doc = "From start to end, s", .example = "0.043"),
        S_STRING ("execution_id", .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_INTEGER("pid", .example = "4242"),
        S_STRING ("language", .optional = true, .doc = "Of code", .example = "\"python\""),
        S_STRING ("command", .optional = true, .doc = "Of commands", .example = "\"make\""),
        S_OBJECT ("usage", usage_shape, .doc = "What it has used, as far as it is known"),
        S_LIST   ("limits_not_enforced", S_ITEM(SHAPE_STRING), .optional = true,
                  .doc = "Limits of the request that nothing here can see to", .example = "[\"max_processes\"]"),
        S_INTEGER("stdout_bytes", .doc = "Bytes that it wrote to stdout", .example = "3"),
        S_INTEGER("stderr_bytes", .doc = "Bytes that it wrote to stderr", .example = "0"),
        S_TIME   ("timestamp"),
        RICH_MEMBERS,
        S_END
};

static const struct shape complete_shape[] = {
        S_BOOL   ("success", .doc = "It ended by itself, with exit code 0"),
        S_INTEGER("exit_code", .optional = true, .doc = "If something was started", .example = "0"),
        S_STRING ("execution_id", .optional = true, .doc = "Likewise",
                  .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_TIME   ("timestamp"),
        S_END
};

#define COMMON_MESSAGES                                                                                              \
        { .type = "input", .args = stream_input_args, .doc = "What the program reads next on stdin" },               \
        { .type = "eof", .args = channel_nothing_args, .doc = "Nothing will follow on stdin" },                       \
        { .type = "signal", .args = stream_signal_args, .doc = "Sends a signal" },                                   \
        { .type = "kill", .args = channel_nothing_args, .doc = "Kills it with all that it started" },                 \
        { .type = "stdout", .body = output_shape, .doc = "Output, as it comes" },                                    \
        { .type = "stderr", .body = output_shape, .doc = "Output, as it comes" },                                    \
        { .type = "result", .body = result_shape, .doc = "It has ended" },                                           \
        { .type = "complete", .body = complete_shape,                                                                \
          .doc = "The last message, in every case; the connection is closed after it" },                             \
        CHANNEL_MESSAGES, { .type = NULL }

static const struct route_reply replies[] = {
        { 101, NULL, NULL, "A WebSocket from here on, with one JSON object in each message" },
        { 0 },
};

const struct route_doc execute_stream_get_doc = {
        .description = "One execution for each connection: the client says what to run, and gets output as it comes. "
                       "When it leaves, the execution is ended.",
        .replies = replies,
        .messages = (const struct route_message[]){
                { .type = "execute", .args = execute_args, .doc = "Begins; as the body of POST /execute" },
                { .type = "run", .args = execute_args, .doc = "The same" },
                COMMON_MESSAGES,
        },
};

const struct route_doc commands_stream_get_doc = {
        .description = "One command for each connection, as in `GET /execute/stream`.",
        .replies = replies,
        .messages = (const struct route_message[]){
                { .type = "execute", .args = commands_args, .doc = "Begins; as the body of POST /commands/run" },
                { .type = "run", .args = commands_args, .doc = "The same" },
                COMMON_MESSAGES,
        },
};
/* clang-format on */
