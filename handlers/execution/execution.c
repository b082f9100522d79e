/* SPDX-License-Identifier: Apache-2.0 */

/* From decoded arguments to a process, and from its end to the answer.
 *
 * An execution holds a reference on its request and lives until the process has ended. When the client leaves, the
 * cancel hook kills the process; its end comes later, as always, and the answer is swallowed by the request. What
 * user code does is never an error of ours: the answer is 200, with success, exit_code and reason. Only when the
 * program could not be started at all is there an error, a 4xx that names the field to change. */

#include "handlers/execution/execution.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "proc/environment.h"
#include "proc/runtime.h"
#include "proc/supervisor.h"

const struct enum_name execution_encodings[] = {
        { "utf-8", DOCUMENT_UTF8 },
        { "utf8", DOCUMENT_UTF8 },
        { "text", DOCUMENT_UTF8 },
        { "base64", DOCUMENT_BASE64 },
        { NULL, 0 },
};

struct execution {
        struct request *request; /* a reference */
        struct process *process; /* borrowed until its end */
        struct script *script;
        enum document_encoding encoding;
        uint64_t timeout_ms;
        const char *size_field;
        const char *program_field;
        const char *label_name;
        const char *label; /* lives in the request's arguments, or is a constant */
        char *cwd;
        char *program;
};

static struct execution *execution_free(struct execution *ex)
{
        if (!ex)
                return NULL;
        script_free(ex->script);
        free(ex->cwd);
        free(ex->program);
        request_unref(ex->request);
        free(ex);
        return NULL;
}

/* --- the answer --- */

static void fail_spawn(const struct execution *ex, const struct spawn_failure *failure)
{
        struct request *req = ex->request;
        const char *why = strerror(failure->error);

        if (failure->stage == SPAWN_CWD)
                request_fail_field(req, PROBLEM_WORKDIR_NOT_FOUND, "/workdir",
                                   "workdir: %.200s: %s", ex->cwd, why);
        else if (failure->stage == SPAWN_EXEC && failure->error == E2BIG)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, ex->size_field,
                                   "arguments and environment together are too long: %s", why);
        else if (failure->stage == SPAWN_EXEC &&
                 (failure->error == ENOENT || failure->error == ENOTDIR))
                request_fail_field(req, PROBLEM_COMMAND_NOT_FOUND, ex->program_field,
                                   "%s: %.200s: command not found (no such program in PATH)",
                                   ex->program_field + 1, ex->program);
        else if (failure->stage == SPAWN_EXEC)
                request_fail_field(req, PROBLEM_COMMAND_NOT_EXECUTABLE, ex->program_field,
                                   "%s: %.200s cannot be executed: %s", ex->program_field + 1,
                                   ex->program, why);
        else
                request_fail(req, PROBLEM_INTERNAL, "the process could not be set up: %s", why);
}

/* What a text of the answer points to, until it has been sent. */
struct kept_output {
        struct process *process; /* a reference; it owns the output */
        char *note;
};

static void release_kept_output(void *arg)
{
        struct kept_output *kept = arg;

        process_unref(kept->process);
        free(kept->note);
        free(kept);
}

/* @note (takes it), if any, becomes a last line of the text. It starts with the line break that is only used when
 * the program left its last line open. */
static void add_output(struct document *doc, const struct execution *ex, const char *key,
                       struct output *output, char *note)
{
        struct document_piece pieces[DOCUMENT_MAX_PIECES];
        struct output_slices slices;
        struct kept_output *kept = xnew(struct kept_output);
        bool is_line_open = false;
        unsigned n = 0;

        kept->process = process_ref(ex->process);
        kept->note = note;

        output_slices(output, &slices);
        for (unsigned i = 0; i < slices.n; i++) {
                if (slices.slice[i].size == 0)
                        continue;
                pieces[n++] = (struct document_piece){ slices.slice[i].data, slices.slice[i].size };
                is_line_open = slices.slice[i].data[slices.slice[i].size - 1] != '\n';
        }
        if (note) {
                note += !is_line_open;
                pieces[n++] = (struct document_piece){ note, strlen(note) };
        }
        document_add_text(doc, key, ex->encoding, pieces, n, release_kept_output, kept);
}

static double seconds(uint64_t us)
{
        return (double)us / 1e6;
}

