/* SPDX-License-Identifier: Apache-2.0 */

/* What can go wrong before the program runs is told in the client's words: a problem, the field to change, and a
 * sentence. That the program itself fails is no problem but a result.
 *
 * The run is freed where it ends: when the process has ended, or when there was none. */

#include "handlers/execution/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "handlers/execution/arguments.h"
#include "handlers/workdir.h"
#include "proc/environment.h"
#include "proc/staging.h"
#include "proc/supervisor.h"

struct run {
        struct app *app;
        const struct run_ops *ops;
        void *arg;
        struct run_spec spec; /* only its constants are good after the start */
        uint64_t timeout_ms;
        char *cwd;
        char *program; /* what is executed, as the client knows it */
        struct staging staging;
        struct process *process; /* borrowed, from its start to its end */
        bool is_cancelled;       /* before there was a process */
};

static void run_free(struct run *run)
{
        staging_done(run->app->loop, &run->staging);
        free(run->spec.argv);
        free(run->program);
        free(run->cwd);
        free(run);
}

/* --- what can go wrong --- */

/* The end of a run without a process. */
static void fail(struct run *run, enum problem p, const char *field, const char *fmt, ...)
        PRINTF_LIKE(4, 5);

static void fail(struct run *run, enum problem p, const char *field, const char *fmt, ...)
{
        const struct run_ops *ops = run->ops;
        void *arg = run->arg;
        char message[512];
        va_list ap;

        va_start(ap, fmt);
        (void)vsnprintf(message, sizeof(message), fmt, ap);
        va_end(ap);
        run_free(run);
        ops->on_failed(arg, p, field, message);
}

static void fail_closed(struct run *run)
{
        fail(run, PROBLEM_UNAVAILABLE, NULL, "the agent is shutting down");
}

static void fail_size(struct run *run)
{
        const char *field = run->spec.size_field;

        fail(run, PROBLEM_INVALID_REQUEST, field,
             "%s: arguments and environment together are too long for the system", field + 1);
}

static void fail_limit(struct run *run)
{
        struct supervisor_counts counts;

        supervisor_count(run->app->supervisor, &counts);
        fail(run, PROBLEM_LIMIT_REACHED, NULL,
             "max-processes reached: %llu executions are running and %llu left processes behind; "
             "try again when one has ended",
             (unsigned long long)counts.running, (unsigned long long)counts.lingering);
}

/* There was a process, but the program could not be executed in it. */
static void fail_spawn(struct run *run, const struct spawn_failure *failure)
{
        const char *why = strerror(failure->error), *field = run->spec.program_field;
        bool is_exec = failure->stage == SPAWN_EXEC;

        if (failure->stage == SPAWN_CWD)
                fail(run, PROBLEM_WORKDIR_NOT_FOUND, "/workdir", "workdir: %.200s: %s", run->cwd,
                     why);
        else if (is_exec && failure->error == E2BIG)
                fail_size(run);
        else if (is_exec && (failure->error == ENOENT || failure->error == ENOTDIR))
                fail(run, PROBLEM_COMMAND_NOT_FOUND, field,
                     "%s: %.200s: command not found (no such program in PATH%s)", field + 1,
                     run->program,
                     strpbrk(run->program, " \t\n") ? "; with args it is one program: leave args "
                                                      "out to have the shell read the line"
                                                    : "");
        else if (is_exec)
                fail(run, PROBLEM_COMMAND_NOT_EXECUTABLE, field,
                     "%s: %.200s cannot be executed: %s", field + 1, run->program, why);
        else
                fail(run, PROBLEM_INTERNAL, NULL, "the process could not be set up: %s", why);
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

        metrics->executions_total++;
        if (result->reason != END_EXIT || result->exit_code != 0)
                metrics->executions_failed++;
        if (result->reason == END_SPAWN) {
                fail_spawn(run, &result->failure);
                return;
        }
        run->ops->on_end(run->arg, p);
        run_free(run);
}

static char *const *argv_of(const struct run *run)
{
        return run->staging.script ? run->staging.script->argv : run->spec.argv;
}

static int build_environment(const struct run *run, char ***ret)
{
        const struct script *script = run->staging.script;

        return environment_build(
                supervisor_user(run->app->supervisor), run->spec.args->env,
                script ? (const char *const *)script->extra_env : environment_extra_default, ret);
}

