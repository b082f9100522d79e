/* SPDX-License-Identifier: Apache-2.0 */

/* Most of what is removed is a file: that is tried first, and does not have to wait for those who empty directories. */

#include "handlers/files/remove.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/files/remove.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"

/* clang-format off */
const struct json_field files_remove_args[] = {
        F_STRING(struct files_remove_args, path, .in = IN_QUERY, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "A file, a link or a directory; relative paths begin at the workspace"),
        F_BOOL  (struct files_remove_args, recursive, .in = IN_QUERY, .def = true,
                 .doc = "A directory with all that is in it; otherwise it has to be empty"),
        F_END
};
/* clang-format on */

struct removal {
        struct files_task task;
        struct file_remove_options options;
        bool is_recursive;
        uint64_t n;
};

static int work(struct files_task *t, struct error *err)
{
        struct removal *r = container_of(t, struct removal, task);

        return file_remove(t->roots, t->path, &r->options, &r->n, err);
}

static void answer(struct files_task *t)
{
        struct removal *r = container_of(t, struct removal, task);

        (void)files_reply_done(t->request, t->path, "Removed successfully",
                               json_pack("{s:I}", "removed", (json_int_t)r->n));
}

static void fail(struct files_task *t)
{
        struct removal *r = container_of(t, struct removal, task);

        if (t->r != FILES_E_NOT_EMPTY || !r->is_recursive || r->options.is_recursive) {
                files_task_fail(t);
                return;
        }
        r->options.is_recursive = true;
        t->err = (struct error)ERROR_INIT;
        t->is_long = true;
        files_task_again(t);
}

static void release(struct files_task *t)
{
        free(container_of(t, struct removal, task));
}

/* Answers DELETE /files/remove. */
int files_remove_delete(struct request *req)
{
        const struct files_remove_args *args = request_args(req);
        struct removal *r = xnew(struct removal);

        r->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release
        };
        r->is_recursive = args->recursive;
        r->options.cancel = &r->task.is_cancelled;
        r->options.ret_failed = &r->task.error_entry;
        return files_run(req, &r->task, args->path);
}