static json_t *describe(const struct execution *ex, const struct process_result *result)
{
        struct output *out = process_stdout(ex->process), *err = process_stderr(ex->process);
        char now[CLOCK_RFC3339_SIZE];
        json_t *label = json_string(ex->label);
        json_t *doc;

        doc = json_pack("{s:b, s:i, s:i, s:s, s:f, s:s, s:I, s:s, s:b, s:b, s:I, s:I, s:s}", //
                        "success", result->reason == END_EXIT && result->exit_code == 0,     //
                        "exit_code", result->exit_code, "exitCode", result->exit_code,       //
                        "reason", process_reason_name(result->reason),                       //
                        "execution_time", seconds(result->duration_us),                      //
                        "execution_id", process_id(ex->process),                             //
                        "pid", (json_int_t)process_pid(ex->process),                         //
                        "encoding", ex->encoding == DOCUMENT_BASE64 ? "base64" : "utf-8",    //
                        "stdout_truncated", output_is_truncated(out),                        //
                        "stderr_truncated", output_is_truncated(err),                        //
                        "stdout_bytes", (json_int_t)output_total(out),                       //
                        "stderr_bytes", (json_int_t)output_total(err),                       //
                        "timestamp", clock_rfc3339_now(now));
        json_object_set_new(doc, ex->label_name, label ? label : json_string(""));
        json_object_set_new(doc, "usage",
                            json_pack("{s:f, s:I}", "cpu_time", seconds(result->cpu_us),
                                      "max_rss_bytes", (json_int_t)result->max_rss));
        if (result->signal)
                json_object_set_new(doc, "signal", json_integer(result->signal));
        return doc;
}

/* What is added to stderr when we ended the program, because it could not say it itself. */
static char *make_note(const struct execution *ex, const struct process_result *result)
{
        if (ex->encoding == DOCUMENT_BASE64) /* exact bytes were asked for */
                return NULL;
        switch (result->reason) {
        case END_TIMEOUT:
                return xasprintf("\nvm-agent: timed out after %g s\n",
                                 (double)ex->timeout_ms / 1000);
        case END_OUTPUT_LIMIT:
                return xasprintf("\nvm-agent: ended because it wrote too much output\n");
        case END_OOM:
                return xasprintf("\nvm-agent: ended because it ran out of memory\n");
        default:
                return NULL;
        }
}

static void on_end(struct process *p, void *arg)
{
        struct execution *ex = arg;
        const struct process_result *result = process_result(p);
        struct metrics *metrics = &request_app(ex->request)->metrics;
        struct document *doc;

        metrics->executions_total++;
        if (result->reason != END_EXIT || result->exit_code != 0)
                metrics->executions_failed++;
        if (result->reason == END_SPAWN) {
                fail_spawn(ex, &result->failure);
        } else {
                doc = document_new(describe(ex, result));
                add_output(doc, ex, "stdout", process_stdout(p), NULL);
                add_output(doc, ex, "stderr", process_stderr(p), make_note(ex, result));
                request_reply_document(ex->request, 200, doc);
        }
        execution_free(ex);
}

static void on_cancel(void *arg)
{
        struct execution *ex = arg;

        process_kill(ex->process, END_CANCELLED);
}

/* --- the start --- */

/* See the header. */
char *execution_cwd(struct request *req, const struct execution_args *args)
{
        const char *workspace = request_app(req)->config->workspace;
        struct error err = ERROR_INIT;
        char *cwd = NULL;

        if (!args->workdir)
                return xstrdup(workspace);
        if (path_normalize(workspace, args->workdir, &cwd, &err) < 0) {
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/workdir", "workdir: %s",
                                   err.message);
                return NULL;
        }
        return cwd;
}

/* Decodes base64 into a new buffer. -EINVAL: it is none. */
static int decode_base64(const struct json_text *text, char **ret, size_t *ret_size)
{
        CLEANUP(mem_free) char *bytes = try_alloc(BASE64_DECODE_LENGTH(text->size) + 1);
        struct base64_decode_ctx ctx;
        size_t size = 0;

        if (!bytes)
                return -ENOMEM;
        base64_decode_init(&ctx);
        if (!base64_decode_update(&ctx, &size, (uint8_t *)bytes, text->size, text->data) ||
            !base64_decode_final(&ctx))
                return -EINVAL;
        *ret = STEAL(bytes);
        *ret_size = size;
        return 0;
}

