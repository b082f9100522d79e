/* SPDX-License-Identifier: Apache-2.0 */

/* What background jobs wrote, in all its forms; and what is said on a connection to one. */

#include "agent/ws/channel_doc.h"
#include "handlers/jobs/attach.h"
#include "handlers/jobs/attach_private.h"
#include "handlers/jobs/doc.h"
#include "handlers/jobs/output.h"

/* clang-format off */
const struct shape job_offsets_shape[] = {
        S_INTEGER("stdout", .example = "3"),
        S_INTEGER("stderr", .example = "0"),
        S_END
};

static const struct enum_name line_names[] = {
        { "stdout", 0 }, { "stderr", 0 }, { NULL, 0 },
};

static const struct enum_name last_names[] = {
        { "end", 0 }, { "more", 0 }, { NULL, 0 },
};

static const struct shape line_shape[] = {
        S_ENUM   ("type", line_names, .doc = "Where it was written"),
        S_INTEGER("offset", .doc = "Of its first byte in the stream", .example = "0"),
        S_INTEGER("next_offset", .doc = "Offset behind its last one", .example = "3"),
        S_INTEGER("lost", .optional = true, .doc = "Bytes before it that are not kept any more", .example = "512"),
        S_STRING ("data", .example = "\"42\\n\""),
        S_END
};

static const struct shape last_shape[] = {
        S_ENUM   ("type", last_names, .doc = "end: the job has ended and this is all; more: ask for the rest"),
        S_ENUM   ("status", job_status_names),
        S_INTEGER("exit_code", .nullable = true, .example = "0"),
        S_ENUM   ("reason", job_reason_names, .nullable = true),
        S_INTEGER("signal", .optional = true, .example = "9"),
        S_OBJECT ("next_offset", job_offsets_shape, .doc = "Where to go on"),
        S_TIME   ("timestamp"),
        S_END
};

static const enum problem output_problems[] = {
        PROBLEM_PROCESS_NOT_FOUND, PROBLEM_NOT_FOUND, PROBLEM_INVALID_REQUEST, PROBLEM_LIMIT_REACHED,
        PROBLEM_UNAVAILABLE, N_PROBLEMS,
};

static const struct route_header raw_headers[] = {
        { "X-Output-Offset", "Of bytes of one stream: where the first of them is in the stream", "0" },
        { "X-Next-Offset", "Of bytes of one stream: offset behind the last of them", "3" },
        { "X-Output-Total", "Of bytes of one stream: how many there were so far", "3" },
        { "X-Output-Lost", "Of bytes of one stream: how many of those that were asked for are not kept any more", "0" },
        { "X-Output-Dropped", "Of bytes of one stream: how many of all are not kept any more", "0" },
        { "X-Process-Status", "The process's status", "running" },
        { 0 },
};

const struct route_doc job_output_get_doc = {
        .description = "With one `stream` and without `follow` the answer is the bytes themselves, and its headers "
                       "tell where they are: `X-Output-Offset`, `X-Next-Offset`, `X-Output-Total`, `X-Output-Lost` and "
                       "`X-Output-Dropped`. Otherwise it is lines of JSON, or with `Accept: text/event-stream` events "
                       "that have such a line for data. `X-Process-Status` is there in any case.\n\n"
                       "An answer without its last line was cut: ask again from the offsets behind the last line.",
        .replies = (const struct route_reply[]){
                { 200, "application/octet-stream", NULL, "Bytes of one stream", raw_headers },
                { 200, "application/x-ndjson", line_shape, "Lines of JSON" },
                { 200, "application/x-ndjson", last_shape, "The last of them" },
                { 200, "text/event-stream", line_shape, NULL },
                { 200, "text/event-stream", last_shape, NULL },
                { 204, NULL, NULL, "A client with Last-Event-ID has seen all events" },
                { 0 },
        },
        .problems = output_problems,
        .headers = (const struct route_header[]){
                { "Last-Event-ID", "The last event that a client has seen that comes back", "3,0" },
                { 0 },
        },
};

static const struct shape attached_shape[] = {
        S_STRING ("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING ("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_ENUM   ("status", job_status_names),
        S_INTEGER("pid", .nullable = true, .example = "4242"),
        S_BOOL   ("tty", .doc = "It has a terminal", .example = "false"),
        S_OBJECT ("offset", job_offsets_shape, .doc = "Where its output begins for this client"),
        S_OBJECT ("end", job_offsets_shape, .doc = "Where it ends at the moment"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape started_shape[] = {
        S_ENUM   ("status", job_status_names),
        S_INTEGER("pid", .nullable = true, .example = "4242"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape output_shape[] = {
        S_STRING ("data", .example = "\"42\\n\""),
        S_INTEGER("offset", .doc = "Of its first byte in the stream", .example = "0"),
        S_INTEGER("end", .doc = "Offset behind its last one", .example = "3"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape gap_shape[] = {
        S_STRING ("stream", .doc = "stdout or stderr", .example = "\"stdout\""),
        S_INTEGER("from", .example = "0"),
        S_INTEGER("to", .example = "512"),
        S_INTEGER("lost", .doc = "Bytes between them, which are not kept any more", .example = "512"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape exit_shape[] = {
        S_INTEGER("code", .example = "0"),
        S_INTEGER("exitCode", .doc = "The same", .example = "0"),
        S_INTEGER("exit_code", .doc = "The same", .example = "0"),
        S_ENUM   ("status", job_status_names),
        S_ENUM   ("reason", job_reason_names),
        S_INTEGER("signal", .optional = true, .example = "9"),
        S_OBJECT ("next_offset", job_offsets_shape, .doc = "Where its output has ended"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape complete_shape[] = {
        S_BOOL   ("success", .doc = "It ended by itself, with exit code 0"),
        S_INTEGER("exit_code", .example = "0"),
        S_STRING ("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_ENUM   ("status", job_status_names),
        S_TIME   ("timestamp"),
        S_END
};

const struct route_doc job_attach_get_doc = {
        .description = "Several clients may be connected to one job. It goes on when they leave.",
        .replies = (const struct route_reply[]){
                { 101, NULL, NULL, "A WebSocket from here on, with one JSON object in each message" },
                { 0 },
        },
        .problems = output_problems,
        .messages = (const struct route_message[]){
                { .type = "input", .args = attach_input_args, .doc = "What the program reads next on stdin" },
                { .type = "eof", .args = channel_nothing_args, .doc = "Nothing will follow on stdin" },
                { .type = "signal", .args = attach_signal_args, .doc = "Sends a signal" },
                { .type = "resize", .args = attach_resize_args, .doc = "Size of its terminal" },
                { .type = "kill", .args = attach_kill_args, .doc = "Kills it with all that it started" },
                { .type = "attached", .body = attached_shape, .doc = "The first message" },
                { .type = "started", .body = started_shape, .doc = "It was queued, and runs now" },
                { .type = "stdout", .body = output_shape, .doc = "Output, as it comes" },
                { .type = "stderr", .body = output_shape, .doc = "Output, as it comes" },
                { .type = "gap", .body = gap_shape, .doc = "Output that is not kept any more" },
                { .type = "exit", .body = exit_shape, .doc = "It has ended" },
                { .type = "complete", .body = complete_shape, .doc = "The last message" },
                CHANNEL_MESSAGES,
                { .type = NULL },
        },
};
/* clang-format on */
