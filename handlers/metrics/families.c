/* SPDX-License-Identifier: Apache-2.0 */

/* Names: the unit is at the end, in its base (seconds, bytes, ratio), counters have _total behind it, and nothing that
 * a client chooses is in a label: routes are those of the route table, so the number of series is bounded. */

#include "handlers/metrics/families.h"

#include <stdio.h>

#include "agent/app.h"
#include "agent/host/host.h"
#include "agent/http/router.h"
#include "agent/loop/lag.h"
#include "agent/metrics_executions.h"
#include "agent/metrics_routes.h"
#include "build_config.h"
#include "handlers/metrics/exposition.h"
#include "handlers/metrics/readings.h"
#include "proc/warm.h"

/* --- what has labels --- */

static void collect_build(struct exposition *e, const struct readings *r)
{
        (void)r;
        exposition_add(e, (const char *const[]){ VM_AGENT_VERSION }, 1);
}

static void collect_started(struct exposition *e, const struct readings *r)
{
        exposition_add(e, NULL, (uint64_t)r->metrics.started_realtime_ms);
}

static void collect_cpu(struct exposition *e, const struct readings *r)
{
        exposition_add(e, (const char *const[]){ "user" }, r->self.cpu_user_us);
        exposition_add(e, (const char *const[]){ "system" }, r->self.cpu_system_us);
}

static void collect_lag(struct exposition *e, const struct readings *r)
{
        exposition_add_histogram(e, NULL, loop_lag_histogram(r->app->loop));
}

static void for_each_route(struct exposition *e, const struct readings *r,
                           void (*fn)(struct exposition *e, const char *method, const char *path,
                                      const struct route_metrics *m))
{
        const struct app *app = r->app;

        for (size_t i = 0; i <= app->n_routes; i++) {
                const struct route_metrics *m = route_table_metrics_find(r->metrics.routes, i);

                if (m && i == app->n_routes) /* those that fit none: of any method and path */
                        fn(e, "", "", m);
                else if (m)
                        fn(e, http_method_name(app->routes[i].method), app->routes[i].path, m);
        }
}

static void add_requests(struct exposition *e, const char *method, const char *path,
                         const struct route_metrics *m)
{
        static const char *const outcomes[N_OUTCOMES] = {
                [OUTCOME_LEFT] = "left", [OUTCOME_1XX] = "1xx", [OUTCOME_2XX] = "2xx",
                [OUTCOME_3XX] = "3xx",   [OUTCOME_4XX] = "4xx", [OUTCOME_5XX] = "5xx",
        };

        for (int i = 0; i < N_OUTCOMES; i++)
                if (m->outcomes[i] > 0)
                        exposition_add(e, (const char *const[]){ method, path, outcomes[i] },
                                       m->outcomes[i]);
}

static void collect_requests(struct exposition *e, const struct readings *r)
{
        for_each_route(e, r, add_requests);
}

static void add_durations(struct exposition *e, const char *method, const char *path,
                          const struct route_metrics *m)
{
        if (m->duration.count > 0)
                exposition_add_histogram(e, (const char *const[]){ method, path }, &m->duration);
}

static void collect_durations(struct exposition *e, const struct readings *r)
{
        for_each_route(e, r, add_durations);
}

static void add_received(struct exposition *e, const char *method, const char *path,
                         const struct route_metrics *m)
{
        exposition_add(e, (const char *const[]){ method, path }, m->received);
}

static void collect_received(struct exposition *e, const struct readings *r)
{
        for_each_route(e, r, add_received);
}

static void add_sent(struct exposition *e, const char *method, const char *path,
                     const struct route_metrics *m)
{
        exposition_add(e, (const char *const[]){ method, path }, m->sent);
}

static void collect_sent(struct exposition *e, const struct readings *r)
{
        for_each_route(e, r, add_sent);
}

