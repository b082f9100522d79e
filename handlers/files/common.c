/* SPDX-License-Identifier: Apache-2.0 */

/* The worker and the loop take turns: what belongs to the request is touched on the loop only, and a client that leaves
 * sets a flag that the operation looks at. Nothing is freed before the worker has returned. */

#include "handlers/files/common.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "agent/files/outcome.h"
#include "agent/files/roots.h"
#include "agent/http/request.h"
#include "agent/json/write.h"
#include "agent/loop/job.h"

#define LOG_MODULE "files"
#include "agent/base/log.h"

#define LAST_SECOND 253402300799 /* of the year 9999 */

static struct list waiting = LIST_INIT(waiting); /* long operations that cannot begin yet */
static unsigned n_waiting;
static unsigned n_long; /* that run */

static const enum problem problems[] = {
        [FILES_E_NOT_FOUND] = PROBLEM_FILE_NOT_FOUND,
        [FILES_E_NO_DIRECTORY] = PROBLEM_DIRECTORY_NOT_FOUND,
        [FILES_E_NOT_ALLOWED] = PROBLEM_PATH_NOT_ALLOWED,
        [FILES_E_DENIED] = PROBLEM_PERMISSION_DENIED,
        [FILES_E_EXISTS] = PROBLEM_FILE_ALREADY_EXISTS,
        [FILES_E_IS_DIRECTORY] = PROBLEM_INVALID_PATH,
        [FILES_E_NOT_DIRECTORY] = PROBLEM_INVALID_PATH,
        [FILES_E_NOT_EMPTY] = PROBLEM_DIRECTORY_NOT_EMPTY,
        [FILES_E_SPECIAL] = PROBLEM_INVALID_PATH,
        [FILES_E_TOO_LONG] = PROBLEM_INVALID_PATH,
        [FILES_E_INVALID] = PROBLEM_INVALID_PATH,
        [FILES_E_TOO_LARGE] = PROBLEM_TOO_LARGE,
        [FILES_E_NO_SPACE] = PROBLEM_NO_SPACE,
        [FILES_E_READ_ONLY] = PROBLEM_PERMISSION_DENIED,
        [FILES_E_TOO_MANY_FILES] = PROBLEM_UNAVAILABLE,
        [FILES_E_LOOP] = PROBLEM_INVALID_PATH,
        [FILES_E_BUSY] = PROBLEM_FILE_BUSY,
        [FILES_E_CANCELLED] = PROBLEM_UNAVAILABLE,
        [FILES_E_OTHER] = PROBLEM_FILE_OPERATION_FAILED,
};

/* --- operations --- */

static void start(struct files_task *t);

static void task_free(struct files_task *t)
{
        request_unref(t->request);
        free(t->path);
        free(t->error_entry);
        t->release(t);
}

/* A query that was put together without escaping has "+" where the file's name has one, and "+" is a blank: @path with
 * "+" for each blank, to be freed, or NULL when there is none. */
static char *plus_variant(const char *path)
{
        char *variant;

        if (!strchr(path, ' '))
                return NULL;
        variant = xstrdup(path);
        for (char *p = variant; *p; p++)
                if (*p == ' ')
                        *p = '+';
        return variant;
}

static int work(struct files_task *t)
{
        char *asked, *variant;
        int r = t->work(t, &t->err);

        if ((r != FILES_E_NOT_FOUND && r != FILES_E_NO_DIRECTORY) || !t->retries_plus)
                return r;
        variant = plus_variant(t->path);
        if (!variant)
                return r;
        asked = t->path;
        t->path = variant;
        if (t->work(t, &(struct error)ERROR_INIT) == 0) {
                free(asked);
                return 0;
        }
        free(t->path);
        t->path = asked;
        return r;
}

static void run(void *arg)
{
        struct files_task *t = arg;

        if (!atomic_load(&t->is_cancelled))
                t->r = work(t);
}

static void start_next(void)
{
        struct files_task *t;

        if (list_is_empty(&waiting) || n_long >= LIMIT_FILES_LONG)
                return;
        t = list_entry(waiting.next, struct files_task, link);
        list_remove(&t->link);
        n_waiting--;
        t->is_queued = false;
        start(t);
}

static void on_done(void *arg)
{
        struct files_task *t = arg;
        if (t->is_running_long)
                n_long--;
        t->is_running_long = false;
        t->is_kept = false;
        if (!atomic_load(&t->is_cancelled)) {
                if (t->r == 0)
                        t->answer(t);
                else if (t->fail)
                        t->fail(t);
                else
                        files_task_fail(t);
        }
        if (!t->is_kept)
                task_free(t);
        start_next();
}

static void start(struct files_task *t)
{
        int r;

        t->is_running_long = t->is_long;
        if (t->is_long)
                n_long++;
        r = job_run(request_app(t->request)->loop, t, run, on_done);
        assert(r == 0); /* the pool takes everything, and who calls this could not go on */
        (void)r;
}

