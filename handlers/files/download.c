/* SPDX-License-Identifier: Apache-2.0 */

/* A worker opens the file, finds out which part of it is wanted and, when the file is small, reads it. A larger one is
 * sent by the kernel from the descriptor that was opened: whatever happens to its name meanwhile, the client gets one
 * file. A small one that the kernel has in its memory is read at once, without a worker. */

#include "handlers/files/download.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/cached.h"
#include "agent/files/outcome.h"
#include "agent/files/read.h"
#include "agent/http/file.h"
#include "agent/http/header_value.h"
#include "agent/http/range.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"
#include "handlers/files/download_tree.h"

static const struct enum_name format_names[] = {
        { "tar", DOWNLOAD_TAR },
        { "tar.gz", DOWNLOAD_TAR_GZIP },
        { "tgz", DOWNLOAD_TAR_GZIP },
        { NULL, 0 },
};

/* clang-format off */
const struct json_field files_download_args[] = {
        F_STRING(struct files_download_args, path, .in = IN_QUERY, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "The file or directory; relative paths begin at the workspace"),
        F_ENUM  (struct files_download_args, format, .in = IN_QUERY, .names = format_names,
                 .doc = "An archive of it; directories are one in any case, tar if nothing else is said"),
        F_END
};
/* clang-format on */

struct download {
        struct files_task task;
        struct range_conditions conditions;
        int fd; /* -1: the content was read, or nothing is open */
        struct buf content;
        struct stat st;
        bool is_sized; /* size and times say something about the content */
        uint64_t size; /* of the content */
        int64_t now;
        struct range_decision decision;
        bool is_directory;
        bool is_new_mount; /* the loop wants to know more about where the file is: */
        struct cached_mount mount;
};

/* --- on the worker --- */

/* The whole of a small file. *ret is on failure to be freed, too. */
static int read_content(int fd, uint64_t size, struct buf *ret)
{
        uint64_t max = size > 0 ? size : LIMIT_FILE_UNSIZED;
        char block[16 * KIB];
        ssize_t n;
        int r;

        buf_init(ret, LIMIT_FILE_UNSIZED);
        do {
                n = read(fd, block, (size_t)MIN(max - ret->size, (uint64_t)sizeof(block)));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                r = buf_append(ret, block, (size_t)n);
                if (r < 0)
                        return r;
        } while (n != 0 && ret->size < max);
        return size == 0 && ret->size == max ? -EFBIG : 0;
}

/* When st and now are known, and content or fd. */
static void decide(struct download *d)
{
        char etag[RANGE_ETAG_SIZE];
        struct range_file file;

        d->size = (uint64_t)d->st.st_size;
        d->is_sized = true;
        if (d->fd < 0) {
                /* What counts is what there is: the file may have been cut, and those of the kernel do not know. */
                d->is_sized = d->content.size == d->size;
                d->size = d->content.size;
        }
        file = (struct range_file){ .etag = d->is_sized ? range_etag(&d->st, d->now, etag) : NULL,
                                    .modified = d->is_sized ? d->st.st_mtim.tv_sec : INT64_MIN,
                                    .size = d->size,
                                    .now = d->now };
        range_decide(&d->conditions, &file, &d->decision);
}

static int work(struct files_task *t, struct error *err)
{
        struct download *d = container_of(t, struct download, task);
        CLEANUP(fd_close) int fd = -1;
        struct file_info info;
        uint64_t size;
        int r;

        r = file_open(t->roots, t->path, &fd, &info, err);
        d->is_directory = r == FILES_E_IS_DIRECTORY;
        if (r != 0)
                return d->is_directory ? 0 : r;
        if (fstat(fd, &d->st) < 0)
                return files_fail_errno(err, -errno, t->path);
        d->now = clock_realtime_s();
        if (d->is_new_mount)
                cached_look(fd, &d->mount);
        size = (uint64_t)d->st.st_size;
        if (size > FILE_REPLY_MIN) {
                d->fd = STEAL_FD(fd);
        } else {
                r = read_content(fd, size, &d->content);
                if (r < 0)
                        return files_fail_errno(err, r, t->path);
        }
        decide(d);
        return 0;
}

/* --- on the loop --- */