/* Successes and failures are there from the start, so that the first one is seen as an increase. */
static void collect_executions(struct exposition *e, const struct readings *r)
{
        const struct execution_metrics *m = r->metrics.executions;

        for (int kind = 0; kind < N_EXECUTION_KINDS; kind++)
                for (int mode = 0; mode < N_EXECUTION_MODES; mode++)
                        for (int i = 0; i < N_EXECUTION_OUTCOMES; i++)
                                if (i <= EXECUTION_ERROR || m->counts[kind][mode][i] > 0)
                                        exposition_add(
                                                e,
                                                (const char *const[]){ execution_kind_names[kind],
                                                                       execution_mode_names[mode],
                                                                       execution_outcome_names[i] },
                                                m->counts[kind][mode][i]);
}

static void collect_execution_durations(struct exposition *e, const struct readings *r)
{
        const struct execution_metrics *m = r->metrics.executions;

        for (int kind = 0; kind < N_EXECUTION_KINDS; kind++)
                exposition_add_histogram(e, (const char *const[]){ execution_kind_names[kind] },
                                         &m->duration[kind]);
}

static void collect_webhooks(struct exposition *e, const struct readings *r)
{
        exposition_add(e, (const char *const[]){ "delivered" }, r->metrics.webhooks_delivered);
        exposition_add(e, (const char *const[]){ "failed" }, r->metrics.webhooks_failed);
        exposition_add(e, (const char *const[]){ "refused" }, r->metrics.webhooks_refused);
}

static void collect_warm_processes(struct exposition *e, const struct readings *r)
{
        struct warm_counts w;

        for (unsigned i = 0; r->app->warm && warm_count(r->app->warm, i, &w); i++) {
                exposition_add(e, (const char *const[]){ w.pool, "ready" }, w.n_ready);
                exposition_add(e, (const char *const[]){ w.pool, "starting" }, w.n_starting);
        }
}

static void collect_warm_hits(struct exposition *e, const struct readings *r)
{
        struct warm_counts w;

        for (unsigned i = 0; r->app->warm && warm_count(r->app->warm, i, &w); i++)
                exposition_add(e, (const char *const[]){ w.pool }, w.hits);
}

static void collect_warm_misses(struct exposition *e, const struct readings *r)
{
        struct warm_counts w;

        for (unsigned i = 0; r->app->warm && warm_count(r->app->warm, i, &w); i++)
                for (int miss = 0; miss < N_WARM_MISSES; miss++)
                        exposition_add(e,
                                       (const char *const[]){
                                               w.pool, warm_miss_name((enum warm_miss)miss) },
                                       w.misses[miss]);
}

static void collect_warm_restarts(struct exposition *e, const struct readings *r)
{
        struct warm_counts w;

        for (unsigned i = 0; r->app->warm && warm_count(r->app->warm, i, &w); i++)
                exposition_add(e, (const char *const[]){ w.pool }, w.restarts);
}

/* Nothing at all until there are readings: zero would be a lie. */
static void collect_system_cpu(struct exposition *e, const struct readings *r)
{
        if (r->host->sampled_at_ms > 0)
                exposition_add(e, NULL, (uint64_t)(r->host->cpu_percent * 1e4));
}

static void collect_system_cores(struct exposition *e, const struct readings *r)
{
        if (r->host->sampled_at_ms > 0)
                exposition_add(e, NULL, (uint64_t)(r->host->cpu_cores * 1e6));
}

static void collect_system_memory(struct exposition *e, const struct readings *r)
{
        if (r->host->sampled_at_ms <= 0)
                return;
        exposition_add(e, (const char *const[]){ "used" }, r->host->memory_used);
        exposition_add(e, (const char *const[]){ "free" }, r->host->memory_free);
}

static void collect_system_disk(struct exposition *e, const struct readings *r)
{
        if (!r->host->has_disk)
                return;
        exposition_add(e, (const char *const[]){ "used" }, r->host->disk.used);
        exposition_add(e, (const char *const[]){ "free" }, r->host->disk.free);
}

/* --- the table --- */

#define AT(member) .offset = offsetof(struct readings, member)

