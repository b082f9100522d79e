/* SPDX-License-Identifier: Apache-2.0 */

/* Starting, in order, and reloading. */

#include "agent/app_private.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOG_MODULE "app"
#include "agent/app_files.h"
#include "agent/app_options.h"
#include "agent/auth.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/config.h"
#include "agent/files/roots.h"
#include "agent/health.h"
#include "agent/host/host.h"
#include "agent/http/server.h"
#include "agent/install.h"
#include "agent/listen.h"
#include "agent/metrics_executions.h"
#include "agent/metrics_routes.h"
#include "agent/resume.h"
#include "agent/routes.h"
#include "agent/systemd.h"
#include "agent/webhook/webhook.h"
#include "agent/ws/ws.h"
#include "build_config.h"
#include "handlers/cache/results.h"
#include "handlers/jobs/callback.h"
#include "handlers/jobs/submit.h"
#include "handlers/terminal/terminals.h"
#include "proc/jobs.h"
#include "proc/supervisor.h"
#include "proc/variables.h"
#include "proc/warm.h"

static_assert(sizeof(((struct app *)NULL)->address) >= LISTEN_NAME_SIZE, "room for any address");

/* --- reloading --- */

static struct webhooks_options webhooks_options(struct app *app)
{
        struct webhooks_options o = app_webhooks_options(app->config);

        o.on_change = callback_on_change;
        o.arg = app;
        return o;
}

static void reload(struct runner *run)
{
        struct app *app = &run->app;
        struct error err = ERROR_INIT;
        struct auth_options auth;
        struct server_options server;
        struct ws_options websockets;
        struct supervisor_options supervisor;
        struct webhooks_options webhooks;
        struct warm_options warm;
        struct jobs_options jobs;

        (void)systemd_notify_reloading();
        if (config_reload(app->config, run->argc, run->argv, &err) < 0) {
                log_error("reload failed, the old configuration stays", "error=%s",
                          log_quote(err.message));
        } else {
                auth = app_auth_options(app->config);
                server = app_server_options(app->config);
                websockets = app_ws_options(app->config);
                supervisor = app_supervisor_options(app->config, run->max_files);
                log_set_level((enum log_level)app->config->log_level);
                server_set_options(app->server, &server);
                ws_server_set_options(app->websockets, &websockets);
                jobs = app_jobs_options(app->config, run->max_files);
                webhooks = webhooks_options(app);
                supervisor_set_limits(app->supervisor, &supervisor);
                warm = app_warm_options(app->config, app->driver_dir);
                if (app->warm)
                        warm_set_options(app->warm, &warm);
                jobs_set_options(app->jobs, &jobs);
                results_shrink(app->results, app->config->cache_max_size);
                if (webhooks_configure(app->webhooks, &webhooks, &err) < 0)
                        log_error("reload of the webhooks failed, their old options stay",
                                  "error=%s", log_quote(err.message));
                if (auth_reload(app->auth, &auth, &err) < 0)
                        log_error("reload of the key failed, the old one stays", "error=%s",
                                  log_quote(err.message));
                else
                        log_info("reloaded", NULL);
        }
        (void)systemd_notify_ready();
}

static void on_signal(uv_signal_t *handle, int signum)
{
        struct runner *run = handle->data;

        if (signum != SIGHUP)
                app_stop(run, signum);
        else if (!run->is_stopping)
                reload(run);
}

/* --- starting --- */

static void on_watchdog(uv_timer_t *timer)
{
        const struct runner *run = timer->data;

        if (!health_is_wedged(run->app.health))
                (void)systemd_notify_watchdog();
}

static void start_handles(struct runner *run)
{
        static const int signums[] = { SIGTERM, SIGINT, SIGHUP };
        uv_loop_t *loop = &run->loop.uv;
        uint64_t watchdog_ms = systemd_watchdog_ms();

        for (size_t i = 0; i < ARRAY_LEN(signums); i++) {
                uv_signal_init(loop, &run->signals[i]);
                run->signals[i].data = run;
                uv_signal_start(&run->signals[i], on_signal, signums[i]);
        }
        uv_timer_init(loop, &run->stop_timer);
        uv_timer_init(loop, &run->watchdog);
        run->stop_timer.data = run->watchdog.data = run;
        if (watchdog_ms > 0)
                uv_timer_start(&run->watchdog, on_watchdog, 0, watchdog_ms / 2);
}

static int open_listener(const struct config *config, int *ret_fd, struct error *err)
{
        int n = systemd_listen_fds(err);

        if (n < 0)
                return error_wrap(err, "socket activation");
        if (n == 0)
                return listen_open(config->listen, ret_fd, err);
        if (n > 1 || !systemd_is_listening_stream(SYSTEMD_LISTEN_FDS_START))
                return error_set_field(
                        err, -EINVAL, "",
                        "socket activation: expected one listening stream socket, got %d", n);
        *ret_fd = SYSTEMD_LISTEN_FDS_START;
        return 0;
}

/* Connections and pipes need more descriptors than the usual soft limit; children get that one back, because
 * select() breaks above it. */
static uint64_t raise_file_limit(void)
{
        struct rlimit limit;
        uint64_t before;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        return before;
}

/* Jobs first: they lock the directory that all share. */
static int start_jobs(struct runner *run, struct error *err)
{
        struct app *app = &run->app;
        struct jobs_options jobs = app_jobs_options(app->config, run->max_files);
        struct webhooks_options webhooks = webhooks_options(app);
        int r;

        r = jobs_new(&run->loop, app->supervisor, &jobs, &submit_ops, app, &run->jobs, err);
        if (r < 0)
                return error_wrap(err, "state-dir");
        app->jobs = run->jobs;
        supervisor_take_over(app->supervisor, app->config->state_dir);
        app->variables = variables_new(&run->loop, app->config->state_dir, app->config->env_keep);
        r = webhooks_new(&run->loop, &webhooks, &run->webhooks, err);
        app->webhooks = run->webhooks;
        return r;
}

