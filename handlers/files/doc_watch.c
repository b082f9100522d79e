/* SPDX-License-Identifier: Apache-2.0 */

/* The messages of GET /files/watch. */

#include "handlers/files/doc.h"
#include "handlers/files/watch.h"
#include "handlers/files/watch_private.h"

/* clang-format off */
static const struct enum_name status_names[] = { { "status", 0 }, { NULL, 0 } };
static const struct enum_name overflow_names[] = { { "overflow", 0 }, { NULL, 0 } };
static const struct enum_name error_names[] = { { "error", 0 }, { NULL, 0 } };
static const struct enum_name change_types[] = { { "change", 0 }, { NULL, 0 } };
static const struct enum_name change_names[] = {
        { "created", 0 }, { "modified", 0 }, { "deleted", 0 }, { "renamed", 0 }, { NULL, 0 },
};

#define TIMESTAMP S_TIME("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When it was told")

static const struct shape status_shape[] = {
        S_STRING("status", .example = "\"Watching /workspace/src\"",
                 .doc = "\"Watching\" or \"Stopped watching\", and the path"),
        S_ENUM  ("event", status_names, .example = "\"status\"", .doc = "For clients that look at event only"),
        S_STRING("path", .example = "\"/workspace/src\"", .doc = "What is watched, absolute"),
        TIMESTAMP,
        S_END
};

#define CHANGE_SHAPE                                                                                                  \
        S_STRING("path", .example = "\"/workspace/src/app.py\"",                                                      \
                 .doc = "Absolute, by the way that the client has named; what is no UTF-8 in it is replaced"),        \
        S_ENUM  ("event", change_names, .example = "\"modified\"", .doc = "What has happened to it"),                 \
        S_STRING("old_path", .optional = true, .example = "\"/workspace/src/main.py\"",                               \
                 .doc = "Only of renamed: where it was"),                                                             \
        S_BOOL  ("is_directory", .example = "false", .doc = "Is it, or was it, a directory?"),                        \
        TIMESTAMP

static const struct shape change_shape[] = { CHANGE_SHAPE, S_END };

static const struct shape batched_shape[] = {
        S_ENUM("type", change_types, .example = "\"change\"", .doc = "As of a message of its own"),
        CHANGE_SHAPE,
        S_END
};

static const struct shape changes_shape[] = {
        S_LIST("changes", S_ITEM_OF(SHAPE_OBJECT, batched_shape), .doc = "In the order in which they happened"),
        TIMESTAMP,
        S_END
};

static const struct shape overflow_shape[] = {
        S_ENUM  ("event", overflow_names, .example = "\"overflow\"", .doc = "For clients that look at event only"),
        S_STRING("path", .example = "\"/workspace/src\"", .doc = "What is watched, absolute"),
        TIMESTAMP,
        S_END
};

static const struct json_field no_args[] = { F_END };
static const struct shape pong_shape[] = { TIMESTAMP, S_END };

static const struct shape details_shape[] = {
        S_STRING("field", .optional = true, .example = "\"/path\"", .doc = "What of the message is at fault"),
        S_STRING("path", .optional = true, .example = "\"/workspace/none\"", .doc = "As it was asked for"),
        S_END
};

static const struct shape error_shape[] = {
        S_ENUM  ("event", error_names, .optional = true, .example = "\"error\"",
                 .doc = "For clients that look at event only; not if the message was not understood"),
        S_STRING("error", .example = "\"File not found: /workspace/none\"", .doc = "A sentence for people"),
        S_STRING("message", .example = "\"File not found: /workspace/none\"", .doc = "The same as error"),
        S_STRING("code", .example = "\"FILE_NOT_FOUND\"", .doc = "As in the answers of other requests for files"),
        S_OBJECT("details", details_shape, .optional = true, .doc = "What it is about"),
        S_STRING("path", .optional = true, .example = "\"/workspace/none\"", .doc = "As it was asked for"),
        S_STRING("request_id", .example = "\"req_6f1d0c52e9b84a37\"", .doc = "Of the connection"),
        TIMESTAMP,
        S_END
};

static const struct route_message watch_messages[] = {
        { "watch", NULL, files_watch_args, "Begin to watch a directory or a file" },
        { "unwatch", NULL, files_unwatch_args, "End it" },
        { "ping", NULL, no_args, "Is somebody there?" },
        { "status", status_shape, NULL, "It has begun: what happens from now on is told. Or it has ended" },
        { "change", change_shape, NULL, "Something was changed" },
        { "changes", changes_shape, NULL, "The same for several changes, to a client that has asked for `batch`" },
        { "pong", pong_shape, NULL, "The answer to ping" },
        { "overflow", overflow_shape, NULL, "Too much has happened at once: list the tree anew" },
        { "error", error_shape, NULL, "A message was not understood, or the watch cannot begin or go on. Without "
                                      "another watch the connection ends" },
        { 0 },
};

static const struct route_reply watch_replies[] = {
        { 101, NULL, NULL, "The connection is a WebSocket from here on" },
        { 0 },
};

static const enum problem watch_problems[] = { PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS };

/* Of files_watch_get. */
const struct route_doc files_watch_get_doc = {
        .description = "Send `{\"action\":\"watch\",\"path\":\"/workspace/src\"}` and wait for the status: from then "
                       "on every change below it is told. One connection may have up to 32 watches.",
        .replies = watch_replies,
        .problems = watch_problems,
        .messages = watch_messages,
        .member = "action",
};
/* clang-format on */
