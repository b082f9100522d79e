/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The entries of a directory, or of a tree, in batches: however many there are, only one batch is in memory (and of
 * each sorted directory on the way its names). The first batch is small and comes early. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/limits.h"
#include "agent/files/glob.h"
#include "agent/files/info.h"
#include "agent/files/roots.h"

#define LIST_FIRST_BATCH 32

struct list_entry {
        const char *name;
        const char *path;   /* below the listed directory: "a/b" */
        const char *target; /* of a link: its text; else "" */
        struct file_info info;
};

struct list_options {
        bool is_recursive;
        unsigned depth; /* recursive: how many levels, 1 is the directory itself; 0: all */

        /* Only what fits: its path if the pattern has a slash, else its name. May be NULL. */
        struct glob *glob;
        bool only_directories; /* of what fits */

        bool is_sorted;     /* by the names' bytes, a directory before its content */
        uint64_t limit;     /* entries; 0: none. Needs is_sorted */
        const char *cursor; /* sorted: from an earlier list with the same options; else NULL */
        const atomic_bool *cancel; /* may be NULL */

        /* Takes a batch, borrowed for the call, which is made as the user. Not 0: that was enough, and the list
         * ends with FILES_E_CANCELLED. */
        int (*on_batch)(void *data, const struct list_entry *entries, size_t n_entries);
        void *data;
};

struct list_result {
        uint64_t n_entries;
        uint64_t n_unreadable; /* directories that could not be entered or not read to their end */
        char *cursor; /* there is more: what to go on with, any bytes; else NULL. Owned by the caller */
};

/* Lists the directory that @path leads to. Links are entries, not followed; unfinished files (files/temporary.h) are
 * left out. A page neither repeats nor skips what is there all the time, whatever else comes and goes. */
int directory_list(const struct roots *roots, const char *path, const struct list_options *o,
                   struct list_result *ret, struct error *err);
