/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Doing things with files as somebody else. An agent that is root lends a thread the run-as user's rights on file
 * systems (fsuid, fsgid, groups) for the length of a scope: its permissions count, and what is made belongs to it.
 * Only the calling thread changes; the others stay what they are.
 *
 * What root keeps in a scope is what has nothing to do with permissions: it may use the blocks that a file system
 * reserves for it. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct files_user {
        bool is_other; /* than the agent: otherwise a scope changes nothing */
        uid_t uid;
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
        gid_t *own_groups; /* of the agent, to go back to */
        size_t n_own_groups;
};

/* Only root can act as somebody else: for any other agent the user is the agent's own, whatever is given. Copies
 * @groups. Returns a negative errno. */
int files_user_init(struct files_user *u, uid_t uid, gid_t gid, const gid_t *groups,
                    size_t n_groups);
void files_user_done(struct files_user *u);

struct files_scope {
        const struct files_user *user; /* NULL: nothing to undo */
};

/* Becomes @u until files_scope_leave, which has to be called on the same thread. Scopes of the same user may be
 * nested. -EPERM: the agent has not the right to; then nothing may be done. */
int files_scope_enter(struct files_scope *s, const struct files_user *u);

/* Becomes the agent again; harmless twice, and on a scope that is all zero. A thread that cannot go back ends the
 * program. */
void files_scope_leave(struct files_scope *s);

static inline void files_scope_leave_cleanup_(struct files_scope *s)
{
        files_scope_leave(s);
}
