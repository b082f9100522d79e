/* SPDX-License-Identifier: Apache-2.0 */

/* The run is freed where it ends: when the process has ended, or when there was none. */

#include "handlers/execution/run.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/config.h"
#include "handlers/execution/arguments.h"
#include "handlers/execution/tally.h"
#include "proc/cgroup.h"
#include "proc/supervisor.h"
#include "proc/warm.h"

struct run {
        struct app *app;
        const struct run_ops *ops;
        void *arg;
        struct launch launch;
        uint64_t timeout_ms;
        uint64_t grace_ms;
        struct process_limits limits;
        struct process *process; /* borrowed, from its start to its end */
        bool is_cancelled;       /* before there was a process */
        struct warm_request warm;
};

static void run_free(struct run *run)
{
        launch_done(&run->launch);
        free(run);
}

/* --- what can go wrong --- */

static enum execution_mode mode_of(const struct run *run)
{
        return run->ops->on_output ? EXECUTION_STREAM : EXECUTION_SYNC;
}

/* The end of a run in which no program was executed. */
static void fail(struct run *run, const struct launch_failure *why)
{
        const struct run_ops *ops = run->ops;
        struct launch_failure copy = *why;
        void *arg = run->arg;

        run_free(run);
        ops->on_failed(arg, copy.problem, copy.field, copy.message);
}

/* The same without a process. */
static void refuse(struct run *run, const struct launch_failure *why)
{
        tally_refused(run->app, &run->launch, mode_of(run));
        fail(run, why);
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

/* A process that had waited for this died without having read its job. Nothing has run, and nobody has been told. */
static bool can_start_again(const struct run *run, const struct process_result *result)
{
        return result->reason == END_SPAWN && result->failure.stage == SPAWN_LOST &&
               !run->is_cancelled && !run->ops->on_started && run->launch.envp &&
               run->app->supervisor;
}

static void start_process(struct run *run, struct warm_child *child);

static void on_end(struct process *p, void *arg)
{
        const struct process_result *result = process_result(p);
        struct run *run = arg;
        struct launch_failure why;

        if (result->reason == END_SPAWN && result->failure.stage == SPAWN_LOST && run->app->warm)
                warm_request_lost(run->app->warm, &run->warm);
        if (can_start_again(run, result)) {
                start_process(run, NULL);
                return;
        }
        tally_process(run->app, &run->launch, mode_of(run), result);
        if (result->reason == END_SPAWN) {
                launch_explain(&run->launch, &result->failure, &why);
                fail(run, &why);
                return;
        }
        run->ops->on_end(run->arg, p);
        run_free(run);
}

/* @child: a process that waits for this; NULL: there is none. */
static int start(struct run *run, struct warm_child *child, struct error *err)
{
        const struct launch *launch = &run->launch;
        const struct process_options options = {
                .argv = launch->argv,
                .first = launch->first,
                .envp = launch->envp,
                .cwd = launch->cwd,
                .input_fd = launch->staging.input_fd,
                .has_input = launch->has_input,
                .has_rich = launch->has_rich,
                .timeout_ms = run->timeout_ms,
                .grace_ms = run->grace_ms,
                .limits = run->limits,
                .on_end = on_end,
                .on_output = run->ops->on_output ? on_output : NULL,
                .on_input_drained = on_input_drained,
                .arg = run,
                .warm = child,
        };

        return supervisor_start(run->app->supervisor, &options, &run->process, err);
}

static void start_process(struct run *run, struct warm_child *child)
{
        const struct launch *launch = &run->launch;
        struct launch_failure why;
        struct error err = ERROR_INIT;
        bool is_warm;
        int r;

        r = start(run, child, &err);
        is_warm = child && warm_child_done(child);
        if (child && !is_warm && r < 0)
                r = start(run, NULL, &err);
        if (!is_warm) /* or else it may be needed again */
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
        refuse(run, &why);
}

/* The end of the way there. */
static void go_on(struct run *run, struct warm_child *child)
{
        struct launch *launch = &run->launch;

        if (run->is_cancelled && !launch->has_failed) {
                launch_fail(&launch->failure, PROBLEM_UNAVAILABLE, NULL,
                            "cancelled before it was started");
                launch->has_failed = true;
        } else if (!run->app->supervisor && !launch->has_failed) {
                launch_fail_closed(&launch->failure);
                launch->has_failed = true;
        }
        if (!launch->has_failed) {
                start_process(run, child);
                return;
        }
        if (child)
                (void)warm_child_done(child);
        refuse(run, &launch->failure);
}

static void on_warm(struct warm_request *q, struct warm_child *child)
{
        go_on(container_of(q, struct run, warm), child);
}

/* Or else it is done by a limit on data, and what a waiting process has loaded counts. */
static bool limits_memory(const struct supervisor *s)
{
        return supervisor_cgroup(s) && cgroup_has_memory(supervisor_cgroup(s));
}

/* Looks for a process that waits for such an execution. */
static void find_process(struct run *run)
{
        const struct launch *launch = &run->launch;
        struct warm_child *child = NULL;
        struct process_limits_plan limits;

        supervisor_plan_limits(run->app->supervisor, &run->limits, &limits);
        run->warm = (struct warm_request){
                .language = launch->spec.language,
                .code = launch->spec.code->data,
                .code_size = launch->spec.code->size,
                .script = launch->staging.script->file,
                .cwd = launch->cwd,
                .envp = launch->envp,
                .has_staged_input = launch->staging.input_fd >= 0,
                .has_limits = run->limits.max_memory > 0 && !limits_memory(run->app->supervisor),
                .has_resource_limits = limits.own.cpu_seconds > 0 || limits.own.max_tasks > 0,
                .done = on_warm,
        };
        if (warm_take(run->app->warm, &run->warm, &child) != WARM_E_WAIT)
                go_on(run, child);
}

static void on_ready(struct launch *launch)
{
        struct run *run = container_of(launch, struct run, launch);

        if (!launch->has_failed && !run->is_cancelled && launch->spec.code && run->app->warm)
                find_process(run);
        else
                go_on(run, NULL);
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
        run->limits = execution_limits(spec->args);
        run->grace_ms = spec->args->has_grace ? spec->args->grace_ms : app->config->kill_grace_ms;
        run->timeout_ms = MIN(spec->args->timeout_ms, app->config->max_timeout_ms);
        return run;
}

/* See the header. */
void run_cancel(struct run *run)
{
        run->is_cancelled = true;
        if (run->process)
                process_kill(run->process, END_CANCELLED);
}

/* See the header. */
uint64_t run_timeout_ms(const struct run *run)
{
        return run->timeout_ms;
}
