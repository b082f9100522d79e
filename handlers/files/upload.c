/* SPDX-License-Identifier: Apache-2.0 */

/* While a worker writes what was received, the next bytes are collected; when these are enough, too, the client has to
 * wait. So an upload needs two buffers, however large it is and however slow the disk; with many uploads these are
 * smaller. Of a small one all is received first, and written in one step: a worker costs more than its work then.
 *
 * One step at a time is with a worker. Whoever ends the upload meanwhile leaves a mark; what is unfinished is removed
 * by a worker as well, and the upload is released when that is done.
 *
 * What an archive unpacks to may be far more than what was received, so a step of it can end with the word that there
 * is more to do: then others have their turn, and another step goes on. */

#include "handlers/files/upload.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/config.h"
#include "agent/files/write.h"
#include "agent/http/body.h"
#include "agent/http/request.h"
#include "agent/loop/job.h"
#include "handlers/files/common.h"
#include "handlers/files/upload_sink.h"

#define STEP_SIZE     (128 * KIB) /* is worth a worker's time */
#define MIN_COLLECTED (64 * KIB)
#define MAX_COLLECTED (256 * KIB)
#define SMALL_SIZE \
        LIMIT_DRAIN_BYTES /* read in any case, so nothing is lost if it is refused then */

/* clang-format off */
const struct json_field files_upload_args[] = {
        F_STRING(struct files_upload_args, path, .in = IN_QUERY, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true,
                 .doc = "The file, or a directory for it; PUT needs it, a form may have a field path instead"),
        F_STRING(struct files_upload_args, mode, .in = IN_QUERY, .max = 8,
                 .doc = "Permissions, octal digits; by default those of the file that is replaced, else 0644"),
        F_BOOL  (struct files_upload_args, overwrite, .in = IN_QUERY, .def = true,
                 .doc = "May there be a file already?"),
        F_BOOL  (struct files_upload_args, extract, .in = IN_QUERY,
                 .doc = "Unpack the file, a tar (plain or packed by gzip, bzip2, xz or zstd) or zip archive, into the "
                        "directory path, by default the workspace"),
        F_END
};
/* clang-format on */

struct upload {
        struct request *request; /* a reference */
        struct upload_sink *sink;
        struct buf collected; /* what the next step takes */
        bool is_paused;
        bool is_reading; /* the body was asked for */
        bool has_ended;  /* all of it was received */
        bool is_over;    /* nobody waits for an answer */
        bool is_working;
        atomic_bool is_cancelled;

        /* The worker's while it works. */
        struct buf step;
        bool has_begun;
        bool is_last;
        bool is_finishing;
        bool is_again; /* the step is not through */
        bool is_clean; /* nothing is left to be removed */
        char *text;    /* of the answer */
        int r;
        struct error err;
};

static unsigned n_uploads;

/* From here on an upload has to wait for its worker. What comes next is one piece at most, so the two buffers of all
 * uploads together are within the limit. */
static size_t max_collected(void)
{
        size_t share = LIMIT_UPLOADS_HELD / 2 / n_uploads;

        return MIN(MAX(share, (size_t)(MIN_COLLECTED + BODY_MAX_PIECE)) - BODY_MAX_PIECE,
                   (size_t)MAX_COLLECTED);
}

static void upload_free(struct upload *u)
{
        n_uploads--;
        free(u->text);
        buf_done(&u->collected);
        buf_done(&u->step);
        upload_sink_free(u->sink);
        request_unref(u->request);
        free(u);
}

/* --- answers --- */

/* "…: Bad message" says nothing to a client. */
static void drop_strerror(struct error *err, int r)
{
        char tail[64];
        size_t size, n;

        (void)snprintf(tail, sizeof(tail), ": %s", strerror(-r));
        size = strlen(err->message);
        n = strlen(tail);
        if (size > n && strcmp(err->message + size - n, tail) == 0)
                err->message[size - n] = '\0';
}

static void fail(struct request *req, int r, struct error *err, const char *path)
{
        enum problem p = PROBLEM_INVALID_REQUEST;

        if (r == -ENOKEY) {
                p = PROBLEM_MISSING_PARAMETER;
        } else if (r == -EFBIG) {
                p = PROBLEM_TOO_LARGE;
        } else if (r == -EUSERS) {
                p = PROBLEM_LIMIT_REACHED;
        } else if (r != -EINVAL && r != -EBADMSG) {
                (void)files_fail_request(req, r, err, path);
                return;
        }
        drop_strerror(err, r);
        (void)files_fail_problem(req, p, err->field[0] ? err->field : NULL, path, "%s",
                                 err->message);
}

