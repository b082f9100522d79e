/* SPDX-License-Identifier: Apache-2.0 */

/* GET /metrics/snapshot: what the agent counts about itself. */

#include "handlers/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/http/request.h"
#include "agent/http/router.h"
#include "agent/loop/lag.h"
#include "agent/metrics_routes.h"
#include "agent/watch/watch.h"
#include "handlers/cache/results.h"
#include "handlers/features.h"
#include "handlers/terminal/terminals.h"
#include "proc/jobs.h"
#include "proc/supervisor.h"
#include "proc/warm.h"

static uint64_t resident_bytes(void)
{
        unsigned long long total = 0, resident = 0;
        FILE *f = fopen("/proc/self/statm", "re");

        if (!f)
                return 0;
        if (fscanf(f, "%llu %llu", &total, &resident) != 2)
                resident = 0;
        fclose(f);
        return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned open_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        if (!dir)
                return 0;
        while (readdir(dir))
                n++;
        closedir(dir);
        return n - 3; /* ".", ".." and the directory itself */
}

static json_t *describe_cache(const struct app *app)
{
        struct results_totals t;
        uint64_t n;

        results_total(app->results, &t);
        n = t.hits + t.misses;
        return json_pack("{s:I, s:I, s:I, s:f}", "size", (json_int_t)t.size, "hits",
                         (json_int_t)t.hits, "misses", (json_int_t)t.misses, "hit_rate",
                         n > 0 ? (double)t.hits / (double)n : 0.0);
}

static double milliseconds(uint64_t us)
{
        return (double)us / 1000;
}

/* Adds what is known of each route that was used to the three maps, by "METHOD /path". */
static void add_routes(const struct app *app, json_t *totals, json_t *averages, json_t *p95)
{
        char name[160];

        for (size_t i = 0; i < app->n_routes; i++) {
                const struct route *route = &app->routes[i];
                const struct route_metrics *m = route_table_metrics_find(app->metrics.routes, i);
                uint64_t n_errors;

                if (!m)
                        continue;
                n_errors = m->outcomes[OUTCOME_4XX] + m->outcomes[OUTCOME_5XX];
                (void)snprintf(name, sizeof(name), "%s %s", http_method_name(route->method),
                               route->path);
                json_object_set_new(
                        totals, name,
                        json_pack("{s:I, s:I}", "success",
                                  (json_int_t)(m->outcomes[OUTCOME_1XX] + m->outcomes[OUTCOME_2XX] +
                                               m->outcomes[OUTCOME_3XX]),
                                  "error", (json_int_t)n_errors));
                if (m->duration.count == 0)
                        continue;
                json_object_set_new(
                        averages, name,
                        json_real(milliseconds(m->duration.sum) / (double)m->duration.count));
                json_object_set_new(p95, name,
                                    json_real(milliseconds(histogram_quantile(&m->duration, 950))));
        }
}

/* Answers GET /metrics/snapshot. */
int metrics_snapshot_get(struct request *req)
{
        const struct app *app = request_app(req);
        const struct metrics *m = &app->metrics;
        struct watch_totals watches;
        struct supervisor_counts p;
        char now[CLOCK_RFC3339_SIZE];
        json_t *totals = json_object(), *averages = json_object(), *p95 = json_object();
        json_t *agent;

        add_routes(app, totals, averages, p95);
        supervisor_count(app->supervisor, &p);
        watch_count_all(&watches);
        agent = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                          "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",                        //
                          "connections", (json_int_t)m->connections,                             //
                          "connections_cut", (json_int_t)m->connections_cut,                     //
                          "requests_live", (json_int_t)m->requests_live,                         //
                          "websockets", (json_int_t)m->websockets,                               //
                          "terminals", (json_int_t)terminals_count(app->terminals),              //
                          "watches", (json_int_t)watches.n_watches,                              //
                          "watched_directories", (json_int_t)watches.n_directories,              //
                          "watched_entries", (json_int_t)watches.n_entries,                      //
                          "hangups", (json_int_t)m->hangups,                                     //
                          "processes_running", (json_int_t)p.running,                            //
                          "processes_lingering", (json_int_t)p.lingering,                        //
                          "jobs_running", (json_int_t)p.jobs,                                    //
                          "jobs_queued", (json_int_t)(app->jobs ? jobs_n_queued(app->jobs) : 0), //
                          "resident_bytes", (json_int_t)resident_bytes(),                        //
                          "open_fds", (json_int_t)open_fds(),                                    //
                          "loop_lag_ms", (json_int_t)loop_lag_ms(app->loop),                     //
                          "loop_lag_max_ms", (json_int_t)loop_lag_max_ms(app->loop),             //
                          "tracking", supervisor_tracking(app->supervisor));
        if (app->warm)
                json_object_set_new(agent, "warm", warm_describe(app->warm));
        return request_reply_json(
                req, 200,
                json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s}", //
                          "uptime_seconds", (json_int_t)features_uptime_s(app),                //
                          "total_requests", (json_int_t)m->requests_total,                     //
                          "total_errors", (json_int_t)(m->errors_client + m->errors_server),   //
                          "error_count", (json_int_t)(m->errors_client + m->errors_server),    //
                          "active_executions", (json_int_t)p.running,                          //
                          "total_executions", (json_int_t)m->executions_total,                 //
                          "failed_executions", (json_int_t)m->executions_failed,               //
                          "requests_total", totals, "avg_duration_ms", averages, "p95_duration_ms",
                          p95, "agent", agent, "cache", describe_cache(app), "timestamp",
                          clock_rfc3339_now(now)));
}
