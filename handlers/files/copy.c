/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/info.h"
#include "agent/files/outcome.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"

#define SMALL (16 * MIB)

/* clang-format off */
const struct json_field files_copy_args[] = {
        F_STRING(struct files_copy_args, from, .alias = "source", .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "The file or directory; relative paths begin at the workspace"),
        F_STRING(struct files_copy_args, to, .alias = "destination", .required = true, .min = 1,
                 .max = LIMIT_FILE_PATH, .doc = "The very place where it will be, not the directory that it is put in"),
        F_BOOL  (struct files_copy_args, overwrite, .doc = "May a file, or an empty directory, be replaced?"),
        F_BOOL  (struct files_copy_args, parents, .def = true, .doc = "Make missing directories above the new place"),
        F_END
};
/* clang-format on */

struct transfer {
        struct files_task task;
        const char *to; /* of the body */
        int (*operation)(const struct roots *roots, const char *from, const char *to,
                         const struct file_copy_options *o, struct file_copied *ret,
                         struct error *err);
        const char *message;
        struct file_copy_options options;
        struct file_copied copied;
        bool is_put_off; /* it will take long, and this is not the time for it */
};

/* A file cannot be called "name/". Who says so wants it in that directory, which is not there. */
static int check_slash(const struct transfer *c, const struct file_info *from, struct error *err)
{
        size_t size = strlen(c->to);
        bool exists = false, is_directory;

        if (from->type == FILE_DIRECTORY || c->to[size - 1] != '/' ||
            file_exists(c->task.roots, c->to, &exists, &is_directory, &(struct error)ERROR_INIT) !=
                    0 ||
            exists)
                return 0; /* or the operation says what is wrong */
        return files_fail_saying(
                err, FILES_E_NOT_DIRECTORY,
                "There is no such directory, and the name of a file cannot end with a slash",
                c->to);
}

/* A small file does not have to wait for those who copy large trees. What is wrong with a path the operation says. */
static int work(struct files_task *t, struct error *err)
{
        struct transfer *c = container_of(t, struct transfer, task);
        struct file_info from;
        int r = 0;

        if (file_info(t->roots, t->path, true, &from, NULL, NULL, &(struct error)ERROR_INIT) == 0) {
                bool is_small = from.type != FILE_DIRECTORY && from.size <= SMALL;

                c->is_put_off = !t->is_long && !is_small;
                r = check_slash(c, &from, err);
        }
        if (r != 0 || c->is_put_off)
                return r;
        return c->operation(t->roots, t->path, c->to, &c->options, &c->copied, err);
}

static void answer(struct files_task *t)
{
        struct transfer *c = container_of(t, struct transfer, task);
        json_t *more;

        if (c->is_put_off) {
                t->is_long = true;
                c->is_put_off = false;
                files_task_again(t);
                return;
        }
        more = json_pack("{s:o, s:o}", "from", files_json_string(t->path), "to",
                         files_json_string(c->to));
        if (!c->copied.is_renamed) {
                json_object_set_new(more, "entries", json_integer((json_int_t)c->copied.n_entries));
                json_object_set_new(more, "skipped", json_integer((json_int_t)c->copied.n_skipped));
                json_object_set_new(more, "size", json_integer((json_int_t)c->copied.size));
        }
        (void)files_reply_done(t->request, c->to, c->message, more);
}

/* Is the path itself at fault, not what is there? */
static bool is_about_path(int r)
{
        switch (r) {
        case FILES_E_IS_DIRECTORY:
        case FILES_E_NOT_DIRECTORY:
        case FILES_E_SPECIAL:
        case FILES_E_TOO_LONG:
        case FILES_E_INVALID:
        case FILES_E_LOOP:
                return true;
        default:
                return false;
        }
}

static void fail(struct files_task *t)
{
        struct transfer *c = container_of(t, struct transfer, task);

        /* Only the new place needs directories; the other one's entry is none of the two paths. */
        if (t->r == FILES_E_NO_DIRECTORY)
                t->error_path = c->to;
        else if (!t->err.field[0] && !t->error_entry)
                files_blame_second(t, c->to);
        if (!t->err.field[0] && !t->error_path && is_about_path(t->r))
                (void)snprintf(t->err.field, sizeof(t->err.field), "/from");
        files_task_fail(t);
}

static void release(struct files_task *t)
{
        free(container_of(t, struct transfer, task));
}

/* See the header. */
int files_transfer(struct request *req,
                   int (*operation)(const struct roots *roots, const char *from, const char *to,
                                    const struct file_copy_options *o, struct file_copied *ret,
                                    struct error *err),
                   const char *message)
{
        const struct files_copy_args *args = request_args(req);
        struct transfer *c = xnew(struct transfer);

        c->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release
        };
        c->to = args->to;
        c->operation = operation;
        c->message = message;
        c->options = (struct file_copy_options){ .overwrite = args->overwrite,
                                                 .make_parents = args->parents,
                                                 .cancel = &c->task.is_cancelled,
                                                 .ret_failed = &c->task.error_entry };
        return files_run(req, &c->task, args->from);
}

/* Answers POST /files/copy. */
int files_copy_post(struct request *req)
{
        return files_transfer(req, file_copy, "Copied successfully");
}
