/* SPDX-License-Identifier: Apache-2.0 */

/* First all files are written under temporary names: whatever is wrong with a path, or with the disk, is found out
 * before anything has changed. Then they get their names, one after the other. Should one of them not get its name all
 * the same, those before it are put back: what they replaced is still there, because it was kept open. Directories that
 * were made for nothing go, too. Only an agent that is killed between two names leaves a part of a batch; each of the
 * files is whole even then. */

#include "handlers/files/batch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/files/info.h"
#include "agent/files/outcome.h"
#include "agent/files/read.h"
#include "agent/files/remove.h"
#include "agent/files/write.h"
#include "agent/http/request.h"
#include "agent/json/decode.h"
#include "handlers/files/common.h"
#include "handlers/files/write.h"

#define LOG_MODULE "files"
#include "agent/base/log.h"

/* clang-format off */
const struct json_field files_batch_args[] = {
        F_BOOL(struct files_batch_args, sync, .doc = "Answer when all contents are on the disk"),
        F_END
};
/* clang-format on */

struct item {
        struct files_write_args args; /* borrowed from the body */
        struct file_write_options options;
        struct file_writer *writer; /* NULL: has its name, or is not begun */
        int old;                    /* what it replaces; -1: nothing */
        size_t n_made;              /* directories above it that were missing */
        struct file_written written;
};

struct batch {
        struct files_task task;
        struct item *items;
        size_t n;
        size_t failed; /* which one has */
};

/* --- on the worker --- */

/* With the content that @old is open for. */
static int restore(const struct roots *roots, const struct item *i, struct error *err)
{
        struct file_write_options options = { .mode = FILE_MODE_KEEP, .overwrite = true };
        CLEANUP(file_writer_abort) struct file_writer *w = NULL;
        CLEANUP(mem_free) char *block = xcalloc(1, MIB);
        struct stat st;
        ssize_t n;
        int r;

        if (fstat(i->old, &st) == 0)
                options.mode = (int)(st.st_mode & 07777);
        r = file_writer_open(roots, i->args.path, &options, &w, err);
        for (off_t at = 0; r == 0 && (n = pread(i->old, block, MIB, at)) != 0; at += n) {
                if (n < 0)
                        return files_fail_errno(err, -errno, i->args.path);
                r = file_writer_write(w, block, (size_t)n, err);
        }
        return r != 0 ? r : file_writer_commit(STEAL(w), NULL, err);
}

/* A link that led to nothing has made the file elsewhere: the link was there before, so it stays. */
static int remove_new(const struct roots *roots, const struct item *i, struct error *err)
{
        const struct file_remove_options options = { .is_recursive = false };
        struct file_info info;
        char path[PATH_MAX];
        int r = file_info(roots, i->args.path, true, &info, path, NULL, err);

        return r != 0 ? r : file_remove(roots, path, &options, NULL, err);
}

static void roll_back(struct batch *b, size_t n_committed)
{
        for (size_t i = n_committed; i-- > 0;) {
                struct item *item = &b->items[i];
                struct error err = ERROR_INIT;
                int r;

                if (item->old >= 0)
                        r = restore(b->task.roots, item, &err);
                else
                        r = remove_new(b->task.roots, item, &err);
                if (r != 0)
                        log_error("a file of a batch could not be put back", "error=%s",
                                  log_quote(err.message));
        }
}

/* Takes the last name off @path. False: it was the last one. */
static bool cut(char *path)
{
        char *slash;

        while ((slash = strrchr(path, '/')) && slash != path) {
                bool is_name = slash[1] != '\0'; /* else it is one of several slashes */

                *slash = '\0';
                if (is_name)
                        return true;
        }
        return false;
}

/* How many directories above the file will be made? A name that another request makes at the same time counts as
 * well. */
static void count_missing(const struct batch *b, struct item *i)
{
        CLEANUP(mem_free) char *head = xstrdup(i->args.path);

        while (cut(head)) {
                struct error ignored = ERROR_INIT;
                bool exists = true, is_directory;

                if (file_exists(b->task.roots, head, &exists, &is_directory, &ignored) != 0 ||
                    exists)
                        return;
                i->n_made++;
        }
}

