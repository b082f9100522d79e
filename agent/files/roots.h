/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The policy: which directories clients may reach, and as whom. Built once, never changed, so any thread may use it.
 *
 * What counts is where a file really is, after all links: a link from one allowed directory into another is fine. The
 * allowed directories are resolved once, when the policy is built; one that does not exist then may be made later, but
 * not as a link to somewhere else. A mount point is a part of the directory that it is in: whoever may mount decides.
 * Hard links cannot be judged: a second name of a file looks like the first, so what may be linked into an allowed
 * directory may be reached (fs.protected_hardlinks keeps users from linking what they may not write). And a directory
 * that its owner moves out of the allowed ones while it is being worked in stays reachable for that operation.
 *
 * Where "/workspace" means the workspace (base/workspace.h) it does so in every path; not if that directory, or one in
 * it, is an allowed one, which may be made later.
 *
 * "/" allows everything that the user may. Even then magic links of /proc (root, cwd, fd/3) lead nowhere, and the
 * agent's own directory in /proc is closed. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/base/error.h"
#include "agent/base/macros.h"
#include "agent/files/user.h"

struct roots_config {
        const char *workspace; /* absolute; where relative paths start, and always allowed */
        char *const *allowed;  /* NULL-terminated, absolute; may be NULL */
        uid_t uid;             /* the user whose rights count, when the agent is root */
        gid_t gid;
        const gid_t *groups;
        size_t n_groups;
};

struct roots {
        char *workspace; /* normalised, links in it not resolved */
        char **paths;    /* NULL-terminated, normalised and resolved */
        struct files_user user;
        bool has_openat2; /* tests switch it off */
        bool has_name;    /* "/workspace" may mean the workspace */
};

/* -EINVAL, -ENAMETOOLONG: a path is no absolute one. -EACCES and others: it cannot be resolved. */
int roots_new(const struct roots_config *config, struct roots **ret, struct error *err);
struct roots *roots_free(struct roots *r);
DEFINE_CLEANUP(struct roots *, roots_free)

/* Is @path, normalised and free of links, allowed? */
bool roots_allow(const struct roots *r, const char *path);

/* Is @path, which has no links in it, an allowed directory, or is one below it? It may not go away, then. */
bool roots_are_below(const struct roots *r, const char *path);

/* May the directory @path be made? Also true for an allowed one that is missing, and for those above it. */
bool roots_allow_making(const struct roots *r, const char *path);

/* Becomes the user; every verb begins with it. An outcome of files/outcome.h about @path. */
int roots_enter(const struct roots *r, struct files_scope *scope, const char *path,
                struct error *err);
