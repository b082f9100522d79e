/* SPDX-License-Identifier: Apache-2.0 */

/* What these routes answer, for the documents. */

#include <jansson.h>

#include "agent/http/sse.h"
#include "agent/http/stream.h"
#include "handlers/metrics/exposition.h"
#include "handlers/metrics/metrics.h"
#include "handlers/metrics/snapshot.h"

/* clang-format off */
static const struct shape outcomes_shape[] = {
        S_INTEGER("success", .doc = "Answers below 400", .example = "41"),
        S_INTEGER("error",   .doc = "Answers from 400 on", .example = "1"),
        S_END
};

static const struct shape kind_shape[] = {
        S_MAP   ("outcomes", S_ITEM(SHAPE_INTEGER), .example = "{\"success\": 12, \"timeout\": 1}",
                 .doc = "How many ended how: success, error, signal, timeout, killed, oom, cpu_limit, output_limit, lost, "
                        "not_started, or refused, which were never executions. Only those that there were"),
        S_MAP   ("modes", S_ITEM(SHAPE_INTEGER), .example = "{\"sync\": 13}",
                 .doc = "How many were answered at their end (sync), followed on a WebSocket (stream) or in the background"),
        S_NUMBER("avg_duration_ms", .doc = "Average time from start to end, milliseconds", .example = "31.5"),
        S_NUMBER("p95_duration_ms", .doc = "95 of 100 took no longer, milliseconds", .example = "88.1"),
        S_END
};

static const struct shape cpu_shape[] = {
        S_NUMBER("usage_percent", .doc = "How busy the processors are that may be used, 0 to 100", .example = "12.5"),
        S_NUMBER("cores", .doc = "Processors that may be used, limits considered", .example = "2"),
        S_END
};

static const struct shape space_shape[] = {
        S_INTEGER("total", .doc = "Bytes", .example = "4294967296"),
        S_INTEGER("used",  .doc = "Bytes", .example = "1073741824"),
        S_INTEGER("free",  .doc = "Bytes", .example = "3221225472"),
        S_NUMBER ("usage_percent", .doc = "Used, of total, 0 to 100", .example = "25"),
        S_END
};

static const struct shape system_shape[] = {
        S_OBJECT("cpu", cpu_shape, .doc = "Processors"),
        S_OBJECT("memory", space_shape, .doc = "Memory of the machine, or of its share"),
        S_OBJECT("disk", space_shape, .doc = "The disk of the workspace"),
        S_END
};

static const struct shape process_shape[] = {
        S_INTEGER("count", .doc = "Executions, terminals and background jobs that run or have left processes behind",
                  .example = "3"),
        S_INTEGER("running", .doc = "Those of them that run", .example = "2"),
        S_END
};

static const struct shape cache_shape[] = {
        S_INTEGER("size", .doc = "Bytes of the results that are kept", .example = "5120"),
        S_INTEGER("entries", .doc = "How many are kept", .example = "4"),
        S_INTEGER("hits", .doc = "Results that were found, or shared", .example = "9"),
        S_INTEGER("misses", .doc = "Results that had to be made", .example = "3"),
        S_NUMBER ("hit_rate", .doc = "Hits, of both, 0 to 1", .example = "0.75"),
        S_END
};

static const struct shape pool_shape[] = {
        S_BOOL   ("enabled", .doc = "Whether processes are kept waiting"),
        S_BOOL   ("given_up", .doc = "It failed too often, and rests until the next reload"),
        S_INTEGER("ready", .doc = "Processes that wait", .example = "2"),
        S_INTEGER("starting", .doc = "Processes that are about to"),
        S_INTEGER("waiting", .doc = "Executions that wait for one"),
        S_INTEGER("target", .doc = "How many are to wait", .example = "2"),
        S_INTEGER("server_pid", .nullable = true, .doc = "Process from which the others are made; null: there is none",
                  .example = "4711"),
        S_LIST   ("pids", S_ITEM(SHAPE_INTEGER), .doc = "The processes", .example = "[4712, 4713]"),
        S_INTEGER("hits", .doc = "Executions that were given one", .example = "12"),
        S_MAP    ("misses", S_ITEM(SHAPE_INTEGER), .example = "{\"empty\": 1}",
                  .doc = "Executions that were started without one, by reason"),
        S_INTEGER("restarts", .doc = "Times that it was started again"),
        S_INTEGER("resident_bytes", .doc = "Memory of all of them", .example = "31457280"),
        S_END
};