/* On the worker: a form may have thousands of files. What it is made of goes with it. */
static void write_answer(struct upload *u)
{
        struct upload_result result = upload_sink_result(u->sink);
        json_t *more = json_pack("{s:I, s:O}", "size", (json_int_t)result.size, "files",
                                 result.files);
        json_t *doc;

        if (result.is_extracted) {
                uint64_t n = result.n_files + result.n_directories + result.n_links;
                json_t *counts = json_pack(
                        "{s:b, s:I, s:I, s:I, s:I}", "extracted", true, "entries", (json_int_t)n,
                        "regular_files", (json_int_t)result.n_files, "directories",
                        (json_int_t)result.n_directories, "links", (json_int_t)result.n_links);

                (void)json_object_update(more, counts); /* fails like the answer itself */
                json_decref(counts);
        }
        doc = files_done_document(result.path,
                                  result.is_extracted ? "Archive extracted successfully"
                                                      : "File uploaded successfully",
                                  more);
        u->text = json_dumps(doc, JSON_COMPACT);
        json_decref(doc);
        u->sink = upload_sink_free(u->sink);
}

static void answer(struct upload *u)
{
        char *text = STEAL(u->text);

        if (text)
                (void)request_reply_text(u->request, 200, "application/json", text, strlen(text));
        else
                (void)request_reply_json(u->request, 200, NULL); /* says that it is lost */
}

/* --- steps --- */

static void read_body(struct upload *u);

static int work(struct upload *u)
{
        int r = 0;

        if (atomic_load(&u->is_cancelled))
                return -ECANCELED;
        if (!u->has_begun) {
                r = upload_sink_begin(u->sink, &u->err);
                if (r != 0)
                        return r;
                u->has_begun = true;
        }
        if (u->is_again)
                r = upload_sink_resume(u->sink, &u->err);
        else if (u->step.size > 0)
                r = upload_sink_feed(u->sink, u->step.data, u->step.size, &u->err);
        if (r == 0 && u->is_last && !u->is_finishing) {
                u->is_finishing = true;
                r = upload_sink_finish(u->sink, &u->err);
        }
        return r;
}

static void run(void *arg)
{
        struct upload *u = arg;

        u->r = work(u);
        u->is_again = u->r == -EAGAIN;
        if (u->is_again)
                return;
        u->step.size = 0;
        if (u->r != 0)
                upload_sink_abort(u->sink);
        else if (u->is_last)
                write_answer(u);
        u->is_clean = u->r != 0 || u->is_last;
}

static void on_done(void *arg);

/* @u may be gone after it. */
static void start(struct upload *u)
{
        int r;

        u->is_working = true;
        r = job_run(request_app(u->request)->loop, u, run, on_done);
        if (r == 0)
                return;
        (void)request_fail(u->request, PROBLEM_UNAVAILABLE, "no worker thread: %s", strerror(-r));
        upload_sink_abort(u->sink);
        upload_free(u);
}

/* The same. */
static void go_on(struct upload *u)
{
        struct buf full = u->collected;
        size_t max = max_collected();

        if (u->is_working || (!u->has_ended && full.size < MIN((size_t)STEP_SIZE, max)))
                return;
        if (u->step.capacity > max + BODY_MAX_PIECE + 1) /* from better times */
                buf_done(&u->step);
        u->collected = u->step;
        u->step = full;
        u->is_last = u->has_ended;
        start(u);
}

/* The same. Nobody waits for an answer any more. */
static void leave(struct upload *u)
{
        u->is_over = true;
        atomic_store(&u->is_cancelled, true);
        if (!u->is_working)
                start(u);
}

static void on_done(void *arg)
{
        struct upload *u = arg;

        u->is_working = false;
        if (u->is_over && !u->is_clean) {
                start(u);
                return;
        }
        if (u->is_clean) {
                if (!u->is_over && u->r != 0)
                        fail(u->request, u->r, &u->err, upload_sink_path(u->sink));
                else if (!u->is_over)
                        answer(u);
                upload_free(u);
                return;
        }
        if (u->is_again) {
                start(u);
                return;
        }
        if (!u->is_reading) {
                read_body(u);
                return;
        }
        if (u->is_paused) {
                u->is_paused = false;
                request_body_resume(u->request);
        }
        go_on(u);
}