/* The descriptor for the program's stdin, -1 for none, or less after failing the request. */
static int open_input(struct request *req, const struct execution_args *args)
{
        CLEANUP(mem_free) char *decoded = NULL;
        const char *data = args->input.data;
        size_t size = args->input.size;
        int r;

        if (!data || size == 0)
                return -1;
        if (args->input_encoding == DOCUMENT_BASE64) {
                r = decode_base64(&args->input, &decoded, &size);
                if (r < 0) {
                        request_fail_field(
                                req, PROBLEM_INVALID_REQUEST, "/stdin",
                                "stdin: stdin_encoding is base64, but this is not valid base64");
                        return -2;
                }
                data = decoded;
        }
        r = fd_memfd("stdin", data, size);
        if (r < 0) {
                request_fail(req, PROBLEM_UNAVAILABLE, "no memory for stdin: %s", strerror(-r));
                return -2;
        }
        return r;
}

static char **build_environment(struct request *req, const struct execution_spec *spec)
{
        const struct app *app = request_app(req);
        char **envp = NULL;
        int r;

        r = environment_build(supervisor_user(app->supervisor), spec->args->env,
                              spec->extra_env ? (const char *const *)spec->extra_env
                                              : environment_extra_default,
                              &envp);
        if (r < 0)
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/env",
                                   "env: all variables together exceed %zu bytes",
                                   LIMIT_ARGV_BYTES);
        return envp;
}

static int start_process(struct execution *ex, const struct execution_spec *spec, char *const *envp,
                         int input_fd)
{
        struct request *req = ex->request;
        const struct app *app = request_app(req);
        struct error err = ERROR_INIT;
        struct supervisor_counts counts;
        int r;

        r = supervisor_start(app->supervisor,
                             &(struct process_options){
                                     .argv = spec->argv,
                                     .envp = envp,
                                     .cwd = spec->cwd,
                                     .input_fd = input_fd,
                                     .timeout_ms = ex->timeout_ms,
                                     .grace_ms = spec->args->has_grace ? spec->args->grace_ms
                                                                       : app->config->kill_grace_ms,
                                     .on_end = on_end,
                                     .arg = ex,
                             },
                             &ex->process, &err);
        switch (r) {
        case 0:
                request_on_cancel(req, on_cancel, ex);
                return 0;
        case SUPERVISOR_E_LIMIT:
                supervisor_count(app->supervisor, &counts);
                request_set_header(req, "Retry-After", "1");
                request_fail(
                        req, PROBLEM_LIMIT_REACHED,
                        "max-processes reached: %llu executions are running and %llu left processes behind; "
                        "try again when one has ended",
                        (unsigned long long)counts.running, (unsigned long long)counts.lingering);
                return -EAGAIN;
        case SUPERVISOR_E_CLOSED:
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                return -ESHUTDOWN;
        case -E2BIG:
                request_fail_field(req, PROBLEM_INVALID_REQUEST, spec->size_field, "%s",
                                   err.message);
                return r;
        default:
                request_fail(req, PROBLEM_UNAVAILABLE, "no process could be started: %s",
                             err.message);
                return r;
        }
}

/* See the header. */
int execution_start(struct request *req, const struct execution_spec *spec)
{
        const struct app *app = request_app(req);
        struct execution *ex = xnew(struct execution);
        CLEANUP(strv_free) char **envp = NULL;
        CLEANUP(fd_close) int input_fd = -1;

        ex->request = request_ref(req);
        ex->script = spec->script;
        ex->encoding = (enum document_encoding)spec->args->encoding;
        ex->timeout_ms = MIN(spec->args->timeout_ms, app->config->max_timeout_ms);
        ex->size_field = spec->size_field;
        ex->program_field = spec->program_field;
        ex->label_name = spec->label_name;
        ex->label = spec->label;
        ex->cwd = xstrdup(spec->cwd);
        ex->program = xstrdup(spec->argv[0]);

        input_fd = open_input(req, spec->args);
        if (input_fd >= -1)
                envp = build_environment(req, spec);
        if (!envp || start_process(ex, spec, envp, input_fd) < 0)
                execution_free(ex); /* the request has its answer */
        return 0;
}
