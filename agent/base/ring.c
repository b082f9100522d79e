/* SPDX-License-Identifier: Apache-2.0 */

/* A byte ring, for output that is read later or never: what a reader has not fetched in time is
 * forgotten, oldest first, and its offset tells it how much. Nobody can do anything about a lack of
 * memory in the middle of a stream, so it only makes the history shorter.
 *
 * Memory comes by doubling, as a ring that is never filled should not cost its cap. The content
 * begins at data[head] and goes on at data[0] when it passes the end. */

#include "agent/base/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"

#define FIRST_CAPACITY (4 * KIB)

/* An empty ring may keep this much. */
#define IDLE_CAPACITY (64 * KIB)

/* An empty ring that keeps at most @max bytes. */
void ring_init(struct ring *r, size_t max)
{
        *r = (struct ring){ .max = max };
}

/* Frees the content; the ring can be used again. */
void ring_done(struct ring *r)
{
        free(r->data);
        ring_init(r, r->max);
}

/* Makes the capacity @needed (<= max) or more, if there is memory. */
static void grow(struct ring *r, size_t needed)
{
        size_t capacity = MAX(r->capacity, FIRST_CAPACITY);
        size_t upper = r->capacity - r->head; /* bytes from the head to the old end */
        char *data;

        while (capacity < needed)
                capacity = capacity > r->max / 2 ? r->max : capacity * 2;
        capacity = MIN(capacity, r->max);

        data = try_realloc(r->data, capacity);
        if (!data)
                return;

        if (ring_size(r) > upper) { /* wrapped: the gap must stay between tail and head */
                memmove(data + capacity - upper, data + r->head, upper);
                r->head = capacity - upper;
        }
        r->data = data;
        r->capacity = capacity;
}

/* Forgets the oldest @size bytes. */
static void forget(struct ring *r, size_t size)
{
        r->start += size;
        r->head += size;
        if (r->head >= r->capacity)
                r->head -= r->capacity;
        if (r->start == r->end)
                r->head = 0; /* in one piece for as long as possible */
}

/* Appends, at the cost of the oldest bytes. */
void ring_append(struct ring *r, const void *data, size_t size)
{
        const char *src = data;
        size_t used = ring_size(r);
        size_t needed = size > r->max - used ? r->max : used + size;
        size_t tail, n;

        if (needed > r->capacity)
                grow(r, needed);

        if (size > r->capacity) { /* not even all of the new bytes can stay */
                size_t excess = size - r->capacity;

                forget(r, used);
                r->start += excess;
                r->end += excess;
                src += excess;
                size -= excess;
        }
        if (size == 0)
                return;

        used = ring_size(r);
        if (size > r->capacity - used) {
                forget(r, size - (r->capacity - used));
                used = r->capacity - size;
        }

        tail = r->head + used;
        if (tail >= r->capacity)
                tail -= r->capacity;
        n = MIN(size, r->capacity - tail);
        memcpy(r->data + tail, src, n);
        memcpy(r->data, src + n, size - n);
        r->end += size;
}

/* Shows what is kept from @offset on. */
unsigned ring_peek(const struct ring *r, uint64_t offset, struct ring_slice ret[2])
{
        size_t size, at, n;

        assert(offset >= r->start && offset <= r->end);

        ret[0] = ret[1] = (struct ring_slice){ "", 0 };
        size = (size_t)(r->end - offset);
        if (size == 0)
                return 0;

        at = r->head + (size_t)(offset - r->start);
        if (at >= r->capacity)
                at -= r->capacity;
        n = MIN(size, r->capacity - at);
        ret[0] = (struct ring_slice){ r->data + at, n };
        if (n == size)
                return 1;

        ret[1] = (struct ring_slice){ r->data, size - n };
        return 2;
}

/* Forgets what nobody needs any more. */
void ring_discard(struct ring *r, uint64_t offset)
{
        assert(offset <= r->end);

        if (offset > r->start)
                forget(r, (size_t)(offset - r->start));

        if (r->start == r->end && r->capacity > IDLE_CAPACITY) {
                r->data = mem_free(r->data);
                r->capacity = 0;
        }
}