/* Those that are empty. */
static void remove_made(const struct batch *b)
{
        const struct file_remove_options options = { .is_recursive = false };

        for (size_t i = b->n; i-- > 0;) {
                CLEANUP(mem_free) char *head = xstrdup(b->items[i].args.path);

                for (size_t n = 0; n < b->items[i].n_made && cut(head); n++)
                        (void)file_remove(b->task.roots, head, &options, NULL,
                                          &(struct error)ERROR_INIT); /* it may be in use */
        }
}

/* A file that is not there has nothing to be kept. One that may be written to, but not read, could not be put back. */
static int keep_old(struct batch *b, struct item *i, struct error *err)
{
        struct file_info info;
        int r = file_open(b->task.roots, i->args.path, &i->old, &info, err);

        return r == FILES_E_NOT_FOUND ? 0 : r;
}

/* Is @i, which has been opened, one of those before it? */
static int check_repeated(const struct batch *b, const struct item *i, struct error *err)
{
        for (const struct item *other = b->items; other < i; other++)
                if (file_writer_is_same(other->writer, i->writer))
                        return error_set_field(err, -EINVAL, "/path",
                                               "path: is the same file as that of files[%zu]",
                                               (size_t)(other - b->items));
        return 0;
}

static int prepare(struct batch *b, struct item *i, struct error *err)
{
        CLEANUP(mem_free) char *owned = NULL;
        const char *data = NULL;
        size_t size = 0;
        int r;

        r = files_write_check_path(i->args.path, err);
        if (r == 0)
                r = files_write_content(&i->args, &data, &size, &owned, err);
        if (r == 0 && i->options.make_parents)
                count_missing(b, i);
        if (r == 0)
                r = file_writer_open(b->task.roots, i->args.path, &i->options, &i->writer, err);
        if (r == 0)
                r = check_repeated(b, i, err);
        if (r == 0)
                r = file_writer_write(i->writer, data, size, err);
        return r != 0 ? r : keep_old(b, i, err);
}

