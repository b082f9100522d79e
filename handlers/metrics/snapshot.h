/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The snapshot: names are the clients', those of "agent" are ours. */

#include <jansson.h>

#include "agent/json/shape.h"

struct app;

/* A new object. */
json_t *metrics_snapshot(struct app *app);

extern const struct shape metrics_snapshot_shape[];

/* The plain numbers of "agent": name, member of struct readings, what it is. */
#define SNAPSHOT_NUMBERS(X)                                                                        \
        X("connections", metrics.connections, "Open connections")                                  \
        X("connections_total", metrics.connections_total, "Connections since the start")           \
        X("connections_cut", metrics.connections_cut,                                              \
          "Connections that were closed because a request did not arrive in time")                 \
        X("requests_live", metrics.requests_live, "Requests that are not over, this one included") \
        X("hangups", metrics.hangups, "Clients that left before their answer")                     \
        X("refused_tokens", metrics.refused_tokens,                                                \
          "Requests without a valid token, where one is needed")                                   \
        X("refused_rate", metrics.refused_rate,                                                    \
          "Requests beyond what the option rate-limit allows")                                     \
        X("bytes_received", received, "Bodies of all requests")                                    \
        X("bytes_sent", sent, "Bodies of all answers")                                             \
        X("websockets", metrics.websockets, "Open WebSockets")                                     \
        X("websockets_total", metrics.websockets_total, "WebSockets since the start")              \
        X("websocket_bytes_received", metrics.websocket_received, "Messages that came on them")    \
        X("websocket_bytes_sent", metrics.websocket_sent, "Messages that were sent on them")       \
        X("terminals", terminals, "Open terminals")                                                \
        X("terminals_total", metrics.terminals_total, "Terminals since the start")                 \
        X("watches", watches.n_watches, "Watches of files")                                        \
        X("watched_directories", watches.n_directories, "Directories that they watch")             \
        X("watched_entries", watches.n_entries, "Files and directories that they remember")        \
        X("metrics_streams", metrics_streams, "Clients that follow GET /metrics/stream")           \
        X("processes_running", processes.running, "Executions and terminals that are running")     \
        X("processes_lingering", processes.lingering,                                              \
          "Executions that have ended and left processes behind")                                  \
        X("processes_started", processes.started, "Executions and terminals since the start")      \
        X("jobs_running", processes.jobs, "Background jobs that are running")                      \
        X("jobs_queued", jobs_queued, "Background jobs that wait for their turn")                  \
        X("jobs_known", jobs_known, "Background jobs in any state, whose output is kept")          \
        X("callbacks_pending", callbacks, "Background jobs whose callback is not delivered yet")   \
        X("webhooks_queued", webhooks_queued, "Webhooks that are still to be delivered")           \
        X("webhooks_delivered", metrics.webhooks_delivered, "Webhooks that were delivered")        \
        X("webhooks_failed", metrics.webhooks_failed, "Webhooks that were given up")               \
        X("webhooks_refused", metrics.webhooks_refused,                                            \
          "Webhooks to targets that are not allowed")                                              \
        X("worker_jobs", worker_jobs, "Work that the worker threads have, or that waits for one")  \
        X("resumes", metrics.resumes_total,                                                        \
          "Times that the machine had stood still, or that its clock was set")                     \
        X("resident_bytes", self.resident, "Memory of the agent itself")                           \
        X("open_fds", self.fds, "Its open file descriptors")                                       \
        X("max_fds", self.max_fds, "How many it may have")                                         \
        X("loop_lag_ms", lag_ms, "How late the event loop was last")                               \
        X("loop_lag_max_ms", lag_max_ms, "How late it was at worst since the start")
