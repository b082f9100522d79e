/* SPDX-License-Identifier: Apache-2.0 */

/* GET /metrics/snapshot and GET /metrics: everything in one document. */

#include "handlers/metrics/snapshot.h"

#include <stdio.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/base/macros.h"
#include "agent/host/host.h"
#include "agent/http/request.h"
#include "agent/http/router.h"
#include "agent/loop/lag.h"
#include "agent/metrics_executions.h"
#include "agent/metrics_routes.h"
#include "handlers/metrics/fresh.h"
#include "handlers/metrics/metrics.h"
#include "handlers/metrics/readings.h"
#include "proc/warm.h"

static double milliseconds(uint64_t us)
{
        return (double)us / 1000;
}

static double average_ms(const struct histogram *h)
{
        return h->count > 0 ? milliseconds(h->sum) / (double)h->count : 0;
}

static double p95_ms(const struct histogram *h)
{
        return milliseconds(histogram_quantile(h, 950));
}

static void set(json_t *object, const char *name, uint64_t value)
{
        json_object_set_new_nocheck(object, name, json_integer((json_int_t)value));
}

static json_t *describe_outcomes(const struct route_metrics *m)
{
        uint64_t success = m->outcomes[OUTCOME_1XX] + m->outcomes[OUTCOME_2XX] +
                           m->outcomes[OUTCOME_3XX];
        json_t *outcomes = json_object();

        set(outcomes, "success", success);
        set(outcomes, "error", m->outcomes[OUTCOME_4XX] + m->outcomes[OUTCOME_5XX]);
        return outcomes;
}

/* What is known of each route that was used, in three maps by "METHOD /path". */
static void add_routes(json_t *document, const struct app *app)
{
        json_t *totals = json_object(), *averages = json_object(), *p95 = json_object();
        char name[160];

        for (size_t i = 0; i < app->n_routes; i++) {
                const struct route *route = &app->routes[i];
                const struct route_metrics *m = route_table_metrics_find(app->metrics.routes, i);

                if (!m)
                        continue;
                (void)snprintf(name, sizeof(name), "%s %s", http_method_name(route->method),
                               route->path);
                json_object_set_new_nocheck(totals, name, describe_outcomes(m));
                if (m->duration.count == 0)
                        continue;
                json_object_set_new_nocheck(averages, name, json_real(average_ms(&m->duration)));
                json_object_set_new_nocheck(p95, name, json_real(p95_ms(&m->duration)));
        }
        json_object_set_new_nocheck(document, "requests_total", totals);
        json_object_set_new_nocheck(document, "avg_duration_ms", averages);
        json_object_set_new_nocheck(document, "p95_duration_ms", p95);
}

/* NULL: none of this kind has ended. */
static json_t *describe_kind(const struct execution_metrics *m, enum execution_kind kind)
{
        json_t *by_outcome = json_object(), *by_mode = json_object();
        uint64_t total = 0;

        for (int mode = 0; mode < N_EXECUTION_MODES; mode++) {
                uint64_t n = 0;

                for (int outcome = 0; outcome < N_EXECUTION_OUTCOMES; outcome++)
                        n += m->counts[kind][mode][outcome];
                if (n > 0)
                        set(by_mode, execution_mode_names[mode], n);
                total += n;
        }
        for (int outcome = 0; outcome < N_EXECUTION_OUTCOMES; outcome++) {
                uint64_t n = 0;

                for (int mode = 0; mode < N_EXECUTION_MODES; mode++)
                        n += m->counts[kind][mode][outcome];
                if (n > 0)
                        set(by_outcome, execution_outcome_names[outcome], n);
        }
        if (total == 0) {
                json_decref(by_outcome);
                json_decref(by_mode);
                return NULL;
        }
        return json_pack("{s:o, s:o, s:f, s:f}", "outcomes", by_outcome, "modes", by_mode,
                         "avg_duration_ms", average_ms(&m->duration[kind]), "p95_duration_ms",
                         p95_ms(&m->duration[kind]));
}