static void start_process(struct run *run, char *const *envp)
{
        const struct execution_args *args = run->spec.args;
        const struct process_options options = {
                .argv = argv_of(run),
                .envp = envp,
                .cwd = run->cwd,
                .input_fd = run->staging.input_fd,
                .has_input = run->spec.has_input && !args->input.data,
                .timeout_ms = run->timeout_ms,
                .grace_ms = args->has_grace ? args->grace_ms : run->app->config->kill_grace_ms,
                .on_end = on_end,
                .on_output = run->ops->on_output ? on_output : NULL,
                .on_input_drained = on_input_drained,
                .arg = run,
        };
        struct error err = ERROR_INIT;

        run->program = xstrdup(options.argv[0]);
        switch (supervisor_start(run->app->supervisor, &options, &run->process, &err)) {
        case 0:
                if (run->ops->on_started)
                        run->ops->on_started(run->arg, run->process);
                break;
        case SUPERVISOR_E_LIMIT:
                fail_limit(run);
                break;
        case SUPERVISOR_E_CLOSED:
                fail_closed(run);
                break;
        case -E2BIG:
                fail_size(run);
                break;
        default:
                fail(run, PROBLEM_UNAVAILABLE, NULL, "no process could be started: %s",
                     err.message);
                break;
        }
}

static void on_staged(struct staging *staging)
{
        struct run *run = container_of(staging, struct run, staging);
        CLEANUP(strv_free) char **envp = NULL;

        if (run->is_cancelled)
                fail(run, PROBLEM_UNAVAILABLE, NULL, "cancelled before it was started");
        else if (staging->result == STAGING_E_INPUT)
                fail(run, PROBLEM_INVALID_REQUEST, "/stdin",
                     "stdin: stdin_encoding is base64, but this is %s", staging->error.message);
        else if (staging->result < 0)
                fail(run, PROBLEM_UNAVAILABLE, NULL, "nothing was started: %s",
                     staging->error.message);
        else if (!run->app->supervisor) /* a worker took longer than the shutdown */
                fail_closed(run);
        else if (build_environment(run, &envp) < 0)
                fail(run, PROBLEM_INVALID_REQUEST, "/env",
                     "env: all variables together exceed %zu bytes", LIMIT_ARGV_BYTES);
        else
                start_process(run, envp);
}

/* --- the start --- */

/* The PATH that the program will see decides which interpreter there is. */
static bool has_runtime(const struct run *run, const char **ret_missing)
{
        const char *path = json_string_value(json_object_get(run->spec.args->env, "PATH"));

        return !run->spec.code ||
               runtime_is_available(run->spec.language, path ? path : getenv("PATH"), ret_missing);
}

static void stage(struct run *run)
{
        const struct credentials *user = supervisor_user(run->app->supervisor);
        const struct run_spec *spec = &run->spec;

        run->staging = (struct staging){
                .code = spec->code ? *spec->code : (struct json_text){ .data = NULL },
                .language = spec->language,
                .input = spec->args->input,
                .input_is_base64 = spec->args->input_encoding == DOCUMENT_BASE64,
                .cwd = run->cwd,
                .runtime_dir = run->app->config->runtime_dir,
                .driver_dir = run->app->driver_dir,
                .uid = user->uid,
                .gid = user->gid,
                .done = on_staged,
        };
        staging_run(run->app->loop, &run->staging);
}

/* See the header. */
void run_begin(struct run *run)
{
        struct error err = ERROR_INIT;
        const char *missing = NULL;

        if (!run->app->supervisor)
                fail_closed(run);
        else if (!has_runtime(run, &missing))
                fail(run, PROBLEM_RUNTIME_NOT_AVAILABLE, "/language",
                     "language: %s needs '%s', which is not in the PATH of this execution; "
                     "install it, or add it to the image",
                     language_name(run->spec.language), missing);
        else if (workdir_resolve(run->app->config, run->spec.args->workdir, &run->cwd, &err) < 0)
                fail(run, PROBLEM_INVALID_REQUEST, "/workdir", "workdir: %s", err.message);
        else
                stage(run);
}

/* See the header. */
struct run *run_new(struct app *app, const struct run_spec *spec, const struct run_ops *ops,
                    void *arg)
{
        struct run *run = xnew(struct run);

        run->app = app;
        run->ops = ops;
        run->arg = arg;
        run->spec = *spec;
        run->timeout_ms = MIN(spec->args->timeout_ms, app->config->max_timeout_ms);
        run->staging.input_fd = -1;
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
