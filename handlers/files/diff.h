/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The unified diff of a text in which some places were replaced: it is known where they are, so nothing is searched. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/buf.h"

struct diff_edit {
        size_t at; /* in the old text; ascending, and behind the one before */
        size_t size;
        const char *text; /* what is there instead */
        size_t text_size;
};

/* Appends the diff of the text @old, whose file is called @name, to @b. Returns 0, -ENOMEM, or -EFBIG when the buffer's
 * cap is reached: then complete hunks are left. */
int diff_write(struct buf *b, const char *name, const char *old, size_t size,
               const struct diff_edit *edits, size_t n);
