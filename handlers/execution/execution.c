/* SPDX-License-Identifier: Apache-2.0 */

/* From decoded arguments to a process, and from its end to the answer: staging (source and input are written) →
 * process → answer. An execution holds a reference on its request and is freed where it ends: when the process has
 * ended, or when there was none.
 *
 * When the client leaves, the cancel hook kills the process; its end comes later, as always, and the answer is
 * swallowed by the request. */

#include "handlers/execution/execution.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "handlers/execution/execution_private.h"
#include "proc/environment.h"
#include "proc/supervisor.h"

#define SDK_WORKSPACE "/workspace"

const struct enum_name execution_encodings[] = {
        { "utf-8", DOCUMENT_UTF8 },
        { "utf8", DOCUMENT_UTF8 },
        { "text", DOCUMENT_UTF8 },
        { "base64", DOCUMENT_BASE64 },
        { NULL, 0 },
};

static const struct app *app_of(const struct execution *ex)
{
        return request_app(ex->request);
}

/* See execution_private.h. */
uint64_t execution_timeout_ms(const struct execution *ex)
{
        return MIN(ex->spec.args->timeout_ms, app_of(ex)->config->max_timeout_ms);
}

static char *const *argv_of(const struct execution *ex)
{
        return ex->staging.script ? ex->staging.script->argv : ex->spec.argv;
}

/* See execution_private.h. */
const char *execution_program(const struct execution *ex)
{
        return argv_of(ex)[0];
}

static void execution_free(struct execution *ex)
{
        staging_done(app_of(ex)->loop, &ex->staging);
        free(ex->spec.argv);
        free(ex->cwd);
        request_unref(ex->request);
        free(ex);
}

static void on_end(struct process *p, void *arg)
{
        struct execution *ex = arg;

        (void)p;
        execution_answer(ex);
        execution_free(ex);
}

static void on_cancel(void *arg)
{
        struct execution *ex = arg;

        if (ex->process)
                process_kill(ex->process, END_CANCELLED);
        else
                ex->is_cancelled = true;
}

/* --- the start --- */

/* The SDKs name it in every call. Where the workspace is elsewhere, and there is no such directory, that is what they
 * mean. */
static bool means_workspace(const char *workdir)
{
        return str_equal(workdir, SDK_WORKSPACE) && access(SDK_WORKSPACE, F_OK) < 0;
}

/* The normalised working directory: a new string, or NULL after failing the request. */
static char *resolve_cwd(struct request *req, const struct execution_args *args)
{
        const char *workspace = request_app(req)->config->workspace;
        struct error err = ERROR_INIT;
        char *cwd = NULL;

        if (!args->workdir || means_workspace(args->workdir))
                return xstrdup(workspace);
        if (path_normalize(workspace, args->workdir, &cwd, &err) < 0)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/workdir", "workdir: %s",
                                   err.message);
        return cwd;
}

static char **build_environment(const struct execution *ex)
{
        const struct script *script = ex->staging.script;
        char **envp = NULL;
        int r;

        r = environment_build(
                supervisor_user(app_of(ex)->supervisor), ex->spec.args->env,
                script ? (const char *const *)script->extra_env : environment_extra_default, &envp);
        if (r < 0)
                request_fail_field(ex->request, PROBLEM_INVALID_REQUEST, "/env",
                                   "env: all variables together exceed %zu bytes",
                                   LIMIT_ARGV_BYTES);
        return envp;
}

static void fail_limit(struct execution *ex)
{
        struct supervisor_counts counts;

        supervisor_count(app_of(ex)->supervisor, &counts);
        request_set_header(ex->request, "Retry-After", "1");
        request_fail(ex->request, PROBLEM_LIMIT_REACHED,
                     "max-processes reached: %llu executions are running and %llu left processes "
                     "behind; try again when one has ended",
                     (unsigned long long)counts.running, (unsigned long long)counts.lingering);
}

static int start_process(struct execution *ex, char *const *envp)
{
        const struct execution_args *args = ex->spec.args;
        const struct process_options options = {
                .argv = argv_of(ex),
                .envp = envp,
                .cwd = ex->cwd,
                .input_fd = ex->staging.input_fd,
                .timeout_ms = execution_timeout_ms(ex),
                .grace_ms = args->has_grace ? args->grace_ms : app_of(ex)->config->kill_grace_ms,
                .on_end = on_end,
                .arg = ex,
        };
        struct error err = ERROR_INIT;
        int r;

        r = supervisor_start(app_of(ex)->supervisor, &options, &ex->process, &err);
        switch (r) {
        case 0:
                break;
        case SUPERVISOR_E_LIMIT:
                fail_limit(ex);
                break;
        case SUPERVISOR_E_CLOSED:
                request_fail(ex->request, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                break;
        case -E2BIG:
                execution_fail_size(ex);
                break;
        default:
                request_fail(ex->request, PROBLEM_UNAVAILABLE, "no process could be started: %s",
                             err.message);
                break;
        }
        return r;
}

/* True when a process runs; else the request has its answer, or needs none. */
static bool launch(struct execution *ex)
{
        CLEANUP(strv_free) char **envp = NULL;

        if (ex->is_cancelled)
                return false;
        if (ex->staging.result == STAGING_E_INPUT) {
                request_fail_field(ex->request, PROBLEM_INVALID_REQUEST, "/stdin",
                                   "stdin: stdin_encoding is base64, but this is %s",
                                   ex->staging.error.message);
                return false;
        }
        if (ex->staging.result < 0) {
                request_fail(ex->request, PROBLEM_UNAVAILABLE, "nothing was started: %s",
                             ex->staging.error.message);
                return false;
        }
        if (!app_of(ex)->supervisor) { /* a worker took longer than the shutdown */
                request_fail(ex->request, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                return false;
        }
        envp = build_environment(ex);
        return envp && start_process(ex, envp) == 0;
}

static void on_staged(struct staging *staging)
{
        struct execution *ex = container_of(staging, struct execution, staging);

        if (!launch(ex))
                execution_free(ex);
}

/* See the header. */
int execution_start(struct request *req, const struct execution_spec *spec)
{
        const struct app *app = request_app(req);
        const struct credentials *user = supervisor_user(app->supervisor);
        struct execution *ex;
        char *cwd;

        cwd = resolve_cwd(req, spec->args);
        if (!cwd) {
                free(spec->argv);
                return 0;
        }

        ex = xnew(struct execution);
        ex->request = request_ref(req);
        ex->spec = *spec;
        ex->cwd = cwd;
        ex->staging = (struct staging){
                .code = spec->code ? *spec->code : (struct json_text){ .data = NULL },
                .language = spec->language,
                .input = spec->args->input,
                .input_is_base64 = spec->args->input_encoding == DOCUMENT_BASE64,
                .cwd = ex->cwd,
                .runtime_dir = app->config->runtime_dir,
                .driver_dir = app->driver_dir,
                .uid = user->uid,
                .gid = user->gid,
                .done = on_staged,
        };
        request_on_cancel(req, on_cancel, ex);
        staging_run(app->loop, &ex->staging);
        return 0;
}
