/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/files/stat.h"

#include <limits.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "agent/json/write.h"
#include "handlers/files/common.h"

/* clang-format off */
const struct json_field files_stat_args[] = {
        F_STRING(struct files_stat_args, path, .in = IN_QUERY, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .bytes_ok = true, .doc = "A file or a directory; relative paths begin at the workspace"),
        F_BOOL  (struct files_stat_args, follow, .in = IN_QUERY, .def = true,
                 .doc = "Of a link: what it leads to, not the link itself"),
        F_END
};
/* clang-format on */

struct inspection {
        struct files_task task;
        bool follow;
        struct file_info info;
        char real_path[PATH_MAX];
        char target[PATH_MAX];
};

static int work(struct files_task *t, struct error *err)
{
        struct inspection *i = container_of(t, struct inspection, task);

        return file_info(t->roots, t->path, i->follow, &i->info, i->real_path, i->target, err);
}

static int write_times(struct buf *b, const struct file_info *info)
{
        char accessed[32], changed[32], created[32];
        int r;

        r = buf_appendf(b,
                        ",\"accessed_time\":\"%s\",\"changed_time\":\"%s\",\"modified_ns\":%lld,"
                        "\"created_time\":",
                        files_time(accessed, info->accessed_ns),
                        files_time(changed, info->changed_ns), (long long)info->modified_ns);
        if (r == 0 && info->created_ns == 0)
                return buf_append_str(b, "null");
        return r < 0 ? r : buf_appendf(b, "\"%s\"", files_time(created, info->created_ns));
}

static int write_all(struct buf *b, const struct inspection *i)
{
        const struct file_info *info = &i->info;
        int r;

        r = buf_append_str(b, "{");
        if (r == 0)
                r = files_write_info(b, files_base_name(i->real_path), i->task.path, i->target,
                                     info);
        if (r == 0)
                r = json_write_member(b, "real_path", i->real_path);
        if (r == 0)
                r = buf_appendf(b, ",\"links\":%llu,\"inode\":%llu,\"device\":%llu,\"used\":%llu",
                                (unsigned long long)info->n_links, (unsigned long long)info->inode,
                                (unsigned long long)info->device, (unsigned long long)info->used);
        if (r == 0)
                r = write_times(b, info);
        return r < 0 ? r : buf_append_str(b, "}");
}

static void answer(struct files_task *t)
{
        CLEANUP(buf_done) struct buf b = { .max = 0 };

        if (write_all(&b, container_of(t, struct inspection, task)) < 0)
                (void)request_fail(t->request, PROBLEM_UNAVAILABLE, "there is not enough memory");
        else
                (void)request_reply_bytes(t->request, 200, "application/json", b.data, b.size);
}

static void release(struct files_task *t)
{
        free(container_of(t, struct inspection, task));
}

/* Answers GET /files/stat. */
int files_stat_get(struct request *req)
{
        const struct files_stat_args *args = request_args(req);
        struct inspection *i = xnew(struct inspection);

        i->task = (struct files_task){
                .work = work, .answer = answer, .release = release, .retries_plus = true
        };
        i->follow = args->follow;
        return files_run(req, &i->task, args->path);
}
