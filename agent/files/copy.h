/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/files/roots.h"

struct file_copy_options {
        bool overwrite;            /* else FILES_E_EXISTS */
        bool make_parents;         /* of the new place; else FILES_E_NO_DIRECTORY */
        const atomic_bool *cancel; /* may be NULL */
        char **ret_failed; /* may be NULL; on failure: what below @from has failed, to be freed, or NULL */
};

struct file_copied {
        uint64_t n_entries; /* files, directories and links */
        uint64_t n_skipped; /* special files below a directory */
        uint64_t size;      /* bytes of files */
        bool is_renamed;    /* moves only: nothing had to be copied, and nothing was counted */
};

/* Copies the file or the directory that @from leads to, to the very place @to (not into it). It appears there complete
 * or not at all. A file replaces a file; a directory replaces an empty directory, and is never merged with another one
 * (FILES_E_NOT_EMPTY). Links below a directory are copied as links. See files/copy_tree.h for what is kept. */
int file_copy(const struct roots *roots, const char *from, const char *to,
              const struct file_copy_options *o, struct file_copied *ret, struct error *err);
