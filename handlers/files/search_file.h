/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The matches in one file, as JSON. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"

struct pattern;

struct search {
        struct pattern *pattern;
        uint64_t before; /* lines around each match that are shown */
        uint64_t after;
        uint64_t limit; /* matches */
        const atomic_bool *cancel;

        struct buf matches; /* objects, with commas between; has a cap */
        uint64_t n_matches;
        uint64_t n_files; /* that were searched */
        uint64_t n_matched_files;
        uint64_t n_binary; /* skipped, as the next */
        uint64_t n_large;
        uint64_t n_unreadable;
        uint64_t n_expensive; /* the rest of them was skipped */
        bool is_truncated;    /* there may be more matches: at the limit, or the answer is full */
        bool is_full;         /* the latter */

        struct buf content; /* of the file that is searched */
};

/* Searches the file that @fd is open for. @path is what it is called. 0, also if it was skipped; -ENOMEM;
 * -ECANCELED. */
int search_file(struct search *s, int fd, const char *path);
