/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The tree that an archive becomes, below a directory that nobody else knows of. All names are resolved from there,
 * without following any link, whether it came with the archive or was put there by somebody meanwhile.
 *
 * Within a scope of the user. Functions return 0; -EBADMSG, and then err says which entry is refused and why; -EFBIG,
 * the same for a limit; or another negative errno. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/base/buf.h"
#include "agent/base/error.h"
#include "handlers/files/unpack_name.h"

struct unpack_attributes {
        unsigned mode; /* permissions; set-ID and sticky bits are dropped */
        bool has_time;
        struct timespec time; /* of the last change */
};

struct unpack_tree {
        int top; /* borrowed */
        bool has_openat2;
        int dir; /* the directory that was used last, or -1 */
        char dir_path[PATH_MAX];
        struct buf directories;    /* that still want their attributes */
        unsigned directories_left; /* that may be made, by entries or on the way to one */
        uint64_t n_files;
        uint64_t n_directories;
        uint64_t n_links; /* of both kinds */
};

void unpack_tree_init(struct unpack_tree *t, int top, bool has_openat2);
void unpack_tree_done(struct unpack_tree *t);

/* A new file, in place of another file or link of the same name. *ret is open for writing. */
int unpack_tree_file(struct unpack_tree *t, const struct unpack_name *n, int *ret,
                     struct error *err);
/* When all of it is written. */
int unpack_tree_file_end(int fd, const struct unpack_attributes *a);
int unpack_tree_directory(struct unpack_tree *t, const struct unpack_name *n,
                          const struct unpack_attributes *a, struct error *err);
/* @target was checked. */
int unpack_tree_symlink(struct unpack_tree *t, const struct unpack_name *n, const char *target,
                        const struct unpack_attributes *a, struct error *err);
int unpack_tree_hard_link(struct unpack_tree *t, const struct unpack_name *n,
                          const struct unpack_name *target, struct error *err);

/* Gives the directories their modes and times. Their owner may always read, write and enter them: they are still to
 * be renamed. @step is called now and then, and may end it. */
int unpack_tree_finish(struct unpack_tree *t, int (*step)(void *arg), void *arg, struct error *err);

/* "entry NAME WHY" in @err; returns @r. */
int unpack_refuse(struct error *err, int r, const char *name, const char *why);