static bool at_once(struct files_task *t)
{
        struct download *d = container_of(t, struct download, task);
        int r;

        d->now = clock_realtime_s();
        r = cached_read(t->roots, t->path, FILE_REPLY_MIN, &d->content, &d->st);
        d->is_new_mount = r == -ENODEV;
        if (r < 0)
                return false;
        decide(d);
        return true;
}

static void set_headers(const struct download *d)
{
        CLEANUP(mem_free)
        char *disposition = http_content_disposition("attachment", files_base_name(d->task.path));
        struct request *req = d->task.request;
        char etag[RANGE_ETAG_SIZE], date[HTTP_DATE_SIZE], range[RANGE_CONTENT_SIZE];

        request_set_header(req, "Accept-Ranges", "bytes");
        /* It may be kept, but has to be asked for each time: files change. */
        request_set_header(req, "Cache-Control", "no-cache");
        if (d->is_sized) {
                request_set_header(req, "ETag", range_etag(&d->st, d->now, etag));
                /* A date in the future is not allowed. */
                request_set_header(
                        req, "Last-Modified",
                        http_date_print(MIN((int64_t)d->st.st_mtim.tv_sec, d->now), date));
        }
        if (d->decision.status == 206 || d->decision.status == 416)
                request_set_header(req, "Content-Range",
                                   range_content(&d->decision, d->size, range));
        if (d->decision.status >= 400)
                return;
        request_set_header(req, "Content-Disposition", disposition);
        request_set_header(req, "X-Content-Type-Options", "nosniff");
}

static void send_content(struct download *d)
{
        struct range_decision *part = &d->decision;
        size_t size;
        char *data;

        if (part->status == 304) {
                (void)request_reply_text(d->task.request, 304, FILE_TYPE_BYTES, NULL, 0);
                return;
        }
        if (d->fd >= 0) {
                (void)request_reply_file(d->task.request, part->status, FILE_TYPE_BYTES,
                                         STEAL_FD(d->fd), part->offset, part->size);
                return;
        }
        data = buf_steal(&d->content, &size);
        if (part->offset > 0)
                memmove(data, data + part->offset, (size_t)part->size);
        (void)request_reply_text(d->task.request, part->status, FILE_TYPE_BYTES, data,
                                 (size_t)part->size);
}

static void answer(struct files_task *t)
{
        struct download *d = container_of(t, struct download, task);

        cached_remember(&d->mount);
        if (d->is_directory) {
                (void)files_download_tree(t->request, t->path, DOWNLOAD_TAR, d->conditions.is_get);
                return;
        }
        set_headers(d);
        switch (d->decision.status) {
        case 412:
                (void)files_fail_problem(t->request, PROBLEM_PRECONDITION_FAILED, NULL, t->path,
                                         "the file is another one than the request's conditions "
                                         "ask for: %s",
                                         t->path);
                break;
        case 416:
                (void)files_fail_problem(t->request, PROBLEM_RANGE_NOT_SATISFIABLE, NULL, t->path,
                                         "the range begins behind the end of the file, which has "
                                         "%llu bytes: %s",
                                         (unsigned long long)d->size, t->path);
                break;
        default:
                send_content(d);
        }
}

static void release(struct files_task *t)
{
        struct download *d = container_of(t, struct download, task);

        range_conditions_done(&d->conditions);
        fd_close(d->fd);
        buf_done(&d->content);
        free(d);
}

/* Answers GET /files/download, and HEAD. */
int files_download_get(struct request *req)
{
        const struct files_download_args *args = request_args(req);
        struct range_conditions conditions;
        struct download *d;

        range_copy_conditions(req, &conditions);
        if (args->format != DOWNLOAD_PLAIN) {
                bool has_body = conditions.is_get;

                range_conditions_done(&conditions);
                return files_download_tree(req, args->path, (enum download_format)args->format,
                                           has_body);
        }
        d = xnew(struct download);
        d->task = (struct files_task){ .work = work,
                                       .at_once = at_once,
                                       .answer = answer,
                                       .release = release,
                                       .retries_plus = true };
        d->fd = -1;
        d->conditions = conditions;
        return files_run(req, &d->task, args->path);
}
