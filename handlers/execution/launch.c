/* SPDX-License-Identifier: Apache-2.0 */

/* What can go wrong before the program runs is told in the client's words, and in the same ones wherever it is told.
 * That the program itself fails is no problem but a result. */

#include "handlers/execution/launch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/config.h"
#include "handlers/execution/arguments.h"
#include "handlers/workdir.h"
#include "proc/environment.h"
#include "proc/supervisor.h"
#include "proc/variables.h"

/* --- what can go wrong --- */

/* See the header. */
void launch_fail(struct launch_failure *ret, enum problem p, const char *field, const char *fmt,
                 ...)
{
        va_list ap;

        ret->problem = p;
        ret->field = field;
        va_start(ap, fmt);
        (void)vsnprintf(ret->message, sizeof(ret->message), fmt, ap);
        va_end(ap);
        utf8_repair(ret->message);
}

/* See the header. */
void launch_fail_closed(struct launch_failure *ret)
{
        launch_fail(ret, PROBLEM_UNAVAILABLE, NULL, "the agent is shutting down");
}

/* See the header. */
void launch_explain_size(const struct launch *l, struct launch_failure *ret)
{
        const char *field = l->spec.size_field;

        launch_fail(ret, PROBLEM_INVALID_REQUEST, field,
                    "%s: arguments and environment together are too long for the system",
                    field + 1);
}

/* See the header. What is for want of something may be different the next time. */
void launch_explain_setup(int error, struct launch_failure *ret)
{
        bool is_passing = error == EAGAIN || error == ENOMEM || error == ENFILE;

        launch_fail(ret, is_passing ? PROBLEM_UNAVAILABLE : PROBLEM_COMMAND_NOT_EXECUTABLE, NULL,
                    "the process could not be set up: %s", strerror(error));
}

/* See the header. */
void launch_explain(const struct launch *l, const struct spawn_failure *failure,
                    struct launch_failure *ret)
{
        const char *why = strerror(failure->error), *field = l->spec.program_field;
        bool is_exec = failure->stage == SPAWN_EXEC;

        if (failure->stage == SPAWN_CWD)
                launch_fail(ret, PROBLEM_WORKDIR_NOT_FOUND, "/workdir", "workdir: %.200s: %s",
                            l->cwd, why);
        else if (is_exec && failure->error == E2BIG)
                launch_explain_size(l, ret);
        else if (is_exec && (failure->error == ENOENT || failure->error == ENOTDIR))
                launch_fail(ret, PROBLEM_COMMAND_NOT_FOUND, field,
                            "%s: %.200s: command not found (no such program in PATH%s)", field + 1,
                            l->program,
                            strpbrk(l->program, " \t\n")
                                    ? "; with args it is one program: leave args "
                                      "out to have the shell read the line"
                                    : "");
        else if (is_exec)
                launch_fail(ret, PROBLEM_COMMAND_NOT_EXECUTABLE, field,
                            "%s: %.200s cannot be executed: %s", field + 1, l->program, why);
        else if (failure->stage == SPAWN_LOST)
                launch_fail(
                        ret, PROBLEM_UNAVAILABLE, NULL,
                        "the process that this was to run in was killed before it began; try again");
        else
                launch_explain_setup(failure->error, ret);
}

/* --- the checks --- */

/* The PATH that the program will see decides which interpreter there is. */
static bool has_runtime(const struct app *app, const struct run_spec *spec,
                        const char **ret_missing)
{
        const char *path = environment_lookup(variables_get(app->variables), spec->args->env,
                                              "PATH");

        return !spec->code || runtime_is_available(spec->language, path, ret_missing);
}

static bool check(const struct app *app, const struct run_spec *spec, char **ret_cwd,
                  struct launch_failure *ret_why)
{
        struct error err = ERROR_INIT;
        const char *missing = NULL;

