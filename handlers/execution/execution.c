/* SPDX-License-Identifier: Apache-2.0 */

/* What the client is told at the end.
 *
 * What user code does is never an error of ours: the answer is 200, with success, exit_code and reason, because
 * clients repeat a request that fails and would run the code again. Only when the program could not be started at
 * all is there an error, a 4xx that names the field to change.
 *
 * An execution holds a reference on its request, and ends with its run. When the client leaves, the cancel hook makes
 * the run end; the answer is then swallowed by the request. Where the answer may be another execution's, or one for
 * others as well (cached.c), it is asked for with ops, and stays until that is done. */

#include "handlers/execution/execution.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "handlers/execution/arguments.h"
#include "handlers/execution/cached.h"
#include "handlers/execution/result.h"
#include "handlers/execution/rich_answer.h"
#include "handlers/execution/run.h"

struct execution {
        struct request *request; /* a reference */
        struct run *run;         /* until its end */
        struct process *process; /* a reference, from then on */
        uint64_t timeout_ms;
        const struct execution_ops *ops; /* NULL: the request is answered */
        void *arg;
        enum document_encoding encoding;
        const char *label_name;
        const char *label;
        bool is_code; /* as opposed to a command, which displays nothing */
};

/* See the header. */
struct execution *execution_free(struct execution *ex)
{
        process_unref(ex->process);
        request_unref(ex->request);
        free(ex);
        return NULL;
}

static void on_failed(void *arg, enum problem p, const char *field, const char *message)
{
        struct execution *ex = arg;

        if (ex->ops) {
                ex->ops->on_failed(ex->arg, p, field, message);
        } else {
                if (p == PROBLEM_LIMIT_REACHED)
                        request_set_header(ex->request, "Retry-After", "1");
                request_fail_field(ex->request, p, field, "%s", message);
        }
        execution_free(ex);
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

/* @note (takes it), if any, becomes a last line of the text. */
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

static void release_process(void *arg)
{
        process_unref(arg);
}

static json_t *describe(const struct execution *ex, const struct rich_answer *rich)
{
        struct process *p = ex->process;
        struct output *out = process_stdout(p), *err = process_stderr(p);
        json_t *doc = result_describe(p, ex->label_name, ex->label);

        json_object_update_new(doc, json_pack("{s:s, s:b, s:b, s:I, s:I}", //
                                              "encoding",
                                              ex->encoding == DOCUMENT_BASE64 ? "base64" : "utf-8",
                                              "stdout_truncated", output_is_truncated(out),  //
                                              "stderr_truncated", output_is_truncated(err),  //
                                              "stdout_bytes", (json_int_t)output_total(out), //
                                              "stderr_bytes", (json_int_t)output_total(err)));
        rich_answer_describe(doc, rich);
        return doc;
}

/* See the header. */
struct document *execution_document(const struct execution *ex, json_t *marks)
{
        struct process *p = ex->process;
        bool is_exact = ex->encoding == DOCUMENT_BASE64; /* nothing may be added to it */
        char *note = is_exact ? NULL : result_note(process_result(p), ex->timeout_ms);
        struct rich_answer rich;
        struct document *doc;
        json_t *fields;

        rich_answer_init(&rich, process_rich(p), SIZE_MAX);
        fields = describe(ex, &rich);
        if (marks) {
                json_object_del(fields, "timestamp");
                json_object_update_new(fields, marks);
        }
        doc = document_new(fields);
        add_output(doc, ex, "stdout", process_stdout(p), NULL);
        add_output(doc, ex, "stderr", process_stderr(p), note);
        if (ex->is_code)
                rich_answer_add(doc, &rich, release_process, process_ref(p));
        rich_answer_done(&rich);
        return doc;
}

/* See the header. */
bool execution_is_complete(const struct execution *ex)
{
        const struct process_result *result = process_result(ex->process);
        const struct rich *rich = process_rich(ex->process);

        return (!rich || rich_dropped(rich) == 0) && result->reason == END_EXIT &&
               result->exit_code == 0 && !output_is_truncated(process_stdout(ex->process)) &&
               !output_is_truncated(process_stderr(ex->process));
}

static void on_end(void *arg, struct process *p)
{
        struct execution *ex = arg;

        ex->process = process_ref(p);
        ex->timeout_ms = run_timeout_ms(ex->run);
        ex->run = NULL;
        if (ex->ops) {
                ex->ops->on_end(ex->arg, ex);
                return;
        }
        request_reply_document(ex->request, 200, execution_document(ex, NULL));
        execution_free(ex);
}

/* See the header. */
void execution_cancel(struct execution *ex)
{
        if (ex->run)
                run_cancel(ex->run);
}

static void on_cancel(void *arg)
{
        execution_cancel(arg);
}

static struct execution *execution_new(struct request *req, const struct run_spec *spec,
                                       const char *label_name, const char *label)
{
        static const struct run_ops ops = { .on_failed = on_failed, .on_end = on_end };
        struct execution *ex = xnew(struct execution);

        ex->request = request_ref(req);
        ex->encoding = (enum document_encoding)spec->args->encoding;
        ex->label_name = label_name;
        ex->label = label;
        ex->is_code = spec->code != NULL;
        ex->run = run_new(request_app(req), spec, &ops, ex);
        return ex;
}

/* See the header. */
int execution_start(struct request *req, const struct run_spec *spec, const char *label_name,
                    const char *label)
{
        struct execution *ex;

        if (cached_start(req, spec, label_name, label))
                return 0;
        ex = execution_new(req, spec, label_name, label);
        request_on_cancel(req, on_cancel, ex);
        run_begin(ex->run);
        return 0;
}

/* See the header. */
void execution_start_for(struct request *req, const struct run_spec *spec, const char *label_name,
                         const char *label, const struct execution_ops *ops, void *arg,
                         struct execution **ret)
{
        struct execution *ex = execution_new(req, spec, label_name, label);

        ex->ops = ops;
        ex->arg = arg;
        *ret = ex;
        run_begin(ex->run);
}
