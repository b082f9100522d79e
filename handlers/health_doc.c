/* SPDX-License-Identifier: Apache-2.0 */

/* What /, /ping and /health answer. */

#include "agent/http/route_doc.h"
#include "handlers/features.h"
#include "handlers/health.h"

/* clang-format off */

#define NOW_EXAMPLE "\"2026-01-15T10:30:00.123Z\""

/* --- / --- */

static const struct enum_name root_statuses[] = { { "running", 0 }, { NULL, 0 } };
static const struct enum_name root_messages[] = { { "success", 0 }, { NULL, 0 } };

static const struct shape root_shape[] = {
        S_STRING("agent", .example = "\"" AGENT_NAME "\"", .doc = "Name of the program"),
        S_ENUM  ("status", root_statuses, .example = "\"running\"", .doc = "That it answers"),
        S_STRING("version", .example = "\"0.1.0\"", .doc = "Of the program"),
        S_STRING("vm_id", .example = "\"vm-1\"", .doc = "Option vm-id"),
        S_ENUM  ("message", root_messages, .example = "\"success\"", .doc = "For clients that look for it"),
        S_TIME  ("timestamp", .example = NOW_EXAMPLE, .doc = "When this was said"),
        S_END
};

static const struct route_reply root_replies[] = {
        { 200, NULL, root_shape, "Who answers here" },
        { 200, "text/html; charset=utf-8", NULL,
          "To browsers (`Accept: text/html`): the console page. Not with the option console off" },
        { 0 },
};

/* Of root_get. */
const struct route_doc root_get_doc = {
        .description = "Says who answers here. Browsers get a page instead, from which code can be run.",
        .replies = root_replies,
};

/* --- /ping --- */

static const struct enum_name ping_statuses[] = { { "ok", 0 }, { NULL, 0 } };
static const struct enum_name ping_messages[] = { { "pong", 0 }, { NULL, 0 } };

static const struct shape ping_shape[] = {
        S_ENUM("status", ping_statuses, .example = "\"ok\"", .doc = "That it answers"),
        S_ENUM("message", ping_messages, .example = "\"pong\"", .doc = "The same"),
        S_TIME("timestamp", .example = NOW_EXAMPLE, .doc = "When this was said"),
        S_END
};

static const struct route_reply ping_replies[] = {
        { 200, NULL, ping_shape, "It answers" },
        { 0 },
};

/* Of ping_get. */
const struct route_doc ping_get_doc = {
        .description = "The cheapest question there is: whether the agent answers at all. Whether it can work is "
                       "said by `GET /health`.",
        .replies = ping_replies,
};

/* --- /health --- */

static const struct enum_name check_statuses[] = { { "ok", 0 }, { "failed", 0 }, { "pending", 0 }, { NULL, 0 } };

#define CHECK_SHAPE(is, why)                                                                                        \
        S_ENUM  ("status", check_statuses, .example = is, .doc = "pending: it was never tried, and counts as ok"),  \
        S_STRING("error", .nullable = true, .example = why, .doc = "Why it has failed; null when it has not"),      \
        S_TIME  ("checked_at", .nullable = true, .example = NOW_EXAMPLE,                                            \
                 .doc = "When it was last tried to the end; null: never")

static const struct shape loop_shape[] = {
        CHECK_SHAPE("\"ok\"", "null"),
        S_INTEGER("lag_ms", .example = "0", .doc = "How late the agent last came to what it had to do, milliseconds"),
        S_INTEGER("repeated_lag_ms", .example = "0",
                  .doc = "How late it came at least twice within about a second. One delay that is over is no failure"),
        S_INTEGER("max_lag_ms", .example = "1000", .doc = "What repeated_lag_ms may be"),
        S_END
};

static const struct shape check_shape[] = { CHECK_SHAPE("\"ok\"", "null"), S_END };
static const struct shape failed_shape[] = {
        CHECK_SHAPE("\"failed\"", "\"cannot write there: No space left on device\""), S_END
};

static const struct shape checks_shape[] = {
        S_OBJECT("loop", loop_shape, .doc = "Does the agent come to its work in time?"),
        S_OBJECT("state_dir", check_shape, .doc = "Can a file be written below the option state-dir?"),
        S_OBJECT("spawn", check_shape, .doc = "Can a program be started as executions are?"),
        S_END
};

