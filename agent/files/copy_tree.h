/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A copy of a file, a link or a whole directory under a temporary name, ready to be published. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/files/place.h"
#include "agent/files/temporary.h"

struct copy_tree {
        const atomic_bool *cancel; /* may be NULL */
        bool is_same_mount;        /* what is mounted in the source ends it: -EXDEV */
        /* Results. */
        char *failed; /* on failure: the path below @from of what cannot be copied, to be freed; or NULL */
        char name[TEMPORARY_NAME_SIZE];
        int fd;             /* keeps it locked: to be closed when the copy is published; or -1 */
        uint64_t n_entries; /* files, directories and links */
        uint64_t n_skipped; /* FIFOs, sockets and devices below a directory are left out */
        uint64_t size;      /* bytes of files */
};

/* Copies @from, which is held by its descriptor, into the directory @dir. Modes and times are kept; owners are not:
 * the copy is the user's, so set-user-ID bits of others' files go. Hard links become files of their own. Call it
 * within a scope of the user. Returns a negative errno (-ENXIO: special file), and then nothing is left. */
int copy_tree(const struct place *from, int dir, struct copy_tree *c);

/* To be published rename() replaces an empty directory, and refuses a full one: this finds out before the work. 0, also
 * where it cannot be known, or -ENOTEMPTY. */
int copy_check_empty(const struct place *to);
