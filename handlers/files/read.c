/* SPDX-License-Identifier: Apache-2.0 */

/* The content stays as it is on the disk, and is escaped while it is sent. */

#include "handlers/files/read.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/files/read.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "handlers/files/common.h"

static const struct enum_name encoding_names[] = {
        { "utf-8", DOCUMENT_UTF8 },
        { "utf8", DOCUMENT_UTF8 },
        { "text", DOCUMENT_UTF8 },
        { "base64", DOCUMENT_BASE64 },
        { NULL, 0 },
};

/* clang-format off */
const struct json_field files_read_args[] = {
        F_STRING(struct files_read_args, path, .in = IN_QUERY, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "The file; relative paths begin at the workspace"),
        F_ENUM  (struct files_read_args, encoding, .in = IN_QUERY, .names = encoding_names, .def = DOCUMENT_UTF8,
                 .doc = "utf-8: what is no UTF-8 is replaced; base64: exact bytes"),
        F_UINT  (struct files_read_args, offset, .in = IN_QUERY, .max = INT64_MAX,
                 .doc = "First byte of the part that is wanted"),
        F_UINT  (struct files_read_args, limit, .in = IN_QUERY, .max = INT64_MAX,
                 .doc = "Bytes of it; 0: to the end"),
        F_UINT  (struct files_read_args, line_start, .in = IN_QUERY, .min = 1, .max = INT64_MAX,
                 .doc = "First line that is wanted, from 1"),
        F_UINT  (struct files_read_args, line_end, .in = IN_QUERY, .max = INT64_MAX,
                 .doc = "Last line that is wanted; 0: to the end"),
        F_END
};
/* clang-format on */

struct reading {
        struct files_task task;
        struct file_read_options options;
        enum document_encoding encoding;
        struct file_part part;
};

static size_t held; /* bytes of contents that are being sent */

struct content {
        char *data;
        size_t size;
};

static void content_free(void *arg)
{
        struct content *c = arg;

        held -= c->size;
        free(c->data);
        free(c);
}

static int work(struct files_task *t, struct error *err)
{
        struct reading *r = container_of(t, struct reading, task);

        return file_read(t->roots, t->path, &r->options, &r->part, err);
}

static json_t *describe(const struct reading *r)
{
        const struct file_part *part = &r->part;
        /* A file of the kernel has no size of its own. */
        uint64_t size = part->content.size > 0
                                ? MAX(part->info.size, part->offset + part->content.size)
                                : part->info.size;
        char modified[32];
        json_t *doc = json_object();

        files_time(modified, part->info.modified_ns);
        json_object_set_new(doc, "path", files_json_string(r->task.path));
        json_object_set_new(doc, "size", json_integer((json_int_t)size));
        json_object_set_new(doc, "encoding",
                            json_string(r->encoding == DOCUMENT_BASE64 ? "base64" : "utf-8"));
        json_object_set_new(doc, "offset", json_integer((json_int_t)part->offset));
        json_object_set_new(doc, "length", json_integer((json_int_t)part->content.size));
        json_object_set_new(doc, "eof", json_boolean(part->is_at_end));
        if (r->options.line_start > 0) {
                json_object_set_new(doc, "line_start",
                                    json_integer((json_int_t)r->options.line_start));
                json_object_set_new(doc, "line_count", json_integer((json_int_t)part->n_lines));
        }
        json_object_set_new(doc, "modified_time", json_string(modified));
        return doc;
}

static void answer(struct files_task *t)
{
        struct reading *r = container_of(t, struct reading, task);
        size_t size = r->part.content.size;
        struct document_piece piece;
        struct document *doc;
        struct content *c;

        if (held + size > LIMIT_FILE_READ_HELD) {
                (void)files_fail_problem(t->request, PROBLEM_LIMIT_REACHED, NULL, t->path,
                                         "too many large files are being read; try again later, or "
                                         "use GET /files/download");
                return;
        }
        doc = document_new(describe(r));
        c = xnew(struct content);
        c->data = buf_steal(&r->part.content, &c->size);
        held += c->size;
        piece = (struct document_piece){ .data = c->data ? c->data : "", .size = c->size };
        document_add_text(doc, "content", r->encoding, &piece, 1, content_free, c);
        (void)request_reply_document(t->request, 200, doc);
}

static void fail(struct files_task *t)
{
        if (t->r != FILES_E_TOO_LARGE) {
                files_task_fail(t);
                return;
        }
        (void)files_fail_problem(
                t->request, PROBLEM_TOO_LARGE, NULL, t->path,
                "%s: at most %zu MiB are answered here; read a part of it (offset and limit, or "
                "line_start and line_end), or use GET /files/download",
                t->err.message, LIMIT_FILE_READ / MIB);
}

static void release(struct files_task *t)
{
        struct reading *r = container_of(t, struct reading, task);

        file_part_done(&r->part);
        free(r);
}

/* Answers GET /files/read. */
int files_read_get(struct request *req)
{
        const struct files_read_args *args = request_args(req);
        struct reading *r;

        if (args->line_end > 0 && args->line_end < MAX(args->line_start, (uint64_t)1))
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/line_end", args->path,
                                          "line_end: is before line_start");
        if ((args->line_start > 0 || args->line_end > 0) && (args->offset > 0 || args->limit > 0))
                return files_fail_problem(
                        req, PROBLEM_INVALID_REQUEST, args->offset > 0 ? "/offset" : "/limit",
                        args->path, "%s: counts bytes, and does not go with line_start or line_end",
                        args->offset > 0 ? "offset" : "limit");
        r = xnew(struct reading);
        r->task = (struct files_task){ .work = work,
                                       .answer = answer,
                                       .fail = fail,
                                       .release = release,
                                       .retries_plus = true };
        r->encoding = (enum document_encoding)args->encoding;
        r->options = (struct file_read_options){
                .offset = args->offset,
                .limit = args->limit,
                .line_start = args->line_end > 0 ? MAX(args->line_start, (uint64_t)1)
                                                 : args->line_start,
                .line_end = args->line_end,
                .max = LIMIT_FILE_READ,
                .cancel = &r->task.is_cancelled,
        };
        return files_run(req, &r->task, args->path);
}
