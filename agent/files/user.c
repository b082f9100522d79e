/* SPDX-License-Identifier: Apache-2.0 */

/* The C library's setgroups() changes all threads (POSIX wants that), so these are the system calls themselves.
 * While the fsuid is not 0 the kernel takes away the capabilities that override permissions, and keeps those that
 * are needed to go back. setfsuid cannot fail, it just may do nothing: the new value is read again. */

#include "agent/files/user.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/alloc.h"

/* Whom this thread acts as; NULL: as the agent. */
static _Thread_local const struct files_user *current;

/* See the header. */
int files_user_init(struct files_user *u, uid_t uid, gid_t gid, const gid_t *groups,
                    size_t n_groups)
{
        int n = getgroups(0, NULL);

        *u = (struct files_user){ .uid = geteuid(), .gid = getegid() };
        if (n < 0)
                return -errno;
        if (u->uid != 0 || uid == 0)
                return 0;

        u->is_other = true;
        u->uid = uid;
        u->gid = gid;
        u->n_groups = n_groups;
        u->groups = xcalloc(n_groups + 1, sizeof(gid_t));
        if (n_groups > 0)
                memcpy(u->groups, groups, n_groups * sizeof(gid_t));
        u->own_groups = xcalloc((size_t)n + 1, sizeof(gid_t));
        n = getgroups(n, u->own_groups);
        u->n_own_groups = n > 0 ? (size_t)n : 0;
        return 0;
}

/* See the header. */
void files_user_done(struct files_user *u)
{
        free(u->groups);
        free(u->own_groups);
        *u = (struct files_user){ .is_other = false };
}

static int set_groups(const gid_t *groups, size_t n_groups)
{
        return syscall(SYS_setgroups, n_groups, groups) < 0 ? -errno : 0;
}

static int set_ids(uid_t uid, gid_t gid)
{
        (void)syscall(SYS_setfsgid, gid);
        (void)syscall(SYS_setfsuid, uid);
        if (syscall(SYS_setfsgid, -1) != (long)gid || syscall(SYS_setfsuid, -1) != (long)uid)
                return -EPERM;
        return 0;
}

static void become_agent(const struct files_user *u)
{
        if (set_groups(u->own_groups, u->n_own_groups) < 0 || set_ids(geteuid(), getegid()) < 0)
                abort(); /* everything that this thread does from now on would be done as the wrong user */
}

/* See the header. */
int files_scope_enter(struct files_scope *s, const struct files_user *u)
{
        int r;

        s->user = NULL;
        if (!u->is_other || current == u)
                return 0;
        assert(!current);

        r = set_groups(u->groups, u->n_groups);
        if (r < 0)
                return r; /* and nothing has changed */
        r = set_ids(u->uid, u->gid);
        if (r < 0) {
                become_agent(u);
                return r;
        }
        current = u;
        s->user = u;
        return 0;
}

/* See the header. */
void files_scope_leave(struct files_scope *s)
{
        int saved = errno;

        if (!s->user)
                return;
        become_agent(s->user);
        current = NULL;
        s->user = NULL;
        errno = saved;
}
