/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The newest bytes of a stream, each known by its offset since the stream's beginning. */

#include <stddef.h>
#include <stdint.h>

struct ring_slice {
        const char *data; /* never NULL, even when size is 0 */
        size_t size;
};

struct ring {
        char *data; /* NULL when capacity is 0 */
        size_t capacity;
        size_t head;    /* private: where in data the byte at start is */
        size_t max;     /* no more than this many bytes; 0 = none */
        uint64_t start; /* offset of the oldest byte that is kept */
        uint64_t end;   /* offset behind the newest */
};

/* Allocates nothing. */
void ring_init(struct ring *r, size_t max);
/* Frees the memory and leaves an empty ring at offset 0 with the same cap. */
void ring_done(struct ring *r);

/* Appends, so that end grows by @size. Forgets the oldest bytes beyond the cap or, when there is no memory to
 * grow, beyond what there is (with no memory at all, the new ones too: start == end). Cannot fail. @data must not
 * point into the ring. */
void ring_append(struct ring *r, const void *data, size_t size);

/* The bytes from @offset (start <= @offset <= end) to the end, as at most two slices; returns how many of them are
 * not empty, and they come first. They are borrowed until the ring changes. */
unsigned ring_peek(const struct ring *r, uint64_t offset, struct ring_slice ret[2]);

/* Forgets what is before @offset (<= end; nothing happens when that is forgotten already). A ring that is empty then
 * gives much memory back. */
void ring_discard(struct ring *r, uint64_t offset);

/* The number of bytes that are kept. */
static inline size_t ring_size(const struct ring *r)
{
        return (size_t)(r->end - r->start);
}

static inline void ring_done_cleanup_(struct ring *r)
{
        ring_done(r);
}
