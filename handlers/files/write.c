/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/http/request.h"
#include "agent/json/base64.h"
#include "handlers/files/common.h"

#define MAX_APPEND_TRIES 5 /* a file that others make and remove all the time */

static const struct enum_name encoding_names[] = {
        { "utf-8", FILES_TEXT }, { "utf8", FILES_TEXT },     { "text", FILES_TEXT },
        { "", FILES_TEXT },      { "base64", FILES_BASE64 }, { NULL, 0 },
};

/* clang-format off */
const struct json_field files_write_args[] = {
        F_STRING(struct files_write_args, path, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "The file; relative paths begin at the workspace"),
        F_TEXT  (struct files_write_args, content, .required = true, .doc = "What it will contain; may be empty"),
        F_STRING(struct files_write_args, mode, .max = 8,
                 .doc = "Permissions, octal digits; by default those of the file that is replaced, else 0644"),
        F_ENUM  (struct files_write_args, encoding, .names = encoding_names, .def = FILES_TEXT,
                 .doc = "Of content: utf-8, or base64 for bytes"),
        F_BOOL  (struct files_write_args, overwrite, .def = true, .doc = "May there be a file already?"),
        F_BOOL  (struct files_write_args, append, .doc = "Add to the end of the file"),
        F_BOOL  (struct files_write_args, sync, .doc = "Answer when the content is on the disk"),
        F_BOOL  (struct files_write_args, parents, .def = true, .doc = "Make missing directories"),
        F_END
};
/* clang-format on */

struct writing {
        struct files_task task;
        const struct files_write_args *args;
        struct file_write_options options;
        struct file_written written;
};

/* See the header. */
int files_write_options(const struct files_write_args *args, struct file_write_options *ret,
                        struct error *err)
{
        *ret = (struct file_write_options){
                .mode = FILE_MODE_KEEP,
                .overwrite = args->overwrite,
                .make_parents = args->parents,
                .is_synced = args->sync,
                .append = args->append,
        };
        if (args->mode && args->mode[0] && files_parse_mode(args->mode, &ret->mode) < 0)
                return error_set_field(err, -EINVAL, "/mode",
                                       "mode: expected octal digits such as 0644");
        if (args->append && !args->overwrite)
                return error_set_field(err, -EINVAL, "/append",
                                       "append: needs overwrite, for it changes the file");
        return 0;
}

/* See the header. */
int files_write_check_path(const char *path, struct error *err)
{
        const char *slash = strrchr(path, '/');

        if (!slash || slash[1])
                return 0;
        return files_fail_saying(err, FILES_E_IS_DIRECTORY,
                                 "The name of a file cannot end with a slash", path);
}

/* See the header. */
int files_write_content(const struct files_write_args *args, const char **ret, size_t *ret_size,
                        char **ret_owned, struct error *err)
{
        size_t size;
        char *data;
        int r;

        if (args->encoding == FILES_TEXT) {
                *ret = args->content.data;
                *ret_size = args->content.size;
                *ret_owned = NULL;
                return 0;
        }
        r = base64_to_bytes(args->content.data, args->content.size, &data, &size);
        if (r == -EINVAL)
                return error_set_field(err, r, "/content", "content: is not valid base64");
        if (r < 0)
                return error_set(err, r, "content");
        *ret = *ret_owned = data;
        *ret_size = size;
        return 0;
}

static int work(struct files_task *t, struct error *err)
{
        struct writing *w = container_of(t, struct writing, task);
        CLEANUP(mem_free) char *owned = NULL;
        const char *data = NULL;
        size_t size = 0;
        int r;

        r = files_write_check_path(t->path, err);
        if (r == 0)
                r = files_write_content(w->args, &data, &size, &owned, err);
        if (r != 0)
                return r;
        /* Two can begin to append to a file that is not there: it exists for the slower one then, which tries again. */
        for (unsigned i = 0; i < MAX_APPEND_TRIES; i++) {
                r = file_write(t->roots, t->path, data, size, &w->options, &w->written, err);
                if (r != FILES_E_EXISTS || !w->options.append)
                        break;
        }
        return r;
}

static void answer(struct files_task *t)
{
        struct writing *w = container_of(t, struct writing, task);

        (void)files_reply_done(t->request, t->path, "File written successfully",
                               json_pack("{s:I, s:b}", "size", (json_int_t)w->written.size,
                                         "created", w->written.is_created));
}

static void fail(struct files_task *t)
{
        if (t->r == -EINVAL && t->err.field[0])
                (void)files_fail_problem(t->request, PROBLEM_INVALID_REQUEST, t->err.field, t->path,
                                         "%s", t->err.message);
        else
                files_task_fail(t);
}

static void release(struct files_task *t)
{
        free(container_of(t, struct writing, task));
}

/* Answers POST /files/write. */
int files_write_post(struct request *req)
{
        const struct files_write_args *args = request_args(req);
        struct file_write_options options;
        struct error err = ERROR_INIT;
        struct writing *w;

        if (files_write_options(args, &options, &err) < 0)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, err.field, args->path, "%s",
                                          err.message);
        w = xnew(struct writing);
        w->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release
        };
        w->args = args;
        w->options = options;
        return files_run(req, &w->task, args->path);
}
