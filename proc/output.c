/* SPDX-License-Identifier: Apache-2.0 */

/* Head and tail of a stream. The head grows until it is full. What follows goes to the tail: first it grows as
 * the head did; when it cannot grow any more it becomes a ring that forgets its oldest bytes. So a stream that
 * fits is stored once, in order, and a flood costs no more than @max.
 *
 * Memory is taken by doubling, as it is needed, and is accounted in the shared budget. When budget or memory is
 * at its end, growing ends early and everything works on, with a smaller head or tail. */

#include "proc/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"

#define FIRST_SIZE (4 * KIB)

struct part {
        char *data;
        size_t size;
        size_t capacity;
        size_t max;
        bool is_frozen; /* will not grow any more */
};

struct output {
        struct output_budget *budget;
        struct part head;
        struct part tail;
        size_t tail_start; /* oldest byte of the tail, once it is a ring */
        uint64_t total;
        char marker[64];
};

/* See the header. */
struct output *output_new(size_t max, bool keep_tail, struct output_budget *budget)
{
        struct output *o = xnew(struct output);

        o->budget = budget;
        o->tail.max = keep_tail ? max / 2 : 0;
        o->head.max = max - o->tail.max;
        return o;
}

static void part_done(struct part *p, struct output_budget *budget)
{
        budget->used -= p->capacity;
        free(p->data);
}

/* See the header. */
struct output *output_free(struct output *o)
{
        if (!o)
                return NULL;

        part_done(&o->head, o->budget);
        part_done(&o->tail, o->budget);
        free(o);
        return NULL;
}

/* Makes room for @wanted bytes in all, or for as many as there may be. */
static void part_grow(struct part *p, size_t wanted, struct output_budget *budget)
{
        size_t capacity = p->capacity;
        char *data;

        wanted = MIN(wanted, p->max);
        if (p->is_frozen || wanted <= capacity)
                return;
        while (capacity < wanted)
                capacity = capacity ? 2 * capacity : FIRST_SIZE;
        capacity = MIN(capacity, p->max);

        data = NULL;
        if (capacity - p->capacity <= budget->max - MIN(budget->used, budget->max))
                data = try_realloc(p->data, capacity);
        if (!data) {
                p->is_frozen = true;
                return;
        }
        budget->used += capacity - p->capacity;
        p->data = data;
        p->capacity = capacity;
}

/* Stores as much of the @size bytes as fits behind what is there; returns how much that was. */
static size_t part_fill(struct part *p, const char *data, size_t size, struct output_budget *budget)
{
        size_t n;

        part_grow(p, p->size + size, budget);
        n = MIN(size, p->capacity - p->size);
        if (n > 0)
                memcpy(p->data + p->size, data, n);
        p->size += n;
        if (n < size)
                p->is_frozen =
                        true; /* a later byte must not land in front of what is lost or elsewhere */
        return n;
}

/* Overwrites the oldest bytes of the full tail. */
static void ring_write(struct output *o, const char *data, size_t size)
{
        size_t capacity = o->tail.size;

        if (capacity == 0)
                return;
        if (size > capacity) {
                data += size - capacity;
                size = capacity;
        }
        while (size > 0) {
                size_t n = MIN(size, capacity - o->tail_start);

                memcpy(o->tail.data + o->tail_start, data, n);
                o->tail_start = (o->tail_start + n) % capacity;
                data += n;
                size -= n;
        }
}

/* See the header. */
void output_append(struct output *o, const char *data, size_t size)
{
        size_t n = 0;

        o->total += size;
        if (!o->head.is_frozen)
                n += part_fill(&o->head, data, size, o->budget);
        if (n < size && !o->tail.is_frozen)
                n += part_fill(&o->tail, data + n, size - n, o->budget);
        if (n < size)
                ring_write(o, data + n, size - n);
}

/* See the header. */
uint64_t output_total(const struct output *o)
{
        return o->total;
}

/* See the header. */
uint64_t output_dropped(const struct output *o)
{
        return o->total - o->head.size - o->tail.size;
}

static void add_slice(struct output_slices *s, const char *data, size_t size)
{
        if (size == 0)
                return;
        s->slice[s->n].data = data;
        s->slice[s->n].size = size;
        s->n++;
}

/* See the header. */
void output_slices(struct output *o, struct output_slices *ret)
{
        *ret = (struct output_slices){ 0 };

        add_slice(ret, o->head.data, o->head.size);
        if (output_is_truncated(o)) {
                (void)snprintf(o->marker, sizeof(o->marker),
                               "\n[\xe2\x80\xa6 %" PRIu64
                               " bytes of output dropped \xe2\x80\xa6]\n",
                               output_dropped(o));
                add_slice(ret, o->marker, strlen(o->marker));
        }
        if (o->tail.size > 0) {
                add_slice(ret, o->tail.data + o->tail_start, o->tail.size - o->tail_start);
                add_slice(ret, o->tail.data, o->tail_start);
        }
}
