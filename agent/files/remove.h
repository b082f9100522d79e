/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/files/roots.h"

struct file_remove_options {
        bool is_recursive;         /* else a directory has to be empty: FILES_E_NOT_EMPTY */
        const atomic_bool *cancel; /* may be NULL; what has been removed stays removed */
        char **ret_failed; /* may be NULL; on failure: what below the path has failed, to be freed, or NULL */
};

/* Removes a file, a link (not what it leads to), a special file, or a directory. With something mounted in it a tree
 * stays as it is: FILES_E_BUSY. Else it is removed as far as possible, and the first failure returned. *ret, which may
 * be NULL, counts what was removed, also on failure. */
int file_remove(const struct roots *roots, const char *path, const struct file_remove_options *o,
                uint64_t *ret, struct error *err);

/* The same for an entry of a directory that is open, within a scope. @is_ours: what the agent made and
 * nobody has seen, so that directories which must not be written to are made writable. @cancel and @ret may
 * be NULL. Returns a negative errno. */
int file_remove_at(int dir, const char *name, bool is_ours, const atomic_bool *cancel,
                   uint64_t *ret);
