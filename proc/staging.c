/* SPDX-License-Identifier: Apache-2.0 */

/* The work itself knows nothing of the loop, so that a worker can do it as well as we can. */

#include "proc/staging.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/json/base64.h"
#include "agent/loop/job.h"

static int open_base64(const struct json_text *text)
{
        CLEANUP(mem_free) char *bytes = NULL;
        size_t size;
        int r = base64_to_bytes(text->data, text->size, &bytes, &size);

        return r < 0 ? r : fd_memfd("stdin", bytes, size);
}

static int stage_input(struct staging *s)
{
        int r;

        if (s->input.size == 0)
                return 0;
        r = s->input_is_base64 ? open_base64(&s->input)
                               : fd_memfd("stdin", s->input.data, s->input.size);
        if (r == -EINVAL && s->input_is_base64)
                return error_set(&s->error, STAGING_E_INPUT, "not valid base64");
        if (r < 0)
                return error_set(&s->error, r, "stdin");
        s->input_fd = r;
        return 0;
}

static void stage(void *arg)
{
        struct staging *s = arg;
        struct credentials owner = { .uid = s->uid, .gid = s->gid };

        s->result = stage_input(s);
        if (s->result == 0 && s->code.data)
                s->result = script_new(s->language, s->code.data, s->code.size, s->script_root,
                                       s->script_name, s->driver_dir, &owner, s->cwd,
                                       s->may_be_rich, &s->script, &s->error);
}

static void on_staged(void *arg)
{
        struct staging *s = arg;

        s->done(s);
}

/* See the header. */
void staging_run(struct loop *l, struct staging *s)
{
        bool is_large = s->code.size + s->input.size > LIMIT_STAGING_INLINE;

        s->input_fd = -1;
        if (is_large && job_run(l, s, stage, on_staged) == 0)
                return;
        stage(s);
        s->done(s);
}

static void remove_script(void *arg)
{
        script_free(arg);
}

static void on_removed(void *arg)
{
        (void)arg;
}

/* See the header. */
void staging_done(struct loop *l, struct staging *s)
{
        s->input_fd = fd_close(s->input_fd);
        if (s->script && s->script_name)
                s->script = script_forget(s->script);
        if (!s->script)
                return;
        /* Usually there is the source alone. What else a program left there, perhaps a million files, is not
         * removed on the loop. */
        if (script_free_quickly(s->script) < 0 &&
            job_run(l, s->script, remove_script, on_removed) < 0)
                script_free(s->script);
        s->script = NULL;
}
