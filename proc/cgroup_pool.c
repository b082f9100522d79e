/* SPDX-License-Identifier: Apache-2.0 */

/* Leaves that are used again. Making and removing a directory is cheap by itself, but the kernel frees a removed
 * cgroup in the background, on all processors; with many short executions that took a third of the machine. So an
 * empty leaf is kept for the next execution.
 *
 * What the last one may have left behind must not reach the next:
 *  - accounting: processor time and bytes are counted from where they stood; the peaks of memory and of tasks
 *    cannot be, so with the controllers that tell these leaves are not kept;
 *  - limits: a leaf with limits is not kept;
 *  - cgroup.kill: the kernel counts kills, and some versions compare the wrong counters for a child that is born
 *    in another cgroup than its parent's, which is then killed at once. So a killed leaf is not kept;
 *  - cgroups of its own below, or a frozen leaf (a child born there would never reach exec, with the agent waiting
 *    for it): looked for, and undone, before the leaf is taken again. */

#include <errno.h>
#include <sys/stat.h>

#include "agent/base/fd.h"
#include "agent/base/macros.h"
#include "proc/cgroup.h"
#include "proc/cgroup_file.h"

static bool has_limits(const struct cgroup_limits *limits)
{
        return limits->max_memory > 0 || limits->max_tasks > 0;
}

/* See the header. */
void cgroup_leaf_restart(struct cgroup_leaf *leaf)
{
        struct cgroup_usage usage;

        leaf->before = (struct cgroup_usage){ 0 };
        cgroup_leaf_usage(leaf, &usage);
        leaf->before = usage;
}

/* True when nothing of the last user is left in it. */
static bool make_pristine(struct cgroup_leaf *leaf)
{
        struct stat st;

        if (fstat(leaf->fd, &st) < 0 || st.st_nlink != 2)
                return false;
        if (cgroup_file_write(leaf->fd, "cgroup.freeze", "0") < 0)
                return false;
        cgroup_leaf_restart(leaf);
        return true;
}

/* See the header. */
int cgroup_leaf_take(struct cgroup_leaf *leaf, struct cgroup *c, const char *name,
                     const struct cgroup_limits *limits, struct error *err)
{
        struct cgroup_pool *pool = cgroup_pool(c);

        while (pool->n > 0 && !has_limits(limits)) {
                *leaf = pool->leaves[--pool->n];
                if (make_pristine(leaf))
                        return 0;
                (void)cgroup_leaf_remove(leaf);
                leaf->fd = fd_close(leaf->fd);
        }
        return cgroup_leaf_init(leaf, c, name, limits, err);
}

/* See the header. */
int cgroup_leaf_give_back(struct cgroup_leaf *leaf)
{
        struct cgroup_pool *pool;

        if (leaf->fd < 0)
                return 0;
        pool = cgroup_pool(leaf->parent);
        if (leaf->has_limits || leaf->was_killed ||
            leaf->controllers & (CGROUP_MEMORY | CGROUP_TASKS) ||
            pool->n == ARRAY_LEN(pool->leaves))
                return cgroup_leaf_remove(leaf);
        if (cgroup_leaf_is_populated(leaf))
                return -EBUSY;
        pool->leaves[pool->n++] = *leaf;
        leaf->fd = -1;
        return 0;
}

/* See cgroup_file.h. */
void cgroup_pool_clear(struct cgroup_pool *pool)
{
        while (pool->n > 0) {
                struct cgroup_leaf *leaf = &pool->leaves[--pool->n];

                (void)cgroup_leaf_remove(leaf);
                leaf->fd = fd_close(leaf->fd);
        }
}