static const struct shape failed_checks_shape[] = {
        S_OBJECT("loop", loop_shape, .doc = "Does the agent come to its work in time?"),
        S_OBJECT("state_dir", failed_shape, .doc = "Can a file be written below the option state-dir?"),
        S_OBJECT("spawn", check_shape, .doc = "Can a program be started as executions are?"),
        S_END
};

static const struct enum_name resume_kinds[] = { { "pause", 0 }, { "suspend", 0 }, { "clock_set", 0 }, { NULL, 0 } };

static const struct shape resume_shape[] = {
        S_TIME  ("at", .example = NOW_EXAMPLE, .doc = "When it was noticed"),
        S_NUMBER("paused_seconds", .example = "3600.5", .doc = "How long the agent stood still"),
        S_NUMBER("wall_clock_set_seconds", .example = "3600.5", .doc = "By how much the wall clock had been set"),
        S_ENUM  ("kind", resume_kinds, .example = "\"pause\"",
                 .doc = "pause: of the agent or its machine; suspend: of the machine, whose kernel knows; clock_set: "
                        "nothing but the wall clock has jumped"),
        S_END
};

static const struct enum_name healthy[] = { { "healthy", 0 }, { NULL, 0 } };
static const struct enum_name unhealthy[] = { { "unhealthy", 0 }, { NULL, 0 } };

#define HEALTH_SHAPE(statuses, is, checks)                                                                          \
        S_ENUM   ("status", statuses, .example = is, .doc = "healthy comes with 200, unhealthy with 503"),          \
        S_STRING ("agent", .example = "\"" AGENT_NAME "\"", .doc = "Name of the program"),                          \
        S_STRING ("version", .example = "\"0.1.0\"", .doc = "Of the program"),                                      \
        S_STRING ("uptime", .example = "\"2h34m12s\"", .doc = "Since the agent's start, for people"),               \
        S_INTEGER("uptime_seconds", .example = "9252", .doc = "The same for programs"),                             \
        S_STRING ("go_version", .example = "\"none\"", .doc = "For clients that look for it"),                      \
        S_STRING ("vm_id", .example = "\"vm-1\"", .doc = "Option vm-id"),                                           \
        S_OBJECT ("features", features_shape, .doc = "What this agent can do"),                                     \
        S_INTEGER("active_streams", .example = "0", .doc = "Open WebSockets"),                                      \
        S_INTEGER("active_executions", .example = "0", .doc = "Executions and terminals that run"),                 \
        S_TIME   ("timestamp", .example = NOW_EXAMPLE, .doc = "When this was said"),                                \
        S_INTEGER("resumes", .example = "1", .doc = "How often the agent has stood still and been resumed"),        \
        S_OBJECT ("last_resume", resume_shape, .nullable = true, .doc = "The last time; null: never"),              \
        S_OBJECT ("checks", checks, .doc = "What was tried out")

static const struct shape healthy_shape[] = { HEALTH_SHAPE(healthy, "\"healthy\"", checks_shape), S_END };

#define PROBLEM_EXAMPLE \
        "\"The agent is unhealthy. state_dir: cannot write there: No space left on device\""

static const struct shape unhealthy_shape[] = {
        HEALTH_SHAPE(unhealthy, "\"unhealthy\"", failed_checks_shape),
        S_STRING("error", .example = PROBLEM_EXAMPLE, .doc = "All that is wrong, for people"),
        S_STRING("message", .example = PROBLEM_EXAMPLE, .doc = "The same as error"),
        S_STRING("code", .example = "\"SERVICE_UNAVAILABLE\"", .doc = "As of any error with this status"),
        S_STRING("request_id", .example = "\"req_0123456789abcdef01234567\"", .doc = "As in the header X-Request-ID"),
        S_END
};

static const struct route_header unhealthy_headers[] = {
        { "Retry-After", "Seconds to wait; not while the agent is shutting down", "1" },
        { 0 },
};

static const struct route_reply health_replies[] = {
        { 200, NULL, healthy_shape, "All is well" },
        { 503, NULL, unhealthy_shape, "Something is wrong: `checks` says what", unhealthy_headers },
        { 0 },
};

/* clang-format on */

/* Of health_get. */
const struct route_doc health_get_doc = {
        .description =
                "Says whether the agent is fit for work: it comes to its work in time, a file can be written "
                "below its `state-dir`, and a program can be started. The latter two are tried out while "
                "somebody asks, the disk at most every 3 s, a program at most every 30 s, and both sooner "
                "after a failure; the answer never waits for that, but says what was found last.",
        .replies = health_replies,
};