static void on_cancelled(void *arg)
{
        struct files_task *t = arg;

        atomic_store(&t->is_cancelled, true);
        if (t->is_queued) {
                list_remove(&t->link);
                n_waiting--;
                task_free(t);
        }
}

/* Also what has just had a turn, and goes on: it is no longer counted, but others were there before. */
static bool must_wait(const struct files_task *t)
{
        return t->is_long && (n_long >= LIMIT_FILES_LONG || !list_is_empty(&waiting));
}

static void submit(struct files_task *t)
{
        if (!must_wait(t)) {
                start(t);
                return;
        }
        list_append(&waiting, &t->link);
        n_waiting++;
        t->is_queued = true;
}

/* True when @t has to wait in a queue that is full: then its request has been answered. */
static bool is_refused(struct files_task *t)
{
        if (!must_wait(t) || n_waiting < LIMIT_FILES_WAITING)
                return false;
        (void)request_fail(t->request, PROBLEM_LIMIT_REACHED,
                           "%u operations on files are waiting already; try again later",
                           n_waiting);
        return true;
}

/* See the header. What has begun to answer cannot be refused any more; of those there are no more than connections. */
void files_task_again(struct files_task *t)
{
        if (!t->is_streaming && is_refused(t)) {
                t->is_kept = false;
                return;
        }
        t->is_kept = true;
        submit(t);
}

/* See the header. */
void files_task_end(struct files_task *t)
{
        task_free(t);
}

/* See the header. */
int files_run(struct request *req, struct files_task *t, const char *path)
{
        t->request = request_ref(req);
        t->roots = request_app(req)->roots;
        t->path = xstrdup(path);
        list_init(&t->link);
        if (t->at_once && t->at_once(t)) {
                t->answer(t);
                task_free(t);
                return 0;
        }
        if (is_refused(t)) {
                task_free(t);
                return 0;
        }
        request_on_cancel(req, on_cancelled, t);
        submit(t);
        return 0;
}

/* --- failures --- */

static void add_path(json_t *doc, const char *path, const char *entry)
{
        json_t *details = json_object_get(doc, "details");
        json_t *text = files_json_string(path);

        if (!details) {
                details = json_object();
                json_object_set_new(doc, "details", details);
        }
        json_object_set(doc, "path", text);
        json_object_set_new(details, "path", text);
        if (entry)
                json_object_set_new(details, "entry", files_json_string(entry));
}

static int reply_problem(struct request *req, enum problem p, const char *field, const char *path,
                         const char *entry, const char *message)
{
        json_t *doc = problem_document(p, message, field, request_id(req));

        if (path)
                add_path(doc, path, entry);
        return request_reply_json(req, problem_status(p), doc);
}

/* See the header. */
int files_fail_problem(struct request *req, enum problem p, const char *field, const char *path,
                       const char *fmt, ...)
{
        char message[512];
        va_list ap;

        va_start(ap, fmt);
        (void)vsnprintf(message, sizeof(message), fmt, ap);
        va_end(ap);
        return reply_problem(req, p, field, path, NULL, message);
}

/* See the header. */
enum problem files_problem(int r)
{
        int outcome = r > 0 ? r : (int)files_outcome(r);

        return outcome < (int)ARRAY_LEN(problems) ? problems[outcome] : PROBLEM_INTERNAL;
}

static int fail_request(struct request *req, int r, const struct error *err, const char *path,
                        const char *entry)
{
        enum problem p = files_problem(r);
        const char *field = err->field;

        if (r == -ENOMEM)
                return files_fail_problem(req, PROBLEM_UNAVAILABLE, NULL, path,
                                          "there is not enough memory for this");
        if (p == PROBLEM_FILE_OPERATION_FAILED)
                log_warning("operation on a file failed", "id=%s error=%s", request_id(req),
                            err->message[0] ? log_quote(err->message) : strerror(-r));
        if (!field[0] && p == PROBLEM_INVALID_PATH)
                field = "/path";
        return reply_problem(req, p, field, path, entry,
                             err->message[0] ? err->message : strerror(r < 0 ? -r : EIO));
}

/* See the header. */
int files_fail_request(struct request *req, int r, const struct error *err, const char *path)
{
        return fail_request(req, r, err, path, NULL);
}

/* See the header. */
void files_task_fail(struct files_task *t)
{
        (void)fail_request(t->request, t->r, &t->err, t->error_path ? t->error_path : t->path,
                           t->error_entry);
}

/* The end of a sentence about @path; see files/outcome.c. */
static size_t mention(const struct error *err, const char *path)
{
        size_t size = strlen(path), said = strlen(err->message);
        size_t n = size > 160 ? 56 : size; /* the end of a long one is shown */

        return n <= said && memcmp(err->message + said - n, path + size - n, n) == 0 ? n : 0;
}

