/* SPDX-License-Identifier: Apache-2.0 */

/* The run is freed where it ends: when the process has ended, or when there was none. */

#include "handlers/execution/run.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/config.h"
#include "handlers/execution/arguments.h"
#include "proc/supervisor.h"

struct run {
        struct app *app;
        const struct run_ops *ops;
        void *arg;
        struct launch launch;
        uint64_t timeout_ms;
        struct process *process; /* borrowed, from its start to its end */
        bool is_cancelled;       /* before there was a process */
};

static void run_free(struct run *run)
{
        launch_done(&run->launch);
        free(run);
}

/* --- what can go wrong --- */

/* The end of a run without a process. */
static void fail(struct run *run, const struct launch_failure *why)
{
        const struct run_ops *ops = run->ops;
        struct launch_failure copy = *why;
        void *arg = run->arg;

        run_free(run);
        ops->on_failed(arg, copy.problem, copy.field, copy.message);
}

static void explain_limit(const struct run *run, struct launch_failure *ret)
{
        struct supervisor_counts counts;

        supervisor_count(run->app->supervisor, &counts);
        launch_fail(
                ret, PROBLEM_LIMIT_REACHED, NULL,
                "max-processes reached: %llu executions and %llu background jobs are running, "
                "and %llu executions left processes behind (GET /processes?ours=true); try again when "
                "one has ended",
                (unsigned long long)counts.running, (unsigned long long)counts.jobs,
                (unsigned long long)counts.lingering);
}

/* --- the process --- */

static void on_output(struct process *p, enum process_channel from, const char *data, size_t size,
                      void *arg)
{
        struct run *run = arg;

        (void)p;
        run->ops->on_output(run->arg, from, data, size);
}

static void on_input_drained(struct process *p, void *arg)
{
        struct run *run = arg;

        (void)p;
        if (run->ops->on_input_drained)
                run->ops->on_input_drained(run->arg);
}

static void on_end(struct process *p, void *arg)
{
        const struct process_result *result = process_result(p);
        struct run *run = arg;
        struct metrics *metrics = &run->app->metrics;
        struct launch_failure why;

        metrics->executions_total++;
        if (result->reason != END_EXIT || result->exit_code != 0)
                metrics->executions_failed++;
        if (result->reason == END_SPAWN) {
                launch_explain(&run->launch, &result->failure, &why);
                fail(run, &why);
                return;
        }
        run->ops->on_end(run->arg, p);
        run_free(run);
}

static void start_process(struct run *run)
{
        const struct launch *launch = &run->launch;
        const struct execution_args *args = launch->spec.args;
        const struct process_options options = {
                .argv = launch->argv,
                .envp = launch->envp,
                .cwd = launch->cwd,
                .input_fd = launch->staging.input_fd,
                .has_input = launch->has_input,
                .has_rich = launch->has_rich,
                .timeout_ms = run->timeout_ms,
                .grace_ms = args->has_grace ? args->grace_ms : run->app->config->kill_grace_ms,
                .limits = execution_limits(args),
                .on_end = on_end,
                .on_output = run->ops->on_output ? on_output : NULL,
                .on_input_drained = on_input_drained,
                .arg = run,
        };
        struct launch_failure why;
        struct error err = ERROR_INIT;
        int r;

        r = supervisor_start(run->app->supervisor, &options, &run->process, &err);
        launch_forget(&run->launch);
        if (r == 0) {
                if (run->ops->on_started)
                        run->ops->on_started(run->arg, run->process);
                return;
        }
        if (r == SUPERVISOR_E_LIMIT)
                explain_limit(run, &why);
        else if (r == SUPERVISOR_E_CLOSED)
                launch_fail_closed(&why);
        else if (r == -E2BIG)
                launch_explain_size(launch, &why);
        else
                launch_fail(&why, PROBLEM_UNAVAILABLE, NULL, "no process could be started: %s",
                            err.message);
        fail(run, &why);
}

static void on_ready(struct launch *launch)
{
        struct run *run = container_of(launch, struct run, launch);

        if (run->is_cancelled) {
                launch_fail(&launch->failure, PROBLEM_UNAVAILABLE, NULL,
                            "cancelled before it was started");
                launch->has_failed = true;
        }
        if (launch->has_failed)
                fail(run, &launch->failure);
        else
                start_process(run);
}

/* --- the start --- */

/* See the header. */
void run_begin(struct run *run)
{
        launch_begin(&run->launch);
}

/* See the header. */
struct run *run_new(struct app *app, const struct run_spec *spec, const struct run_ops *ops,
                    void *arg)
{
        struct run *run = xnew(struct run);

        run->app = app;
        run->ops = ops;
        run->arg = arg;
        run->launch = (struct launch){ .app = app, .spec = *spec, .done = on_ready };
        run->launch.staging.input_fd = -1;
        run->timeout_ms = MIN(spec->args->timeout_ms, app->config->max_timeout_ms);
        return run;
}

/* See the header. */
void run_cancel(struct run *run)
{
        if (run->process)
                process_kill(run->process, END_CANCELLED);
        else
                run->is_cancelled = true;
}

/* See the header. */
uint64_t run_timeout_ms(const struct run *run)
{
        return run->timeout_ms;
}
