/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/mkdir.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/directory.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"

/* clang-format off */
const struct json_field files_mkdir_args[] = {
        F_STRING(struct files_mkdir_args, path, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "The directory; relative paths begin at the workspace"),
        F_STRING(struct files_mkdir_args, mode, .max = 8, .doc = "Its permissions, octal digits; by default 0755"),
        F_BOOL  (struct files_mkdir_args, parents, .def = true, .doc = "Make missing directories above it, too"),
        F_END
};
/* clang-format on */

struct making {
        struct files_task task;
        int mode;
        bool parents;
        bool is_created;
};

static int work(struct files_task *t, struct error *err)
{
        struct making *m = container_of(t, struct making, task);

        return directory_make(t->roots, t->path, m->mode, m->parents, &m->is_created, err);
}

static void answer(struct files_task *t)
{
        struct making *m = container_of(t, struct making, task);

        (void)files_reply_done(t->request, t->path,
                               m->is_created ? "Directory created successfully"
                                             : "Directory exists already",
                               json_pack("{s:b}", "created", m->is_created));
}

static void release(struct files_task *t)
{
        free(container_of(t, struct making, task));
}

/* Answers POST /files/mkdir. */
int files_mkdir_post(struct request *req)
{
        const struct files_mkdir_args *args = request_args(req);
        int mode = DIRECTORY_MODE_DEFAULT;
        struct making *m;

        if (args->mode && args->mode[0] && files_parse_mode(args->mode, &mode) < 0)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/mode", args->path,
                                          "mode: expected octal digits such as 0755");
        m = xnew(struct making);
        m->task = (struct files_task){ .work = work, .answer = answer, .release = release };
        m->mode = mode;
        m->parents = args->parents;
        return files_run(req, &m->task, args->path);
}
