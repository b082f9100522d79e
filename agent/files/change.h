/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Changing who may do what with a file, a directory or a tree. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/files/roots.h"

struct file_change {
        bool has_mode;
        mode_t mode;         /* for all alike */
        const char *symbols; /* instead of a mode: checked by file_mode_apply; else NULL */
        uid_t uid;           /* (uid_t)-1: as it is */
        gid_t gid;           /* (gid_t)-1: as it is */

        bool is_recursive;         /* a directory with all that is in it */
        const atomic_bool *cancel; /* may be NULL; what has been changed stays changed */
};

/* What @symbols, such as "u+rwX,go-w", make of @mode: the letters of chmod(1), but for copies like "g=u". X is x for
 * directories, and for files that somebody may execute already. Without u, g, o or a all are meant, whatever the umask.
 * The set-ID bits of a directory change only when s is there. -EINVAL: malformed. */
int file_mode_apply(const char *symbols, mode_t mode, bool is_directory, mode_t *ret);

/* Changes what @path leads to. Below a directory links are not followed: their owners change, and nothing else. What
 * others are making (files/temporary.h) is left out. A directory that its owner will not be able to read is changed
 * behind its content. A tree is changed as far as possible, and the first failure returned. *ret counts what is
 * different now, also on failure. */
int file_change(const struct roots *roots, const char *path, const struct file_change *c,
                uint64_t *ret, struct error *err);