static void on_variables(void *arg)
{
        struct app *app = arg;

        if (app->warm)
                warm_set_variables(app->warm, variables_get(app->variables));
}

static int start(struct runner *run, int *listen_fd, struct error *err)
{
        struct app *app = &run->app;
        struct auth_options auth = app_auth_options(app->config);
        struct server_options server = app_server_options(app->config);
        struct ws_options websockets = app_ws_options(app->config);
        struct supervisor_options supervisor = app_supervisor_options(app->config, run->max_files);
        struct warm_options warm = app_warm_options(app->config, app->driver_dir);
        struct server_environment environment;
        int r;

        r = app_make_dirs(app->config, err);
        if (r < 0)
                return r;
        r = auth_new(&auth, &app->auth, err);
        if (r == 0)
                r = app_roots_new(app->config, &app->roots, err);
        if (r < 0)
                return r;
        r = open_listener(app->config, listen_fd, err);
        if (r < 0)
                return r;
        r = supervisor_new(&run->loop, &supervisor, &app->supervisor, err);
        if (r < 0)
                return r;
        r = ws_server_new(&run->loop, &websockets, &app->metrics, &app->websockets, err);
        if (r < 0)
                return r;
        app->terminals = terminals_new();
        app->results = results_new(&run->loop);
        app->host = host_new(&run->loop, app->config->workspace);
        r = start_jobs(run, err);
        if (r < 0)
                return r;
        app->warm = warm_new(&run->loop, app->supervisor,
                             &warm); /* what a predecessor has left is gone */
        warm_set_variables(app->warm, variables_get(app->variables));
        variables_watch(app->variables, on_variables, app);

        environment = (struct server_environment){
                .loop = &run->loop,
                .app = app,
                .auth = app->auth,
                .metrics = &app->metrics,
                .routes = routes,
                .n_routes = n_routes,
        };
        (void)listen_name(*listen_fd, app->address);
        r = server_new(&environment, &server, STEAL_FD(*listen_fd), &app->server, err);
        if (r < 0)
                return r;
        run->files = app_files_new(&run->loop, app->config, app->roots);
        log_info("listening", "address=%s version=%s pid=%d tracking=%s", app->address,
                 VM_AGENT_VERSION, (int)getpid(), supervisor_tracking(app->supervisor));
        return 0;
}

/* See the header. */
int app_check(const struct config *config, struct error *err)
{
        CLEANUP(auth_free) struct auth *auth = NULL;
        struct auth_options options = app_auth_options(config);
        struct webhooks_options webhooks = app_webhooks_options(config);
        int r;

        r = config_check(config, err);
        if (r == 0)
                r = install_check(err);
        if (r == 0)
                r = webhooks_check_options(&webhooks, err);
        if (r < 0)
                return r;
        return auth_new(&options, &auth, err);
}

static void on_given_up(void *arg)
{
        (void)arg;
}

static void give_up_start(struct runner *run)
{
        if (!run->app.supervisor)
                return;
        run->app.results = results_free(run->app.results);
        run->app.host = host_free(run->app.host);
        if (run->app.websockets)
                ws_server_close(run->app.websockets);
        if (run->jobs)
                jobs_close(run->jobs, on_given_up, NULL);
        if (run->webhooks)
                webhooks_close(run->webhooks, on_given_up, NULL);
        if (run->app.variables)
                variables_close(run->app.variables, on_given_up, NULL);
        supervisor_close(run->app.supervisor, NULL, NULL);
        if (run->app.warm)
                warm_close(STEAL(run->app.warm), on_given_up, NULL);
        loop_run(&run->loop);
}

/* See the header. */
int app_run(struct config *config, int argc, char *const *argv)
{
        CLEANUP(fd_close) int listen_fd = -1;
        struct runner *run = xnew(struct runner);
        struct error err = ERROR_INIT;
        int r;

        run->argc = argc;
        run->argv = argv;
        run->max_files = raise_file_limit();
        run->app.loop = &run->loop;
        run->app.config = config;
        run->app.routes = routes;
        run->app.n_routes = n_routes;
        run->app.driver_dir = install_driver_dir();
        run->app.metrics.started_ms = clock_now_ms();
        run->app.metrics.started_realtime_ms = clock_realtime_us() / 1000;
        run->app.metrics.routes = route_table_metrics_new(n_routes);
        run->app.metrics.executions = xnew(struct execution_metrics);
        gate_init(&run->gate, app_everything_ended);

        r = loop_init(&run->loop);
        assert(r == 0);
        r = start(run, &listen_fd, &err);
        if (r < 0) {
                log_error("cannot start", "error=%s", log_quote(err.message));
                give_up_start(run);
        } else {
                run->app.health = health_new(&run->loop, run->app.supervisor, config->state_dir);
                start_handles(run);
                run->resume = resume_new(&run->app);
                (void)systemd_notify_ready();
                loop_run(&run->loop);
                uv_close((uv_handle_t *)&run->stop_timer, NULL);
                log_info("stopped", NULL);
        }

        terminals_free(run->app.terminals);
        ws_server_free(run->app.websockets);
        jobs_free(run->jobs);
        webhooks_free(run->webhooks);
        variables_free(run->app.variables);
        if (loop_close(&run->loop) < 0)
                r = -EBUSY;
        app_files_free(run->files);
        health_free(run->app.health);
        route_table_metrics_free(run->app.metrics.routes);
        free(run->app.metrics.executions);
        roots_free(run->app.roots); /* no worker is left that may use it */
        auth_free(run->app.auth);
        config_free(config);
        free(run);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
