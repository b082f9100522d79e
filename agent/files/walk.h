/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A walk through a directory tree, without following links, and without anything that grows with its depth but memory:
 * no recursion, and at most LIMIT_WALK_OPEN directories open. A directory that is moved during the walk does not lead
 * it elsewhere.
 *
 * Call it within a scope of the user. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* What on_entry says to go into a directory. */
#define WALK_DESCEND 1

struct walk_entry {
        int dir; /* that holds it; borrowed */
        const char *name;
        const char *path;   /* below the top: "a/b" */
        unsigned char type; /* DT_REG, DT_DIR, ...; never DT_UNKNOWN */
        unsigned depth;     /* 1: in the top itself */
        bool is_before;     /* not behind options.after: on the way to there */
};

struct walk_options {
        bool is_sorted;     /* by the names' bytes; a directory comes right before its content */
        bool is_same_mount; /* what is mounted in the tree is not entered: -EXDEV */
        const char *
                after; /* sorted only, else NULL: begin behind this path, which need not exist any more */
        const atomic_bool *cancel; /* may be NULL; ends the walk with -ECANCELED */
        size_t max_depth;          /* for tests, less than LIMIT_WALK_DEPTH; 0: that */
        size_t max_names;          /* for tests, less than LIMIT_WALK_NAMES; 0: that */

        /* These return 0 or a negative errno, which ends the walk; on_entry also WALK_DESCEND. */
        int (*on_entry)(void *data, const struct walk_entry *e);
        int (*on_leave)(void *data,
                        const struct walk_entry *e); /* behind a directory's content; may be NULL */
        int (*on_failure)(
                void *data, const struct walk_entry *e,
                int error); /* a directory that cannot be entered (no on_leave follows) or read to its
                                       * end; may be NULL: ends the walk */
        void *data;
};

/* Walks through the directory @top, a readable descriptor that is borrowed; its position is moved. A directory that is
 * too deep cannot be entered: -ENAMETOOLONG. One that has too many names to be sorted cannot be read: -EFBIG. */
int walk_tree(int top, const struct walk_options *o);

/* Opens directory @name of @dir for reading, not through a link. -EXDEV: @is_same_mount, and something is mounted
 * there. -EACCES also for the agent's own directory in /proc (see roots.h). */
int walk_open(int dir, const char *name, bool is_same_mount);