/* clang-format off */
#define GAUGE(n, ...)     { .name = (n), .type = FAMILY_GAUGE, __VA_ARGS__ }
#define COUNTER(n, ...)   { .name = (n), .type = FAMILY_COUNTER, __VA_ARGS__ }
/* Bounds: two to the power of the bits, in microseconds. */
#define HISTOGRAM(n, first, last, step, ...) \
        { .name = (n), .type = FAMILY_HISTOGRAM, .unit = "seconds", .first_bits = (first), .last_bits = (last), \
          .step_bits = (step), __VA_ARGS__ }

const struct family families[] = {
        { .name = "build", .type = FAMILY_INFO, .labels = { "version" }, .collect = collect_build,
          .help = "Which agent this is." },

        GAUGE    ("start_time_seconds", .unit = "seconds", .decimals = FAMILY_MILLI, .collect = collect_started,
                  .help = "When the agent started, in seconds since 1970."),
        GAUGE    ("uptime_seconds", .unit = "seconds", .decimals = FAMILY_MILLI, AT(uptime_ms),
                  .help = "How long the agent has been running."),
        COUNTER  ("cpu_seconds", .unit = "seconds", .decimals = FAMILY_MICRO, .labels = { "mode" }, .collect = collect_cpu,
                  .help = "Processor time of the agent itself, without what it executes."),
        GAUGE    ("resident_memory_bytes", .unit = "bytes", AT(self.resident),
                  .help = "Memory of the agent itself."),
        GAUGE    ("open_fds", AT(self.fds), .help = "Open file descriptors of the agent."),
        GAUGE    ("max_fds", AT(self.max_fds), .help = "How many file descriptors the agent may have."),
        HISTOGRAM("loop_lag_seconds", 8, 22, 2, .collect = collect_lag,
                  .help = "How late the event loop came to a timer, four times a second."),
        COUNTER  ("resumes", AT(metrics.resumes_total),
                  .help = "Times that the machine had stood still, or that its clock was set."),
        COUNTER  ("paused_seconds", .unit = "seconds", .decimals = FAMILY_MICRO, AT(metrics.paused_us_total),
                  .help = "How long it stood still."),
        GAUGE    ("worker_jobs", AT(worker_jobs), .help = "Work that the worker threads have, or that waits for one."),

        COUNTER  ("http_connections", AT(metrics.connections_total), .help = "Connections that were accepted."),
        GAUGE    ("http_open_connections", AT(metrics.connections), .help = "Connections that are open."),
        COUNTER  ("http_cut_connections", AT(metrics.connections_cut),
                  .help = "Connections that were closed because a request did not arrive in time."),
        COUNTER  ("http_requests", .labels = { "method", "route", "status" }, .collect = collect_requests,
                  .help = "Requests that are over, by the first digit of their status; left: the client was gone before its answer."),
        GAUGE    ("http_active_requests", AT(metrics.requests_live), .help = "Requests that are not over."),
        HISTOGRAM("http_request_duration_seconds", 8, 28, 2, .labels = { "method", "route" }, .collect = collect_durations,
                  .help = "From the start of a request to the end of its answer; without WebSockets."),
        COUNTER  ("http_received_bytes", .unit = "bytes", .labels = { "method", "route" }, .collect = collect_received,
                  .help = "Bodies of requests."),
        COUNTER  ("http_sent_bytes", .unit = "bytes", .labels = { "method", "route" }, .collect = collect_sent,
                  .help = "Bodies of answers."),
        COUNTER  ("http_refused_tokens", AT(metrics.refused_tokens),
                  .help = "Requests without a valid token, where one is needed."),
        COUNTER  ("http_rate_limited_requests", AT(metrics.refused_rate),
                  .help = "Requests beyond what the option rate-limit allows."),
        COUNTER  ("websockets", AT(metrics.websockets_total), .help = "WebSockets that were opened."),
        COUNTER  ("websocket_received_bytes", .unit = "bytes", AT(metrics.websocket_received),
                  .help = "Messages that came on WebSockets."),
        COUNTER  ("websocket_sent_bytes", .unit = "bytes", AT(metrics.websocket_sent),
                  .help = "Messages that were sent on WebSockets."),
        GAUGE    ("open_websockets", AT(metrics.websockets), .help = "WebSockets that are open."),

        COUNTER  ("executions", .labels = { "language", "mode", "outcome" }, .collect = collect_executions,
                  .help = "Executions that have ended."),
        HISTOGRAM("execution_duration_seconds", 10, 32, 2, .labels = { "language" }, .collect = collect_execution_durations,
                  .help = "From the start of a program to its end."),
        GAUGE    ("running_executions", AT(processes.running), .help = "Executions and terminals that are running."),
        GAUGE    ("lingering_executions", AT(processes.lingering),
                  .help = "Executions that have ended and left processes behind."),
        GAUGE    ("running_jobs", AT(processes.jobs), .help = "Background jobs that are running."),
        GAUGE    ("queued_jobs", AT(jobs_queued), .help = "Background jobs that wait for their turn."),
        GAUGE    ("known_jobs", AT(jobs_known), .help = "Background jobs in any state, whose output is kept."),
        COUNTER  ("terminals", AT(metrics.terminals_total), .help = "Terminals that were opened."),
        GAUGE    ("open_terminals", AT(terminals), .help = "Terminals that are open."),

        GAUGE    ("warm_processes", .labels = { "pool", "state" }, .collect = collect_warm_processes,
                  .help = "Processes that wait for an execution."),
        COUNTER  ("warm_hits", .labels = { "pool" }, .collect = collect_warm_hits,
                  .help = "Executions that were given a waiting process."),
        COUNTER  ("warm_misses", .labels = { "pool", "reason" }, .collect = collect_warm_misses,
                  .help = "Executions that were started without one."),
        COUNTER  ("warm_restarts", .labels = { "pool" }, .collect = collect_warm_restarts,
                  .help = "Times that a pool was started again."),

        COUNTER  ("cache_hits", AT(cache.hits), .help = "Results that were found in the cache, or shared."),
        COUNTER  ("cache_misses", AT(cache.misses), .help = "Results that had to be made."),
        COUNTER  ("cache_evictions", AT(cache.evicted), .help = "Results that had to make room for others."),
        GAUGE    ("cache_entries", AT(cache.n_entries), .help = "Results that are kept."),
        GAUGE    ("cache_size_bytes", .unit = "bytes", AT(cache.size), .help = "Size of the results that are kept."),

        COUNTER  ("webhooks", .labels = { "outcome" }, .collect = collect_webhooks,
                  .help = "Webhooks that were delivered, or given up."),
        GAUGE    ("queued_webhooks", AT(webhooks_queued), .help = "Webhooks that are still to be delivered."),
        GAUGE    ("watches", AT(watches.n_watches), .help = "Watches of files."),
        GAUGE    ("watched_directories", AT(watches.n_directories), .help = "Directories that they watch."),
        GAUGE    ("metrics_streams", AT(metrics_streams), .help = "Clients that follow the metrics."),

        GAUGE    ("system_cpu_usage_ratio", .unit = "ratio", .decimals = FAMILY_MICRO, .collect = collect_system_cpu,
                  .help = "How busy the processors are that may be used, from 0 to 1."),
        GAUGE    ("system_cpu_cores", .decimals = FAMILY_MICRO, .collect = collect_system_cores,
                  .help = "Processors that may be used, limits considered."),
        GAUGE    ("system_memory_bytes", .unit = "bytes", .labels = { "state" }, .collect = collect_system_memory,
                  .help = "Memory of the machine, or of its share."),
        GAUGE    ("system_disk_bytes", .unit = "bytes", .labels = { "state" }, .collect = collect_system_disk,
                  .help = "Space on the disk of the workspace."),
        { .name = NULL }
};
/* clang-format on */
