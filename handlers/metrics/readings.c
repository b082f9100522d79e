/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/metrics/readings.h"

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/base/macros.h"
#include "agent/host/host.h"
#include "agent/loop/lag.h"
#include "agent/metrics_executions.h"
#include "agent/metrics_routes.h"
#include "agent/webhook/webhook.h"
#include "handlers/metrics/stream.h"
#include "handlers/terminal/terminals.h"
#include "proc/jobs.h"

static void add_routes(const struct app *app, struct readings *r)
{
        for (size_t i = 0; i <= app->n_routes; i++) { /* the last one: those of no route */
                const struct route_metrics *m = route_table_metrics_find(app->metrics.routes, i);

                r->received += m ? m->received : 0;
                r->sent += m ? m->sent : 0;
        }
}

/* See the header. */
void readings_take(struct app *app, struct readings *ret)
{
        const struct metrics *m = &app->metrics;

        *ret = (struct readings){
                .app = app,
                .host = host_sample(app->host),
                .metrics = *m,
                .uptime_ms = clock_now_ms() - m->started_ms,
                .executions = execution_metrics_total(m->executions),
                .executions_failed = execution_metrics_failed(m->executions),
                .errors = m->errors_client + m->errors_server,
                .terminals = terminals_count(app->terminals),
                .worker_jobs = loop_n_jobs(app->loop),
                .lag_ms = loop_lag_ms(app->loop),
                .lag_max_ms = loop_lag_max_ms(app->loop),
                .metrics_streams = metrics_streams_count(),
        };
        self_read(app->loop, &ret->self);
        if (app->supervisor)
                supervisor_count(app->supervisor, &ret->processes);
        ret->executions_active = ret->processes.running + ret->processes.jobs -
                                 MIN(ret->terminals, ret->processes.running);
        results_total(app->results, &ret->cache);
        watch_count_all(&ret->watches);
        add_routes(app, ret);
        if (app->jobs) {
                ret->jobs_queued = jobs_n_queued(app->jobs);
                ret->jobs_known = jobs_n_known(app->jobs);
                ret->callbacks = jobs_n_callbacks(app->jobs);
        }
        if (app->webhooks)
                ret->webhooks_queued = webhooks_n_queued(app->webhooks);
}
