/* SPDX-License-Identifier: Apache-2.0 */

/* To most clients an error is no answer to this question, so what must not be seen, or cannot be there, does not exist:
 * the reason says why. */

#include "handlers/files/exists.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"

/* clang-format off */
const struct json_field files_exists_args[] = {
        F_STRING(struct files_path_args, path, .in = IN_QUERY, .required = true, .min = 1,
                 .bytes_ok = true, .doc = "A file or a directory; relative paths begin at the workspace"),
        F_END
};
/* clang-format on */

struct looking {
        struct files_task task;
        bool exists;
        bool is_directory;
};

static int work(struct files_task *t, struct error *err)
{
        struct looking *l = container_of(t, struct looking, task);
        int r = file_exists(t->roots, t->path, &l->exists, &l->is_directory, err);

        return r == 0 && !l->exists ? (int)FILES_E_NOT_FOUND : r;
}

static void reply(const struct looking *l, const char *reason)
{
        json_t *doc = json_pack("{s:b, s:o, s:b, s:b}", "exists", l->exists, "path",
                                files_json_string(l->task.path), "is_directory", l->is_directory,
                                "is_dir", l->is_directory);

        if (reason)
                json_object_set_new(doc, "reason", json_string(reason));
        (void)request_reply_json(l->task.request, 200, doc);
}

static void answer(struct files_task *t)
{
        reply(container_of(t, struct looking, task), NULL);
}

static void fail(struct files_task *t)
{
        struct looking *l = container_of(t, struct looking, task);

        l->exists = l->is_directory = false;
        switch (t->r) {
        case FILES_E_NOT_FOUND:
        case FILES_E_NO_DIRECTORY:
        case FILES_E_NOT_DIRECTORY:
                reply(l, NULL);
                break;
        case FILES_E_NOT_ALLOWED:
                reply(l, problem_code(PROBLEM_PATH_NOT_ALLOWED));
                break;
        case FILES_E_DENIED:
                reply(l, problem_code(PROBLEM_PERMISSION_DENIED));
                break;
        case FILES_E_TOO_LONG:
        case FILES_E_LOOP:
                reply(l, problem_code(PROBLEM_INVALID_PATH));
                break;
        default:
                files_task_fail(t);
        }
}

static void release(struct files_task *t)
{
        free(container_of(t, struct looking, task));
}

/* Answers GET /files/exists. */
int files_exists_get(struct request *req)
{
        const struct files_path_args *args = request_args(req);
        struct looking *l = xnew(struct looking);

        l->task = (struct files_task){ .work = work,
                                       .answer = answer,
                                       .fail = fail,
                                       .release = release,
                                       .retries_plus = true };
        return files_run(req, &l->task, args->path);
}
