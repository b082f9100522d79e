/* SPDX-License-Identifier: Apache-2.0 */

/* What the routes of terminals answer, and what is said on a connection to one. */

#include "agent/http/route_doc.h"
#include "agent/ws/channel_doc.h"
#include "handlers/terminal/session.h"
#include "handlers/terminal/terminals.h"

/* clang-format off */
static const struct enum_name status_names[] = {
        { "running", 0 }, { "exited", 0 }, { NULL, 0 },
};

static const struct shape terminal_shape[] = {
        S_STRING ("name", .nullable = true, .doc = "session of the request; null: it ends with its connection",
                  .example = "\"build\""),
        S_STRING ("id", .doc = "Its name, where it has no other", .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_INTEGER("pid", .doc = "Of its shell", .example = "4242"),
        S_INTEGER("cols", .example = "80"),
        S_INTEGER("rows", .example = "24"),
        S_INTEGER("clients", .doc = "Connections to it"),
        S_TIME   ("started"),
        S_INTEGER("idle", .doc = "Seconds since the last input or output", .example = "7"),
        S_ENUM   ("status", status_names),
        S_INTEGER("offset", .doc = "Of the first byte of its output that is kept", .example = "0"),
        S_INTEGER("end", .doc = "Offset behind the last one", .example = "512"),
        S_INTEGER("exit_code", .optional = true, .doc = "If it has ended", .example = "0"),
        S_END
};

static const struct shape list_shape[] = {
        S_INTEGER("count"),
        S_LIST   ("terminals", S_ITEM_OF(SHAPE_OBJECT, terminal_shape)),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape ended_shape[] = {
        S_BOOL  ("success"),
        S_STRING("name", .example = "\"build\""),
        S_STRING("id", .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING("message", .example = "\"terminal ended\""),
        S_TIME  ("timestamp"),
        S_END
};

static const struct shape output_shape[] = {
        S_STRING ("data", .example = "\"$ \""),
        S_INTEGER("offset", .doc = "Of its first byte", .example = "0"),
        S_INTEGER("end", .doc = "Offset behind its last one", .example = "2"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape attached_shape[] = {
        S_STRING ("session", .example = "\"build\""),
        S_STRING ("id", .example = "\"exec_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_BOOL   ("created", .doc = "It is a new one"),
        S_INTEGER("pid", .example = "4242"),
        S_INTEGER("cols", .example = "80"),
        S_INTEGER("rows", .example = "24"),
        S_INTEGER("offset", .doc = "Where its output begins for this client", .example = "0"),
        S_INTEGER("end", .doc = "Where it ends at the moment", .example = "512"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape gap_shape[] = {
        S_INTEGER("from", .doc = "since of the request", .example = "0"),
        S_INTEGER("to", .doc = "Where the output begins instead", .example = "512"),
        S_INTEGER("lost", .doc = "Bytes between them, which are not kept any more", .example = "512"),
        S_BOOL   ("restarted", .doc = "It is another terminal, which has not written so much", .example = "false"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape exit_shape[] = {
        S_INTEGER("code", .example = "0"),
        S_INTEGER("exitCode", .doc = "The same", .example = "0"),
        S_INTEGER("exit_code", .doc = "The same", .example = "0"),
        S_STRING ("reason", .doc = "exit; signal; cancelled: it was ended; spawn: it did not start",
                  .example = "\"exit\""),
        S_INTEGER("signal", .optional = true, .example = "9"),
        S_TIME   ("timestamp"),
        S_END
};

const struct route_doc terminal_get_doc = {
        .description = "A shell with a terminal. With `session` it outlives its connection, and whoever says the same "
                       "name comes back to it. A binary message types its bytes as they are.",
        .replies = (const struct route_reply[]){
                { 101, NULL, NULL, "A WebSocket from here on, with one JSON object in each message" },
                { 0 },
        },
        .problems = (const enum problem[]){
                PROBLEM_INVALID_REQUEST, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS,
        },
        .messages = (const struct route_message[]){
                { .type = "input", .args = terminal_input_args, .doc = "Types" },
                { .type = "resize", .args = terminal_resize_args, .doc = "Size of the window" },
                { .type = "output", .body = output_shape, .doc = "What is to be shown" },
                { .type = "attached", .body = attached_shape, .doc = "The first message, if there is a session" },
                { .type = "gap", .body = gap_shape, .doc = "Output after since that is not kept any more" },
                { .type = "exit", .body = exit_shape, .doc = "It has ended; the last message" },
                CHANNEL_MESSAGES,
                { .type = NULL },
        },
};

const struct route_doc terminals_get_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, list_shape, "All of them" }, { 0 } },
};

const struct route_doc terminals_name_delete_doc = {
        .description = "Answers when its shell, and all that it started, has ended.",
        .replies = (const struct route_reply[]){ { 200, NULL, ended_shape, "It has ended" }, { 0 } },
        .problems = (const enum problem[]){ PROBLEM_TERMINAL_NOT_FOUND, PROBLEM_UNAVAILABLE, N_PROBLEMS },
};
/* clang-format on */
