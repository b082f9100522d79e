/* SPDX-License-Identifier: Apache-2.0 */

/* GET /jupyter/sessions and /jupyter/status: clients ask which Jupyter kernels run. None ever does: code runs in
 * processes of its own, and what it displays is told without kernels. The list says so by being empty; that is an
 * answer, not an error, because clients go through it without a look at anything else. */

#include "handlers/jupyter.h"

#include <jansson.h>

#include "agent/base/clock.h"
#include "agent/http/request.h"
#include "agent/http/route_doc.h"

#define STATUS "unavailable"
#define REASON "NO_JUPYTER"
#define MESSAGE \
        "This agent runs no Jupyter kernels; code runs in processes of its own (POST /execute)."

/* Answers GET /jupyter/sessions and GET /jupyter/status. */
int jupyter_sessions_get(struct request *req)
{
        char now[CLOCK_RFC3339_SIZE];

        return request_reply_json(req, 200,
                                  json_pack("{s:[], s:i, s:b, s:s, s:s, s:s, s:s}", "sessions",
                                            "count", 0, "available", 0, "status", STATUS, "reason",
                                            REASON, "message", MESSAGE, "timestamp",
                                            clock_rfc3339_now(now)));
}

/* clang-format off */

/* What clients read of a kernel. */
static const struct shape session_shape[] = {
        S_STRING ("kernel_id", .example = "\"3e1f\"", .doc = "The kernel's id"),
        S_STRING ("execution_state", .example = "\"idle\"", .doc = "What the kernel does"),
        S_INTEGER("connections", .example = "1", .doc = "Clients that are connected to it"),
        S_TIME   ("last_activity", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When it last did something"),
        S_END
};

static const struct enum_name statuses[] = { { STATUS, 0 }, { NULL, 0 } };
static const struct enum_name reasons[] = { { REASON, 0 }, { NULL, 0 } };

static const struct shape sessions_shape[] = {
        S_LIST   ("sessions", S_ITEM_OF(SHAPE_OBJECT, session_shape), .example = "[]", .doc = "Always empty"),
        S_INTEGER("count", .example = "0", .doc = "Sessions in the list"),
        S_BOOL   ("available", .example = "false", .doc = "Always false: there are no kernels"),
        S_ENUM   ("status", statuses, .example = "\"" STATUS "\"", .doc = "The same in a word"),
        S_ENUM   ("reason", reasons, .example = "\"" REASON "\"", .doc = "Why there are none, for programs"),
        S_STRING ("message", .example = "\"" MESSAGE "\"", .doc = "Why there are none, for people"),
        S_TIME   ("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When this was said"),
        S_END
};

static const struct route_reply replies[] = {
        { 200, NULL, sessions_shape, "No session, and why" },
        { 0 },
};

/* clang-format on */

/* Of jupyter_sessions_get. */
const struct route_doc jupyter_sessions_get_doc = {
        .description =
                "This agent runs no Jupyter kernels, so the list of their sessions is empty. Code runs in "
                "processes of its own: `POST /execute` answers what it prints, and what it displays "
                "(pictures, tables, HTML).",
        .replies = replies,
};
