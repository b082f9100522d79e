/* SPDX-License-Identifier: Apache-2.0 */

/* What the routes of background jobs answer, but for their output (doc_output.c). */

#include "handlers/jobs/doc.h"

#include "handlers/jobs/control.h"
#include "handlers/jobs/kill.h"
#include "handlers/jobs/list.h"
#include "handlers/jobs/submit.h"

/* clang-format off */
const struct enum_name job_status_names[] = {
        { "running", 0 }, { "queued", 0 }, { "completed", 0 }, { "failed", 0 }, { "killed", 0 }, { "timeout", 0 },
        { NULL, 0 },
};

const struct enum_name job_reason_names[] = {
        { "exit", 0 }, { "signal", 0 }, { "timeout", 0 }, { "killed", 0 }, { "oom", 0 }, { "spawn", 0 }, { "lost", 0 },
        { "cpu_limit", 0 }, { NULL, 0 },
};

static const struct enum_name callback_status_names[] = {
        { "waiting", 0 }, { "pending", 0 }, { "delivering", 0 }, { "delivered", 0 }, { "failed", 0 },
        { "refused", 0 }, { NULL, 0 },
};

const struct shape job_callback_shape[] = {
        S_STRING ("url", .doc = "callback_url of the request", .example = "\"https://example.com/hook\""),
        S_ENUM   ("status", callback_status_names,
                  .doc = "waiting: for the job's end; refused: its address is not allowed"),
        S_INTEGER("attempts", .doc = "Requests that were sent", .example = "0"),
        S_STRING ("last_error", .nullable = true, .doc = "Why the last one failed", .example = "null"),
        S_INTEGER("last_status", .optional = true, .nullable = true, .doc = "What the receiver answered last",
                  .example = "200"),
        S_TIME   ("next_attempt_at", .nullable = true, .doc = "When the next one is due", .example = "null"),
        S_TIME   ("delivered_at", .optional = true, .nullable = true, .doc = "When the receiver took it"),
        S_STRING ("delivery_id", .optional = true, .doc = "The same for all attempts",
                  .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_END
};

static const struct shape job_shape[] = {
        JOB_MEMBERS,
        S_END
};

static const struct shape view_shape[] = {
        JOB_MEMBERS,
        S_STRING("stdout", .doc = "The last 64 KiB, as text", .example = "\"42\\n\""),
        S_BOOL  ("stdout_truncated", .doc = "There was more", .example = "false"),
        S_STRING("stderr", .doc = "Likewise", .example = "\"\""),
        S_BOOL  ("stderr_truncated", .doc = "Likewise", .example = "false"),
        RICH_MEMBERS,
        S_END
};

static const struct shape waited_shape[] = {
        JOB_MEMBERS,
        S_BOOL("finished", .doc = "It has ended; false: the time to wait is over"),
        S_END
};

static const struct shape accepted_shape[] = {
        JOB_MEMBERS,
        S_BOOL  ("success", .doc = "It was accepted"),
        S_STRING("message", .doc = "What may be done next",
                 .example = "\"started; GET /execute/processes/proc_63d8ac4c9bf4b8c5fc0a4ed1 tells its state\""),
        S_STRING("callback_url", .optional = true, .doc = "Where the result goes; of POST /execute/async",
                 .example = "\"https://example.com/hook\""),
        S_TIME  ("timestamp"),
        S_END
};

/* All that there was memory for. */
static const struct shape brief_shape[] = {
        S_BOOL  ("success"),
        S_STRING("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_STRING("id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_ENUM  ("status", job_status_names),
        S_END
};

static const struct shape list_shape[] = {
        S_LIST   ("processes", S_ITEM_OF(SHAPE_OBJECT, job_shape), .doc = "The newest first"),
        S_INTEGER("count", .doc = "Jobs in this answer"),
        S_INTEGER("total", .doc = "Jobs that fit, on all pages"),
        S_BOOL   ("has_more", .doc = "There is another page", .example = "false"),
        S_STRING ("next_cursor", .nullable = true, .doc = "cursor of the next page; null: there is none",
                  .example = "null"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape input_shape[] = {
        S_BOOL   ("success"),
        S_STRING ("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING ("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_INTEGER("bytes_written", .doc = "All of them, or the request would have failed", .example = "4"),
        S_BOOL   ("eof", .doc = "Standard input is closed behind them", .example = "false"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct shape signal_shape[] = {
        S_BOOL  ("success"),
        S_STRING("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING("execution_id", .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_STRING("signal", .doc = "Its name", .example = "\"SIGINT\""),
        S_TIME  ("timestamp"),
        S_END
};

static const struct shape kill_shape[] = {
        S_BOOL   ("success"),
        S_STRING ("process_id", .example = "\"proc_63d8ac4c9bf4b8c5fc0a4ed1\""),
        S_STRING ("execution_id", .doc = "The same as process_id, if it did not run in the background",
                  .example = "\"exec_8fd2b2a17dd0a1c02b5a3e77\""),
        S_ENUM   ("status", job_status_names, .doc = "Where it is now"),
        S_STRING ("message", .example = "\"Process terminated successfully\""),
        S_INTEGER("exit_code", .nullable = true, .doc = "Null if it is not known yet", .example = "143"),
        S_TIME   ("timestamp"),
        S_END
};

static const struct route_reply accepted[] = {
        { 200, NULL, accepted_shape, "It was accepted, and is started as soon as there is room" },
        { 200, NULL, brief_shape, "The same, where there was no memory to say more" },
        { 0 },
};

#define START_PROBLEMS                                                                                      \
        PROBLEM_INVALID_REQUEST, PROBLEM_WORKDIR_NOT_FOUND, PROBLEM_COMMAND_NOT_FOUND,                      \
        PROBLEM_COMMAND_NOT_EXECUTABLE, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, PROBLEM_INTERNAL

static const enum problem code_problems[] = { START_PROBLEMS, PROBLEM_RUNTIME_NOT_AVAILABLE, N_PROBLEMS };
static const enum problem command_problems[] = { START_PROBLEMS, N_PROBLEMS };
static const enum problem find_problems[] = { PROBLEM_PROCESS_NOT_FOUND, PROBLEM_UNAVAILABLE, N_PROBLEMS };
static const enum problem read_problems[] = {
        PROBLEM_PROCESS_NOT_FOUND, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS,
};
static const enum problem list_problems[] = {
        PROBLEM_INVALID_REQUEST, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS,
};
static const enum problem send_problems[] = {
        PROBLEM_PROCESS_NOT_FOUND, PROBLEM_PROCESS_NOT_RUNNING, PROBLEM_INVALID_REQUEST, PROBLEM_MISSING_PARAMETER,
        PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS,
};
static const enum problem kill_problems[] = {
        PROBLEM_PROCESS_NOT_FOUND, PROBLEM_MISSING_PARAMETER, PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE, N_PROBLEMS,
};

const struct route_doc execute_background_post_doc = {
        .description = "Code that outlives the request, its connection, and the agent itself. What it writes is kept.",
        .replies = accepted,
        .problems = code_problems,
        .example = "{\"code\":\"print(6 * 7)\",\"language\":\"python\",\"name\":\"answer\"}",
};

const struct route_doc commands_background_post_doc = {
        .description = "As `POST /execute/background`, for a command.",
        .replies = accepted,
        .problems = command_problems,
        .example = "{\"command\":\"sleep 1; echo 42\",\"name\":\"answer\"}",
};

const struct route_doc execute_async_post_doc = {
        .description = "As `POST /execute/background`; at its end the result is sent to `callback_url` by POST, signed "
                       "if there is a secret, and again until the receiver takes it.",
        .replies = accepted,
        .problems = code_problems,
        .example = "{\"code\":\"print(6 * 7)\",\"callback_url\":\"https://example.com/hook\"}",
};

const struct route_doc jobs_list_get_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, list_shape, "One page" }, { 0 } },
        .problems = list_problems,
};

const struct route_doc job_get_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, view_shape, "It, with the end of its output" }, { 0 } },
        .problems = read_problems,
};

const struct route_doc job_wait_get_doc = {
        .description = "White space may come before the answer, which keeps the connection alive.",
        .replies = (const struct route_reply[]){ { 200, NULL, waited_shape, "It has ended, or time is over" }, { 0 } },
        .problems = find_problems,
};

const struct route_doc job_input_post_doc = {
        .description = "All of it is taken, or nothing.",
        .replies = (const struct route_reply[]){ { 200, NULL, input_shape, "The program can read it" }, { 0 } },
        .problems = send_problems,
        .example = "{\"data\":\"yes\\n\"}",
};

const struct route_doc job_signal_post_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, signal_shape, "It was sent" }, { 0 } },
        .problems = send_problems,
        .example = "{\"signal\":\"SIGINT\"}",
};

const struct route_doc kill_any_doc = {
        .description = "SIGTERM, and after `grace` seconds SIGKILL, for all that the execution started. Only what the "
                       "agent started can be killed: by the id of its execution, or the pid of any of its processes. "
                       "The answer comes when a background process has ended; of others, at once.",
        .replies = (const struct route_reply[]){ { 200, NULL, kill_shape, "It is killed, or had ended" }, { 0 } },
        .problems = kill_problems,
};
/* clang-format on */