/* See the header. */
void files_blame_second(struct files_task *t, const char *second)
{
        if (mention(&t->err, second) <= mention(&t->err, t->path))
                return;
        t->error_path = second;
        if (t->r > 0 && problems[t->r] == PROBLEM_INVALID_PATH)
                (void)snprintf(t->err.field, sizeof(t->err.field), "/to");
}

/* See the header. */
int files_fail_memory(struct error *err, int r)
{
        (void)error_set(err, r, "the answer");
        return r == -EFBIG ? (int)FILES_E_TOO_LARGE : r;
}

/* --- answers --- */

/* See the header. */
json_t *files_json_string(const char *text)
{
        json_t *json = json_string(text);
        CLEANUP(buf_done) struct buf b = { .max = 0 };

        if (json)
                return json;
        if (json_write_string(&b, text) == 0)
                json = json_loadb(b.data, b.size, JSON_DECODE_ANY, NULL);
        return json ? json : json_string("");
}

/* See the header. */
json_t *files_done_document(const char *path, const char *message, json_t *more)
{
        char now[CLOCK_RFC3339_SIZE];
        json_t *doc = json_object();

        json_object_set_new(doc, "success", json_true());
        json_object_set_new(doc, "path", files_json_string(path));
        json_object_set_new(doc, "message", json_string(message));
        json_object_set_new(doc, "timestamp", json_string(clock_rfc3339_now(now)));
        if (more) {
                json_object_update(doc, more);
                json_decref(more);
        }
        return doc;
}

/* See the header. */
int files_reply_done(struct request *req, const char *path, const char *message, json_t *more)
{
        return request_reply_json(req, 200, files_done_document(path, message, more));
}

/* See the header. */
const char *files_time(char dst[32], int64_t ns)
{
        int64_t ms = ns < 0 ? 0 : ns / 1000000;

        return clock_rfc3339(dst, MIN(ms, LAST_SECOND * (int64_t)1000));
}

static const char *type_name(enum file_type type)
{
        switch (type) {
        case FILE_REGULAR:
                return "file";
        case FILE_DIRECTORY:
                return "directory";
        case FILE_LINK:
                return "symlink";
        case FILE_SPECIAL:
                break;
        }
        return "special";
}

/* See the header. What JSON cannot carry is there once more as a query would have it. */
int files_write_path(struct buf *b, const char *path)
{
        static const char plain[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
        int r;

        r = buf_append_str(b, "\"path\":");
        if (r == 0)
                r = json_write_string(b, path);
        if (r < 0 || utf8_is_valid(path, strlen(path)))
                return r;
        r = buf_append_str(b, ",\"path_encoded\":\"");
        for (; r == 0 && *path; path++)
                r = strchr(plain, *path) ? buf_append(b, path, 1)
                                         : buf_appendf(b, "%%%02X", (unsigned char)*path);
        return r < 0 ? r : buf_append_str(b, "\"");
}

/* See the header. */
int files_write_info(struct buf *b, const char *name, const char *path, const char *target,
                     const struct file_info *info)
{
        const char *is_directory = info->type == FILE_DIRECTORY ? "true" : "false";
        char permissions[FILE_PERMISSIONS_SIZE], modified[CLOCK_RFC3339_SIZE];
        int r;

        files_time(modified, info->modified_ns);
        r = buf_append_str(b, "\"name\":");
        if (r == 0)
                r = json_write_string(b, name);
        if (r == 0)
                r = buf_append_str(b, ",");
        if (r == 0)
                r = files_write_path(b, path);
        if (r == 0)
                r = buf_appendf(b,
                                ",\"size\":%llu,\"is_directory\":%s,\"is_dir\":%s,\"type\":\"%s\","
                                "\"modified_time\":\"%s\",\"modified\":\"%s\",\"mod_time\":\"%s\","
                                "\"permissions\":\"%s\",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u",
                                (unsigned long long)info->size, is_directory, is_directory,
                                type_name(info->type), modified, modified, modified,
                                file_permissions(info->mode, permissions),
                                (unsigned)info->mode & 07777, (unsigned)info->uid,
                                (unsigned)info->gid);
        if (r == 0 && info->type == FILE_LINK)
                r = json_write_member(b, "target", target);
        return r;
}

/* See the header. */
int files_parse_mode(const char *text, int *ret)
{
        int mode = 0;

        if (text[0] == '0' && text[1] == 'o')
                text += 2;
        if (!*text || strlen(text) > 5)
                return -EINVAL;
        for (; *text; text++) {
                if (*text < '0' || *text > '7')
                        return -EINVAL;
                mode = mode * 8 + (*text - '0');
        }
        if (mode > 07777)
                return -EINVAL;
        *ret = mode;
        return 0;
}

/* See the header. */
const char *files_base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash && slash[1] ? slash + 1 : path;
}