        if (!app->supervisor)
                launch_fail_closed(ret_why);
        else if (!has_runtime(app, spec, &missing))
                launch_fail(ret_why, PROBLEM_RUNTIME_NOT_AVAILABLE, "/language",
                            "language: %s needs '%s', which is not in the PATH of this execution; "
                            "install it, or add it to the image",
                            language_name(spec->language), missing);
        else if (workdir_resolve(app->config, spec->args->workdir, ret_cwd, &err) < 0)
                launch_fail(ret_why, PROBLEM_INVALID_REQUEST, "/workdir", "workdir: %s",
                            err.message);
        else
                return true;
        return false;
}

/* See the header. */
bool launch_check(const struct app *app, const struct run_spec *spec,
                  struct launch_failure *ret_why)
{
        CLEANUP(mem_free) char *cwd = NULL;

        return check(app, spec, &cwd, ret_why);
}

/* --- the start --- */

static int build_environment(struct launch *l)
{
        struct script *script = l->staging.script;
        int r = environment_build(supervisor_user(l->app->supervisor),
                                  variables_get(l->app->variables), l->spec.args->env,
                                  script ? (const char *const *)script->extra_env
                                         : environment_extra_default,
                                  &l->envp);

        if (r == 0 && script)
                script_find_program(script, supervisor_user(l->app->supervisor), l->cwd, l->envp);
        return r;
}

static bool prepare(struct launch *l)
{
        struct staging *staging = &l->staging;
        struct launch_failure *why = &l->failure;

        if (staging->result == STAGING_E_INPUT)
                launch_fail(why, PROBLEM_INVALID_REQUEST, "/stdin",
                            "stdin: stdin_encoding is base64, but this is %s",
                            staging->error.message);
        else if (staging->result < 0)
                launch_fail(why, PROBLEM_UNAVAILABLE, NULL, "nothing was started: %s",
                            staging->error.message);
        else if (!l->app->supervisor) /* a worker took longer than the shutdown */
                launch_fail_closed(why);
        else if (build_environment(l) < 0)
                launch_fail(why, PROBLEM_INVALID_REQUEST, "/env",
                            "env: all variables together exceed %zu bytes", LIMIT_ARGV_BYTES);
        else
                return true;
        return false;
}

static void on_staged(struct staging *staging)
{
        struct launch *l = container_of(staging, struct launch, staging);

        l->has_failed = !prepare(l);
        if (!l->has_failed) {
                l->argv = staging->script ? staging->script->argv : l->spec.argv;
                l->first = staging->script ? staging->script->kept : NULL;
                l->program = xstrdup(l->argv[0]);
                l->has_input = l->spec.has_input && !l->spec.args->input.data;
                l->has_rich = staging->script && staging->script->has_rich;
        }
        l->done(l);
}

static void stage(struct launch *l)
{
        const struct credentials *user = supervisor_user(l->app->supervisor);
        const struct run_spec *spec = &l->spec;

        l->staging = (struct staging){
                .code = spec->code ? *spec->code : (struct json_text){ .data = NULL },
                .language = spec->language,
                .input = spec->args->input,
                .input_is_base64 = spec->args->input_encoding == DOCUMENT_BASE64,
                .cwd = l->cwd,
                .script_root = l->script_root ? l->script_root : l->app->config->runtime_dir,
                .script_name = l->script_name,
                .driver_dir = l->app->driver_dir,
                .may_be_rich = spec->may_be_rich,
                .uid = user->uid,
                .gid = user->gid,
                .done = on_staged,
        };
        staging_run(l->app->loop, &l->staging);
}

/* See the header. */
void launch_begin(struct launch *l)
{
        l->staging.input_fd = -1;
        if (check(l->app, &l->spec, &l->cwd, &l->failure)) {
                stage(l);
                return;
        }
        l->has_failed = true;
        l->done(l);
}

/* See the header. */
void launch_forget(struct launch *l)
{
        l->envp = strv_free(l->envp);
        l->spec.argv = mem_free(l->spec.argv);
        l->argv = NULL;
        l->first = NULL;
        l->staging.input_fd = fd_close(l->staging.input_fd);
}

/* See the header. */
void launch_done(struct launch *l)
{
        launch_forget(l);
        staging_done(l->app->loop, &l->staging);
        l->program = mem_free(l->program);
        l->cwd = mem_free(l->cwd);
}
