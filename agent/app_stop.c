/* SPDX-License-Identifier: Apache-2.0 */

/* Stopping, in order. It has eight ends that are waited for, in a gate: the server has no request left (REQUESTS),
 * there is no WebSocket left (WEBSOCKETS) and no terminal (TERMINALS), the supervisor has no process left (SUPERVISOR),
 * nor have the pools of waiting ones (WARM), and nothing is under way any more for background jobs (JOBS), which
 * themselves go on, for webhooks (WEBHOOKS) and for the file of the global variables (VARIABLES). On SIGTERM terminals
 * end, and the server drains while running executions go on for the grace period; whichever comes first, the end of the
 * last request, stream and terminal or the end of the grace, the supervisor is closed: it kills what is left, which
 * answers those who waited for it. Then the servers, then the loop. */

#include "agent/app_private.h"

#include <stdlib.h>
#include <unistd.h>

#define LOG_MODULE "app"
#include "agent/app_files.h"
#include "agent/base/log.h"
#include "agent/config.h"
#include "agent/health.h"
#include "agent/host/host.h"
#include "agent/http/server.h"
#include "agent/loop/lag.h"
#include "agent/resume.h"
#include "agent/systemd.h"
#include "agent/webhook/webhook.h"
#include "agent/ws/ws.h"
#include "handlers/cache/results.h"
#include "handlers/jobs/control.h"
#include "handlers/terminal/terminals.h"
#include "proc/jobs.h"
#include "proc/supervisor.h"
#include "proc/variables.h"
#include "proc/warm.h"

/* After the supervisor is closed every answer is known; clients that do not read theirs get this long. */
#define LAST_ANSWERS_MS 2000
/* Workers whose results nobody waits for get this long. */
#define LAST_WORKERS_MS 2000

/* A file system that does not answer holds a worker for good, and neither the loop nor exit would end without it. All
 * that has to be kept is on the disk already. */
static void on_workers_late(uv_timer_t *timer)
{
        struct runner *run = timer->data;

        if (loop_n_jobs(&run->loop) == 0)
                return;
        log_warning("workers do not come back, leaving without them", "jobs=%u",
                    loop_n_jobs(&run->loop));
        log_info("stopped", NULL);
        _exit(EXIT_SUCCESS);
}

static void on_server_closed(void *arg)
{
        struct runner *run = arg;

        run->app.server = NULL;
        run->app.results = results_free(run->app.results);
        run->app.host = host_free(run->app.host);
        ws_server_close(run->app.websockets);
        for (size_t i = 0; i < ARRAY_LEN(run->signals); i++)
                uv_close((uv_handle_t *)&run->signals[i], NULL);
        uv_close((uv_handle_t *)&run->watchdog, NULL);
        /* Closed when the loop has ended, which it does not wait for. */
        uv_timer_start(&run->stop_timer, on_workers_late, LAST_WORKERS_MS, 0);
        uv_unref((uv_handle_t *)&run->stop_timer);
}

/* See the header. */
void app_everything_ended(struct gate *gate)
{
        struct runner *run = container_of(gate, struct runner, gate);

        server_close(run->app.server, on_server_closed, run);
}

static void on_last_answers_late(uv_timer_t *timer)
{
        struct runner *run = timer->data;

        log_warning("clients did not finish sending or reading, cutting them off", NULL);
        server_cancel_requests(run->app.server);
        ws_server_cut(run->app.websockets);
}

static void on_supervisor_closed(void *arg)
{
        struct runner *run = arg;

        run->app.supervisor = NULL;
        if (gate_is_pending(&run->gate, GATE_PARTS))
                uv_timer_start(&run->stop_timer, on_last_answers_late, LAST_ANSWERS_MS, 0);
        gate_done(&run->gate, GATE_SUPERVISOR);
}

static void on_jobs_closed(void *arg)
{
        gate_done(&((struct runner *)arg)->gate, GATE_JOBS);
}

static void on_webhooks_closed(void *arg)
{
        gate_done(&((struct runner *)arg)->gate, GATE_WEBHOOKS);
}

static void on_warm_closed(void *arg)
{
        gate_done(&((struct runner *)arg)->gate, GATE_WARM);
}

static void on_variables_closed(void *arg)
{
        gate_done(&((struct runner *)arg)->gate, GATE_VARIABLES);
}

/* Jobs go on, and the journal keeps the webhooks: both are the next agent's. */
static void close_jobs(struct runner *run)
{
        run->app.jobs = NULL;
        run->app.webhooks = NULL;
        jobs_close(run->jobs, on_jobs_closed, run);
        webhooks_close(run->webhooks, on_webhooks_closed, run);
        variables_close(run->app.variables, on_variables_closed, run);
}

static void close_supervisor(struct runner *run)
{
        if (run->is_supervisor_closing)
                return;
        run->is_supervisor_closing = true;
        uv_timer_stop(&run->stop_timer);
        close_jobs(run);
        health_close(run->app.health);
        supervisor_close(run->app.supervisor, on_supervisor_closed, run);
        warm_close(STEAL(run->app.warm), on_warm_closed, run);
}

static void on_grace_over(uv_timer_t *timer)
{
        log_warning("grace period over, ending what still runs", NULL);
        close_supervisor(timer->data);
}

/* Once all of them have ended there is nobody left for whom something should go on. */
static void part_ended(struct runner *run, unsigned part)
{
        if (!gate_is_pending(&run->gate, GATE_PARTS & ~part))
                close_supervisor(run);
        gate_done(&run->gate, part);
}

static void on_requests_ended(void *arg)
{
        part_ended(arg, GATE_REQUESTS);
}

static void on_websockets_ended(void *arg)
{
        part_ended(arg, GATE_WEBSOCKETS);
}

static void on_terminals_ended(void *arg)
{
        part_ended(arg, GATE_TERMINALS);
}

/* See the header. */
void app_stop(struct runner *run, int signum)
{
        if (run->is_stopping) {
                log_warning("second signal, ending what still runs", "signal=%d", signum);
                close_supervisor(run);
                return;
        }
        log_info("stopping", "signal=%d grace_ms=%llu", signum,
                 (unsigned long long)run->app.config->shutdown_grace_ms);
        (void)systemd_notify_stopping(); /* nothing depends on it */
        run->is_stopping = true;
        run->resume = resume_free(run->resume); /* the rest is not worth a renewal */
        gate_expect(&run->gate, GATE_PARTS | GATE_BELOW);
        uv_timer_start(&run->stop_timer, on_grace_over, run->app.config->shutdown_grace_ms, 0);
        server_drain(run->app.server, on_requests_ended, run);
        ws_server_drain(run->app.websockets, on_websockets_ended, run);
        terminals_end(run->app.terminals, on_terminals_ended, run);
        app_files_stop(run->files);
        job_waits_end();
}
