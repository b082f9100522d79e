/* SPDX-License-Identifier: Apache-2.0 */

/* Names are looked up by the worker: that may ask a directory service. */

#include "handlers/files/chmod.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/files/change.h"
#include "agent/files/info.h"
#include "agent/http/request.h"
#include "handlers/files/common.h"

/* clang-format off */
const struct json_field files_chmod_args[] = {
        F_STRING(struct files_chmod_args, path, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "A file or a directory; relative paths begin at the workspace"),
        F_STRING(struct files_chmod_args, mode, .max = LIMIT_FILE_MODE,
                 .doc = "Permissions: octal digits such as 0644, or changes such as u+rwX,go-w"),
        F_STRING(struct files_chmod_args, owner, .max = 64, .doc = "User, by name or number"),
        F_STRING(struct files_chmod_args, group, .max = 64, .doc = "Group, by name or number"),
        F_BOOL  (struct files_chmod_args, recursive, .doc = "A directory with all that is in it; links are not followed"),
        F_END
};
/* clang-format on */

struct change {
        struct files_task task;
        const struct files_chmod_args *args;
        struct file_change what;
        uint64_t n;
        struct file_info info;
};

static bool parse_id(const char *text, uint32_t *ret)
{
        uint64_t n;

        if (str_parse_u64(text, &n) < 0 || n >= UINT32_MAX)
                return false;
        *ret = (uint32_t)n;
        return true;
}

/* -EINVAL: there is no such user. */
static int find_user(const char *name, uid_t *ret, struct error *err)
{
        CLEANUP(mem_free) char *memory = xcalloc(1, LIMIT_FILE_ID_RECORD);
        struct passwd entry, *found = NULL;

        if (parse_id(name, ret))
                return 0;
        if (getpwnam_r(name, &entry, memory, LIMIT_FILE_ID_RECORD, &found) != 0 || !found)
                return error_set_field(err, -EINVAL, "/owner", "owner: there is no such user");
        *ret = found->pw_uid;
        return 0;
}

static int find_group(const char *name, gid_t *ret, struct error *err)
{
        CLEANUP(mem_free) char *memory = xcalloc(1, LIMIT_FILE_ID_RECORD);
        struct group entry, *found = NULL;

        if (parse_id(name, ret))
                return 0;
        if (getgrnam_r(name, &entry, memory, LIMIT_FILE_ID_RECORD, &found) != 0 || !found)
                return error_set_field(err, -EINVAL, "/group", "group: there is no such group");
        *ret = found->gr_gid;
        return 0;
}

static int work(struct files_task *t, struct error *err)
{
        struct change *c = container_of(t, struct change, task);
        int r = 0;

        if (c->args->owner && c->args->owner[0])
                r = find_user(c->args->owner, &c->what.uid, err);
        if (r == 0 && c->args->group && c->args->group[0])
                r = find_group(c->args->group, &c->what.gid, err);
        if (r == 0)
                r = file_change(t->roots, t->path, &c->what, &c->n, err);
        if (r == 0)
                r = file_info(t->roots, t->path, true, &c->info, NULL, NULL, err);
        return r;
}

static void answer(struct files_task *t)
{
        struct change *c = container_of(t, struct change, task);
        char permissions[FILE_PERMISSIONS_SIZE];
        char mode[8];

        (void)snprintf(mode, sizeof(mode), "%04o", (unsigned)c->info.mode & 07777);
        (void)files_reply_done(t->request, t->path, "Changed successfully",
                               json_pack("{s:s, s:s, s:I, s:I, s:I}", "mode", mode, "permissions",
                                         file_permissions(c->info.mode, permissions), "uid",
                                         (json_int_t)c->info.uid, "gid", (json_int_t)c->info.gid,
                                         "changed", (json_int_t)c->n));
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
        free(container_of(t, struct change, task));
}

/* -EINVAL: it is neither digits nor letters. */
static int parse_mode(const char *text, struct file_change *ret)
{
        mode_t ignored;
        int mode;

        if (files_parse_mode(text, &mode) == 0) {
                ret->has_mode = true;
                ret->mode = (mode_t)mode;
                return 0;
        }
        ret->symbols = text;
        return file_mode_apply(text, 0, false, &ignored);
}

/* Answers POST /files/chmod. */
int files_chmod_post(struct request *req)
{
        const struct files_chmod_args *args = request_args(req);
        struct file_change what = { .uid = (uid_t)-1, .gid = (gid_t)-1 };
        bool has_mode = args->mode && args->mode[0];
        struct change *c;

        if (has_mode && parse_mode(args->mode, &what) < 0)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/mode", args->path,
                                          "mode: expected octal digits such as 0644, or changes "
                                          "such as u+rwX,go-w");
        if (!has_mode && (!args->owner || !args->owner[0]) && (!args->group || !args->group[0]))
                return files_fail_problem(req, PROBLEM_MISSING_PARAMETER, "/mode", args->path,
                                          "mode, owner or group is required");
        c = xnew(struct change);
        c->task = (struct files_task){ .work = work,
                                       .answer = answer,
                                       .fail = fail,
                                       .release = release,
                                       .is_long = args->recursive };
        c->args = args;
        c->what = what;
        c->what.is_recursive = args->recursive;
        c->what.cancel = &c->task.is_cancelled;
        return files_run(req, &c->task, args->path);
}