#define X(name, member, text) S_INTEGER(name, .doc = text),
static const struct shape agent_shape[] = {
        SNAPSHOT_NUMBERS(X)
        S_NUMBER("loop_lag_p99_ms", .doc = "99 of 100 times the event loop was no later than this", .example = "0.4"),
        S_NUMBER("cpu_seconds", .doc = "Processor time of the agent itself", .example = "1.25"),
        S_STRING("tracking", .optional = true, .doc = "How the processes of an execution are found: cgroup or subreaper",
                 .example = "\"cgroup\""),
        S_MAP   ("warm", S_ITEM_OF(SHAPE_OBJECT, pool_shape), .optional = true,
                 .doc = "Pools of processes that wait for executions, by name"),
        S_END
};
#undef X

const struct shape metrics_snapshot_shape[] = {
        S_INTEGER("uptime_seconds", .doc = "Since the agent started", .example = "3600"),
        S_INTEGER("total_requests", .doc = "Since then, as all that follows", .example = "42"),
        S_INTEGER("total_errors", .doc = "Answers from 400 on", .example = "1"),
        S_INTEGER("error_count", .doc = "The same", .example = "1"),
        S_INTEGER("active_executions", .doc = "That are running now, background jobs included"),
        S_INTEGER("total_executions", .doc = "That have ended; without the refused", .example = "13"),
        S_INTEGER("failed_executions", .doc = "Of these, all but the successes", .example = "1"),
        S_MAP    ("requests_total", S_ITEM_OF(SHAPE_OBJECT, outcomes_shape), .doc = "By route, such as \"POST /execute\"",
                  .example = "{\"POST /execute\": {\"success\": 12, \"error\": 1}}"),
        S_MAP    ("avg_duration_ms", S_ITEM(SHAPE_NUMBER), .doc = "By route: average time until the end of the answer",
                  .example = "{\"POST /execute\": 35.2}"),
        S_MAP    ("p95_duration_ms", S_ITEM(SHAPE_NUMBER), .doc = "By route: 95 of 100 answers took no longer",
                  .example = "{\"POST /execute\": 90.1}"),
        S_MAP    ("executions", S_ITEM_OF(SHAPE_OBJECT, kind_shape),
                  .doc = "By language (python, javascript, bash, go), and commands (command); only those that there were"),
        S_OBJECT ("system", system_shape, .doc = "How the machine is doing"),
        S_OBJECT ("process", process_shape, .doc = "What the agent has started"),
        S_OBJECT ("cache", cache_shape, .doc = "Results that are kept"),
        S_OBJECT ("agent", agent_shape, .doc = "The agent itself"),
        S_TIME   ("timestamp", .doc = "When these numbers were read", .example = "\"2026-01-28T10:00:00.123Z\""),
        S_END
};

const struct route_doc metrics_snapshot_get_doc = {
        .description = "All numbers of one moment. They count from the start of the agent on and take constant memory, "
                       "whatever clients do. GET /metrics and GET /metrics/snapshot answer the same.",
        .replies = (const struct route_reply[]){
                { 200, NULL, metrics_snapshot_shape, "The numbers." },
                { 0 } },
};

const struct route_doc metrics_prometheus_get_doc = {
        .description = "The numbers as text for a Prometheus server, which needs the same token as everybody else. The "
                       "names begin with vm_agent_. With `Accept: application/openmetrics-text` the answer is "
                       "OpenMetrics 1.0.",
        .replies = (const struct route_reply[]){
                { 200, EXPOSITION_TEXT, NULL, "The text format of Prometheus." },
                { 200, EXPOSITION_OPENMETRICS, NULL, "OpenMetrics, for clients that accept it and rank it first." },
                { 0 } },
        .problems = (const enum problem[]){ PROBLEM_UNAVAILABLE, N_PROBLEMS },
};

const struct route_doc metrics_stream_get_doc = {
        .description = "A snapshot now, and one more after each interval, until the client leaves or the agent stops. Each "
                       "is an event named snapshot, whose data is the document of GET /metrics/snapshot; or a line, with "
                       "`Accept: application/x-ndjson`. Who reads too slowly misses some: at most one waits.",
        .replies = (const struct route_reply[]){
                { 200, SSE_TYPE, metrics_snapshot_shape, "Server-sent events." },
                { 200, STREAM_TYPE_NDJSON, metrics_snapshot_shape,
                  "Lines, each of which is a snapshot; empty ones say only that the agent is still there." },
                { 0 } },
        .problems = (const enum problem[]){ PROBLEM_LIMIT_REACHED, N_PROBLEMS },
};
/* clang-format on */