static int prepare_all(struct batch *b, struct error *err)
{
        for (b->failed = 0; b->failed < b->n; b->failed++) {
                int r = FILES_E_CANCELLED;

                if (!atomic_load(&b->task.is_cancelled))
                        r = prepare(b, &b->items[b->failed], err);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int commit_all(struct batch *b, struct error *err)
{
        for (b->failed = 0; b->failed < b->n; b->failed++) {
                struct item *i = &b->items[b->failed];
                int r = file_writer_commit(STEAL(i->writer), &i->written, err);

                if (r != 0) {
                        roll_back(b, b->failed);
                        return r;
                }
        }
        return 0;
}

/* Here, and not when the task is freed: to unlink, and to close what has no name any more, can take long. */
static void close_all(struct batch *b)
{
        for (size_t i = 0; i < b->n; i++) {
                b->items[i].writer = file_writer_abort(b->items[i].writer);
                b->items[i].old = fd_close(b->items[i].old);
        }
}

static int work(struct files_task *t, struct error *err)
{
        struct batch *b = container_of(t, struct batch, task);
        int r = prepare_all(b, err);

        if (r == 0)
                r = commit_all(b, err);
        close_all(b);
        if (r != 0)
                remove_made(b);
        return r;
}

/* --- on the loop --- */

static void answer(struct files_task *t)
{
        struct batch *b = container_of(t, struct batch, task);
        json_t *files = json_array();
        uint64_t size = 0;

        for (size_t i = 0; i < b->n; i++) {
                const struct item *item = &b->items[i];

                json_array_append_new(files, json_pack("{s:o, s:I, s:b}", "path",
                                                       files_json_string(item->args.path), "size",
                                                       (json_int_t)item->written.size, "created",
                                                       item->written.is_created));
                size += item->written.size;
        }
        (void)files_reply_done(t->request, t->path, "All files written successfully",
                               json_pack("{s:o, s:I, s:I}", "files", files, "count",
                                         (json_int_t)b->n, "size", (json_int_t)size));
}

static void blame(struct error *err, size_t index, const char *field)
{
        char text[sizeof(err->field)];

        (void)snprintf(text, sizeof(text), "/files/%zu%.64s", index, field);
        memcpy(err->field, text, sizeof(text));
}

static void fail(struct files_task *t)
{
        struct batch *b = container_of(t, struct batch, task);
        bool is_input = t->r == -EINVAL && t->err.field[0];
        char field[sizeof(t->err.field)];

        memcpy(field, t->err.field, sizeof(field));
        blame(&t->err, b->failed, field[0] ? field : "/path");
        t->error_path = b->items[MIN(b->failed, b->n - 1)].args.path;
        if (is_input)
                (void)files_fail_problem(t->request, PROBLEM_INVALID_REQUEST, t->err.field,
                                         t->error_path, "%s", t->err.message);
        else
                files_task_fail(t);
}

static void batch_free(struct batch *b)
{
        free(b->items);
        free(b);
}

static void release(struct files_task *t)
{
        batch_free(container_of(t, struct batch, task));
}

/* --- the request --- */

static bool lookup_nothing(void *arg, enum field_in in, const char *name, const char **ret,
                           size_t *ret_size)
{
        (void)arg;
        (void)in;
        (void)name;
        (void)ret;
        (void)ret_size;
        return false;
}

static int parse_item(struct batch *b, size_t index, json_t *body, bool sync, struct error *err)
{
        struct json_source source = { .body = body, .lookup = lookup_nothing };
        struct item *i = &b->items[index];
        int r;

        if (!json_is_object(body))
                return error_set_field(err, -EINVAL, "", "expected an object");
        r = json_decode(files_write_args, &source, &i->args, sizeof(i->args), err);
        if (r < 0)
                return r;
        if (i->args.append)
                return error_set_field(err, -EINVAL, "/append", "append: is not for a batch");
        r = files_write_options(&i->args, &i->options, err);
        i->options.is_synced = i->args.sync || sync;
        return r;
}

static int parse(struct batch *b, const json_t *files, bool sync, size_t *ret_index,
                 struct error *err)
{
        size_t n = json_array_size(files);
        int r;

        b->items = xcalloc(n, sizeof(*b->items));
        for (*ret_index = 0; *ret_index < n; (*ret_index)++) {
                b->items[b->n++].old = -1;
                r = parse_item(b, *ret_index, json_array_get(files, *ret_index), sync, err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Answers POST /files/batch. */
int files_batch_post(struct request *req)
{
        const struct files_batch_args *args = request_args(req);
        const json_t *files = json_object_get(request_body(req), "files");
        struct error err = ERROR_INIT;
        char field[sizeof(err.field)];
        struct batch *b;
        size_t index;
        int r;

        if (!files || json_is_null(files))
                return request_fail_field(req, PROBLEM_MISSING_PARAMETER, "/files",
                                          "files: is required");
        if (!json_is_array(files) || json_array_size(files) == 0 ||
            json_array_size(files) > LIMIT_FILE_BATCH)
                return request_fail_field(req, PROBLEM_INVALID_REQUEST, "/files",
                                          "files: expected an array of 1 to %d objects",
                                          LIMIT_FILE_BATCH);
        b = xnew(struct batch);
        r = parse(b, files, args->sync, &index, &err);
        if (r < 0) {
                memcpy(field, err.field, sizeof(field));
                blame(&err, index, field);
                batch_free(b);
                return request_fail_field(
                        req, r == -ENOKEY ? PROBLEM_MISSING_PARAMETER : PROBLEM_INVALID_REQUEST,
                        err.field, "files[%zu]: %s", index, err.message);
        }
        b->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release, .is_long = true
        };
        return files_run(req, &b->task, b->items[0].args.path);
}