static json_t *describe_executions(const struct execution_metrics *m)
{
        json_t *kinds = json_object();

        for (int i = 0; i < N_EXECUTION_KINDS; i++) {
                json_t *kind = describe_kind(m, (enum execution_kind)i);

                if (kind)
                        json_object_set_new_nocheck(kinds, execution_kind_names[i], kind);
        }
        return kinds;
}

static json_t *describe_space(uint64_t total, uint64_t used, uint64_t free_bytes)
{
        return json_pack("{s:I, s:I, s:I, s:f}", "total", (json_int_t)total, "used",
                         (json_int_t)used, "free", (json_int_t)free_bytes, "usage_percent",
                         used + free_bytes > 0 ? (double)used * 100 / (double)(used + free_bytes)
                                               : 0.0);
}

static json_t *describe_system(const struct host_sample *h)
{
        return json_pack("{s:{s:f, s:f}, s:o, s:o}", "cpu", "usage_percent", h->cpu_percent,
                         "cores", h->cpu_cores, "memory",
                         describe_space(h->memory_total, h->memory_used, h->memory_free), "disk",
                         describe_space(h->disk.total, h->disk.used, h->disk.free));
}

static json_t *describe_cache(const struct results_totals *t)
{
        uint64_t n = t->hits + t->misses;

        return json_pack("{s:I, s:I, s:I, s:I, s:f}", "size", (json_int_t)t->size, "entries",
                         (json_int_t)t->n_entries, "hits", (json_int_t)t->hits, "misses",
                         (json_int_t)t->misses, "hit_rate",
                         n > 0 ? (double)t->hits / (double)n : 0.0);
}

static json_t *describe_agent(const struct readings *r)
{
#define X(name, member, doc) { (name), offsetof(struct readings, member) },
        static const struct {
                const char *name;
                size_t offset;
        } numbers[] = { SNAPSHOT_NUMBERS(X) };
#undef X
        const struct histogram *lag = loop_lag_histogram(r->app->loop);
        json_t *agent = json_object();

        for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
                set(agent, numbers[i].name, readings_at(r, numbers[i].offset));
        json_object_set_new_nocheck(agent, "loop_lag_p99_ms",
                                    json_real(milliseconds(histogram_quantile(lag, 990))));
        json_object_set_new_nocheck(
                agent, "cpu_seconds",
                json_real((double)(r->self.cpu_user_us + r->self.cpu_system_us) / 1e6));
        if (r->app->supervisor)
                json_object_set_new_nocheck(agent, "tracking",
                                            json_string(supervisor_tracking(r->app->supervisor)));
        if (r->app->warm)
                json_object_set_new_nocheck(agent, "warm", warm_describe(r->app->warm));
        return agent;
}

/* See the header. */
json_t *metrics_snapshot(struct app *app)
{
        char now[CLOCK_RFC3339_SIZE];
        json_t *document = json_object();
        struct readings r;

        readings_take(app, &r);
        set(document, "uptime_seconds", r.uptime_ms / 1000);
        set(document, "total_requests", r.metrics.requests_total);
        set(document, "total_errors", r.errors);
        set(document, "error_count", r.errors);
        set(document, "active_executions", r.executions_active);
        set(document, "total_executions", r.executions);
        set(document, "failed_executions", r.executions_failed);
        add_routes(document, app);
        json_object_set_new_nocheck(document, "executions",
                                    describe_executions(r.metrics.executions));
        json_object_set_new_nocheck(document, "system", describe_system(r.host));
        json_object_set_new_nocheck(
                document, "process",
                json_pack("{s:I, s:I}", "count",
                          (json_int_t)(r.processes.running + r.processes.lingering +
                                       r.processes.jobs),
                          "running", (json_int_t)(r.processes.running + r.processes.jobs)));
        json_object_set_new_nocheck(document, "cache", describe_cache(&r.cache));
        json_object_set_new_nocheck(document, "agent", describe_agent(&r));
        json_object_set_new_nocheck(document, "timestamp", json_string(clock_rfc3339_now(now)));
        return document;
}

static int answer(struct request *req)
{
        return request_reply_json(req, 200, metrics_snapshot(request_app(req)));
}

/* Answers GET /metrics/snapshot and GET /metrics. */
int metrics_snapshot_get(struct request *req)
{
        return metrics_when_fresh(req, answer);
}
