/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A growable byte buffer with a cap. */

#include <stddef.h>

#include "agent/base/macros.h"

struct buf {
        char *data; /* NUL-terminated when not NULL; the NUL is not counted in size */
        size_t size;
        size_t capacity;
        size_t max; /* no more than this many bytes; 0 = no cap */
};

void buf_init(struct buf *b, size_t max);
/* Frees the memory and leaves an empty buffer with the same cap. */
void buf_done(struct buf *b);

/* Room for @size more bytes, so that buf_append of them cannot fail. -EFBIG: over the cap. -ENOMEM. */
int buf_reserve(struct buf *b, size_t size);
/* -EFBIG: over the cap, and nothing was appended. -ENOMEM. */
int buf_append(struct buf *b, const void *data, size_t size);
int buf_append_str(struct buf *b, const char *s);
int buf_appendf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hands the memory (to be freed with free) to the caller and leaves the buffer empty. */
char *buf_steal(struct buf *b, size_t *ret_size);

static inline void buf_done_cleanup_(struct buf *b)
{
        buf_done(b);
}
