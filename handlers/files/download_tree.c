/* SPDX-License-Identifier: Apache-2.0 */

/* A worker writes the archive as long as its client takes it; when too much waits, it stops, and is called once more
 * when there is room. An archive that cannot be completed breaks the connection, so that nobody takes it for one. */

#include "handlers/files/download_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/http/header_value.h"
#include "agent/http/request.h"
#include "agent/http/stream.h"
#include "agent/loop/feed.h"
#include "agent/loop/job.h"
#include "handlers/files/common.h"
#include "handlers/files/download_tar.h"

#define LOG_MODULE "files"
#include "agent/base/log.h"

struct tree {
        struct files_task task;
        enum download_format format;
        bool has_body;
        struct loop *loop;
        struct tar *tar;
        struct feed *feed;
        char *name;   /* of the archive's file */
        bool is_more; /* the worker has stopped before the end */

        struct stream *stream; /* NULL: none yet, or none any more */
        bool was_streamed;
        bool is_full; /* the stream is */
        bool is_idle; /* no worker is at work, and one has been */
};

/* --- on the worker --- */

/* What the client calls it, unless it did not. A new string. */
static char *name_top(const char *asked, const char *real)
{
        CLEANUP(mem_free) char *path = xstrdup(asked);
        size_t size = strlen(path);
        const char *name;

        while (size > 1 && path[size - 1] == '/')
                path[--size] = '\0';
        name = files_base_name(path);
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                name = files_base_name(real);
        return xstrdup(strcmp(name, "/") == 0 ? "root" : name);
}

static int begin(struct tree *t, struct error *err)
{
        CLEANUP(place_done) struct place place = PLACE_INIT;
        CLEANUP(mem_free) char *top = NULL;
        int fd;
        int r = place_find(t->task.roots, t->task.path, PLACE_FOLLOW, 0, &place, err);

        if (r != 0)
                return r;
        fd = place_open(&place, O_RDONLY);
        if (fd < 0)
                return files_fail_errno(err, fd, t->task.path);
        top = name_top(t->task.path, place.path);
        t->name = xasprintf("%s%s", top, t->format == DOWNLOAD_TAR_GZIP ? ".tar.gz" : ".tar");
        tar_begin(t->tar, fd, top);
        return 0;
}

static int work(struct files_task *task, struct error *err)
{
        struct tree *t = container_of(task, struct tree, task);
        CLEANUP(files_scope_leave) struct files_scope scope = { .user = NULL };
        int r;

        r = roots_enter(task->roots, &scope, task->path, err);
        if (r == 0 && !tar_has_begun(t->tar))
                r = begin(t, err);
        if (r != 0)
                return r;
        r = tar_write(t->tar);
        if (r < 0)
                return files_fail_errno(err, r, task->path);
        t->is_more = r > 0;
        return 0;
}

/* --- on the loop --- */

static void send_pieces(struct tree *t)
{
        size_t size;
        char *data;

        while (t->stream && !t->is_full && (data = feed_pop(t->feed, &size))) {
                for (size_t at = 0; at < size; at += LIMIT_STREAM_QUEUE / 4)
                        t->is_full = stream_write(t->stream, data + at,
                                                  MIN(size - at, LIMIT_STREAM_QUEUE / 4)) != 0;
                free(data);
        }
        if (!t->stream || t->is_full || !t->is_idle)
                return;
        if (!t->is_more) {
                stream_end(t->stream);
        } else if (stream_is_open(t->stream)) { /* else it was broken, and on_closed comes */
                t->is_idle = false;
                files_task_again(&t->task);
        }
}

static void on_writable(void *arg)
{
        struct tree *t = arg;

        t->is_full = false;
        send_pieces(t);
}

/* The worker may still be at work: then the end of the task finds out. */
static void on_closed(void *arg)
{
        struct tree *t = arg;

        t->stream = NULL;
        atomic_store(&t->task.is_cancelled, true);
        if (t->is_idle)
                files_task_end(&t->task);
}

static const struct stream_ops stream_ops = { .on_writable = on_writable,
                                              .on_closed = on_closed,
                                              .is_finite = true };

static void begin_answer(struct tree *t)
{
        CLEANUP(mem_free) char *disposition = http_content_disposition("attachment", t->name);
        struct request *req = t->task.request;
        bool is_gzip = t->format == DOWNLOAD_TAR_GZIP;

        t->was_streamed = true;
        if (!atomic_load(&t->task.is_cancelled)) {
                request_set_header(req, "Content-Disposition", disposition);
                request_set_header(req, "X-Content-Type-Options", "nosniff");
                t->stream = request_reply_stream(req, 200,
                                                 is_gzip ? "application/gzip" : "application/x-tar",
                                                 &stream_ops, t);
        }
        t->task.is_streaming = t->stream != NULL;
        if (!t->stream)
                atomic_store(&t->task.is_cancelled, true);
        else if (!t->has_body)
                stream_end(t->stream);
}

static void on_data(void *arg)
{
        struct tree *t = arg;

        if (!t->was_streamed)
                begin_answer(t);
        send_pieces(t);
}

static void answer(struct files_task *task)
{
        struct tree *t = container_of(task, struct tree, task);

        if (!t->is_more && tar_n_unreadable(t->tar) > 0)
                log_warning("archive without what is unreadable", "id=%s path=%s entries=%llu",
                            request_id(task->request), log_quote(task->path),
                            (unsigned long long)tar_n_unreadable(t->tar));
        t->is_idle = true;
        on_data(t);
        task->is_kept = t->stream != NULL; /* else nobody is listening any more */
}

static void fail(struct files_task *task)
{
        struct tree *t = container_of(task, struct tree, task);

        if (!t->was_streamed) {
                files_task_fail(task);
                return;
        }
        log_warning("archive broken off", "id=%s error=%s", request_id(task->request),
                    log_quote(task->err.message));
        task->is_kept = true;
        t->is_idle = true;
        stream_break(t->stream);
}

static void free_tar(void *arg)
{
        struct tree *t = arg;

        t->tar = tar_free(t->tar);
}

static void on_tar_freed(void *arg)
{
        struct tree *t = arg;

        free(t->name);
        free(t);
}

static void release(struct files_task *task)
{
        struct tree *t = container_of(task, struct tree, task);

        feed_free(t->feed);
        if (job_run(t->loop, t, free_tar, on_tar_freed) == 0)
                return;
        free_tar(t);
        on_tar_freed(t);
}

/* See the header. */
int files_download_tree(struct request *req, const char *path, enum download_format format,
                        bool has_body)
{
        struct tree *t = xnew(struct tree);

        t->task = (struct files_task){ .work = work,
                                       .answer = answer,
                                       .fail = fail,
                                       .release = release,
                                       .is_long = true,
                                       .retries_plus = true };
        t->format = format;
        t->has_body = has_body;
        t->loop = request_app(req)->loop;
        t->feed = feed_new(t->loop, on_data, t);
        t->tar = tar_new(format == DOWNLOAD_TAR_GZIP, t->feed, &t->task.is_cancelled);
        if (!t->tar) {
                release(&t->task);
                return request_fail(req, PROBLEM_UNAVAILABLE,
                                    "there is not enough memory for this");
        }
        return files_run(req, &t->task, path);
}
