/* SPDX-License-Identifier: Apache-2.0 */

/* What a waiting process is told: proc/driver_protocol.h. */

#include <errno.h>
#include <string.h>

#include "proc/driver_protocol.h"
#include "proc/tree.h"
#include "proc/warm_private.h"

/* The variables that every execution gets besides its environment. */
#define MARKERS_SIZE (sizeof(TREE_MARKER) + sizeof(TREE_INSTANCE) + 2 * (1 + ID_SIZE))

/* See the header. */
size_t warm_job_size(const char *cwd, const char *script, char *const *envp)
{
        size_t size = sizeof(uint32_t) + strlen(cwd) + 1 + strlen(script) + 1 + sizeof("pipe") +
                      MARKERS_SIZE;

        for (; *envp; envp++)
                size += strlen(*envp) + 1;
        return size;
}

static int append(struct buf *b, const char *s)
{
        return buf_append(b, s, strlen(s) + 1);
}

/* See the header. */
int warm_job_build(const char *cwd, const char *script, bool has_input, char *const *envp,
                   struct buf *ret)
{
        uint32_t size = 0;
        int r;

        buf_init(ret, DRIVER_JOB_MAX);
        r = buf_append(ret, &size, sizeof(size));
        if (r == 0)
                r = append(ret, cwd);
        if (r == 0)
                r = append(ret, script);
        if (r == 0)
                r = append(ret, has_input ? "pipe" : "null");
        for (; r == 0 && *envp; envp++)
                r = append(ret, *envp);
        if (r < 0) {
                buf_done(ret);
                return r;
        }
        size = (uint32_t)(ret->size - sizeof(size));
        memcpy(ret->data, &size, sizeof(size));
        return 0;
}