/* --- the body --- */

static bool on_data(void *arg, const char *data, size_t size)
{
        struct upload *u = arg;

        /* More than a buffer would double to. */
        u->collected.max = MAX(max_collected(), u->collected.size) + BODY_MAX_PIECE;
        if (buf_append(&u->collected, data, size) < 0) {
                (void)request_fail(u->request, PROBLEM_UNAVAILABLE,
                                   "there is not enough memory for this");
                leave(u);
                return true;
        }
        /* One that goes to a worker at once makes room. */
        if (u->is_working && u->collected.size >= max_collected()) {
                u->is_paused = true;
                return false;
        }
        go_on(u);
        return true;
}

static void on_end(void *arg)
{
        struct upload *u = arg;

        u->has_ended = true;
        go_on(u);
}

static void on_abort(void *arg, enum body_abort why)
{
        (void)why; /* who is to be told something was told */
        leave(arg);
}

static const struct body_ops body_ops = { on_data, on_end, on_abort };

/* Where it fails the hook for cancelling is called. */
static void read_body(struct upload *u)
{
        u->is_reading = true;
        (void)request_read_body(u->request, &body_ops, u);
}

static void on_cancelled(void *arg)
{
        leave(arg);
}

/* --- requests --- */

static int options(struct request *req, struct upload *u, struct upload_options *ret)
{
        const struct files_upload_args *args = request_args(req);

        *ret = (struct upload_options){ .path = args->path && args->path[0] ? args->path : NULL,
                                        .mode = FILE_MODE_KEEP,
                                        .overwrite = args->overwrite,
                                        .extract = args->extract,
                                        .max_extract = request_app(req)->config->max_extract,
                                        .cancel = &u->is_cancelled };
        if (args->mode && args->mode[0] && files_parse_mode(args->mode, &ret->mode) < 0)
                return error_set_field(&u->err, -EINVAL, "/mode",
                                       "mode: expected octal digits such as 0644");
        return 0;
}

/* May it be read before it is known whether the file can be written? Not if the client waits to hear about that. */
static bool is_small(const struct request *req)
{
        uint64_t size;

        return request_body_size(req, &size) && size <= SMALL_SIZE &&
               !request_header(req, "Expect");
}

/* What is said about the body, but is not done, may not pass for done. */
static int check_headers(const struct request *req, struct error *err)
{
        if (!request_header(req, "Content-Range"))
                return 0;
        return error_set(err, -EINVAL,
                         "Content-Range: a part of a file cannot be uploaded, it would replace "
                         "the whole");
}

static int new_form(const struct request *req, const struct upload_options *o, struct upload *u)
{
        int r = upload_sink_new_form(request_app(req)->roots, o,
                                     request_header(req, "Content-Type"), &u->sink, &u->err);

        return r == -EINVAL ? error_wrap(&u->err, "POST takes a form, and PUT a file as it is") : r;
}

static int upload(struct request *req, bool is_form)
{
        struct upload *u = xnew(struct upload);
        struct upload_options o;
        int r;

        n_uploads++;
        u->request = request_ref(req);
        r = options(req, u, &o);
        if (r == 0)
                r = check_headers(req, &u->err);
        if (r == 0 && is_form)
                r = new_form(req, &o, u);
        if (r == 0 && !is_form)
                u->sink = upload_sink_new_file(request_app(req)->roots, &o);
        if (r < 0) {
                fail(req, r, &u->err, o.path);
                upload_free(u);
                return 0;
        }
        request_on_cancel(req, on_cancelled, u);
        if (is_small(req))
                read_body(u);
        else
                start(u);
        return 0;
}

/* Answers POST /files/upload. */
int files_upload_post(struct request *req)
{
        return upload(req, true);
}

/* Answers PUT /files/upload. */
int files_upload_put(struct request *req)
{
        const struct files_upload_args *args = request_args(req);

        if ((!args->path || !args->path[0]) && !args->extract)
                return request_fail_field(req, PROBLEM_MISSING_PARAMETER, "/path",
                                          "path: is missing");
        return upload(req, false);
}
