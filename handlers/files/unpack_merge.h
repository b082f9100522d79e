/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Moving a tree into a directory that may have things in it: directories that are on both sides become one, and what
 * is only in the tree is renamed to its place, a whole directory at once. A file or a link replaces a file or a link,
 * which is not followed; nothing replaces a directory, and a directory nothing else.
 *
 * All of that, and whether the user may do it, is checked before anything is moved; what somebody changes after that
 * may end it halfway. Within a scope of the user. */

#include <stdbool.h>

#include "agent/base/error.h"

struct unpack_merge {
        int from; /* readable directories; borrowed */
        int to;
        const char *path; /* of the latter, as the client says it */
        bool overwrite;
        int (*step)(void *arg); /* now and then, and may take its time; -ECANCELED ends the check */
        void *arg;
};

/* 0 or an outcome of files/outcome.h, about the path of what is in the way. */
int unpack_merge(const struct unpack_merge *m, struct error *err);
