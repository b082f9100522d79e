/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the entries of an archive may be called, and where its links may lead. Text only; nothing here looks at the
 * disk. */

#include <limits.h>

struct unpack_name {
        char path[PATH_MAX]; /* below the target, "a/b"; "" is the target itself */
        unsigned depth;      /* names in it */
};

/* 0; -EBADMSG: refused; -EFBIG: too deep. *ret_why is half a sentence then: "leads out of the target". */
int unpack_name_parse(const char *text, struct unpack_name *ret, const char **ret_why);

/* May the symbolic link @link lead to @target? As long as every link of the target was judged by this, and lies where
 * it was judged, none of them leads out. The same results. */
int unpack_name_check_link(const struct unpack_name *link, const char *target,
                           const char **ret_why);

/* The text for a sentence: what is not printable becomes '?', and what is long is cut. Returns @dst. */
#define UNPACK_NAME_SHOWN 140
const char *unpack_name_show(const char *text, char dst[UNPACK_NAME_SHOWN]);
