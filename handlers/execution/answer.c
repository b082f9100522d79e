/* SPDX-License-Identifier: Apache-2.0 */

/* What the client is told at the end.
 *
 * What user code does is never an error of ours: the answer is 200, with success, exit_code and reason, because
 * clients repeat a request that fails and would run the code again. Only when the program could not be started at
 * all is there an error, a 4xx that names the field to change. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/http/request.h"
#include "handlers/execution/execution_private.h"

/* See execution_private.h. */
void execution_fail_size(struct execution *ex)
{
        request_fail_field(ex->request, PROBLEM_INVALID_REQUEST, ex->spec.size_field,
                           "%s: arguments and environment together are too long for the system",
                           ex->spec.size_field + 1);
}

static void fail_spawn(struct execution *ex, const struct spawn_failure *failure)
{
        struct request *req = ex->request;
        const char *why = strerror(failure->error);

        if (failure->stage == SPAWN_CWD)
                request_fail_field(req, PROBLEM_WORKDIR_NOT_FOUND, "/workdir",
                                   "workdir: %.200s: %s", ex->cwd, why);
        else if (failure->stage == SPAWN_EXEC && failure->error == E2BIG)
                execution_fail_size(ex);
        else if (failure->stage == SPAWN_EXEC &&
                 (failure->error == ENOENT || failure->error == ENOTDIR))
                request_fail_field(req, PROBLEM_COMMAND_NOT_FOUND, ex->spec.program_field,
                                   "%s: %.200s: command not found (no such program in PATH%s)",
                                   ex->spec.program_field + 1, execution_program(ex),
                                   strpbrk(execution_program(ex), " \t\n")
                                           ? "; with args it is one program: leave args out to "
                                             "have the shell read the line"
                                           : "");
        else if (failure->stage == SPAWN_EXEC)
                request_fail_field(req, PROBLEM_COMMAND_NOT_EXECUTABLE, ex->spec.program_field,
                                   "%s: %.200s cannot be executed: %s", ex->spec.program_field + 1,
                                   execution_program(ex), why);
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
        document_add_text(doc, key, (enum document_encoding)ex->spec.args->encoding, pieces, n,
                          release_kept_output, kept);
}

static double seconds(uint64_t us)
{
        return (double)us / 1e6;
}

static json_t *describe(const struct execution *ex, const struct process_result *result)
{
        struct output *out = process_stdout(ex->process), *err = process_stderr(ex->process);
        char now[CLOCK_RFC3339_SIZE];
        json_t *label = json_string(ex->spec.label);
        json_t *doc;

        doc = json_pack("{s:b, s:i, s:i, s:s, s:f, s:s, s:I, s:s, s:b, s:b, s:I, s:I, s:s}", //
                        "success", result->reason == END_EXIT && result->exit_code == 0,     //
                        "exit_code", result->exit_code, "exitCode", result->exit_code,       //
                        "reason", process_reason_name(result->reason),                       //
                        "execution_time", seconds(result->duration_us),                      //
                        "execution_id", process_id(ex->process),                             //
                        "pid", (json_int_t)process_pid(ex->process),                         //
                        "encoding",
                        (enum document_encoding)ex->spec.args->encoding == DOCUMENT_BASE64
                                ? "base64"
                                : "utf-8",                             //
                        "stdout_truncated", output_is_truncated(out),  //
                        "stderr_truncated", output_is_truncated(err),  //
                        "stdout_bytes", (json_int_t)output_total(out), //
                        "stderr_bytes", (json_int_t)output_total(err), //
                        "timestamp", clock_rfc3339_now(now));
        json_object_set_new(doc, ex->spec.label_name, label ? label : json_string(""));
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
        if ((enum document_encoding)ex->spec.args->encoding ==
            DOCUMENT_BASE64) /* exact bytes were asked for */
                return NULL;
        switch (result->reason) {
        case END_TIMEOUT:
                return xasprintf("\nvm-agent: timed out after %g s\n",
                                 (double)execution_timeout_ms(ex) / 1000);
        case END_OUTPUT_LIMIT:
                return xasprintf("\nvm-agent: ended because it wrote too much output\n");
        case END_OOM:
                return xasprintf("\nvm-agent: ended because it ran out of memory\n");
        default:
                return NULL;
        }
}

/* See execution_private.h. */
void execution_answer(struct execution *ex)
{
        const struct process_result *result = process_result(ex->process);
        struct metrics *metrics = &request_app(ex->request)->metrics;
        struct document *doc;

        metrics->executions_total++;
        if (result->reason != END_EXIT || result->exit_code != 0)
                metrics->executions_failed++;
        if (result->reason == END_SPAWN) {
                fail_spawn(ex, &result->failure);
                return;
        }
        doc = document_new(describe(ex, result));
        add_output(doc, ex, "stdout", process_stdout(ex->process), NULL);
        add_output(doc, ex, "stderr", process_stderr(ex->process), make_note(ex, result));
        request_reply_document(ex->request, 200, doc);
}
