/* SPDX-License-Identifier: Apache-2.0 */

/* A growable byte buffer. Its size follows what clients and children send, so every growth is
 * checked: against the cap first, then for overflow, then for memory. Capacity doubles, so
 * appending is linear overall. */

#include "agent/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"

#define FIRST_CAPACITY ((size_t)256)

/* An empty buffer that holds at most @max bytes (0 = no cap); allocates nothing yet. */
void buf_init(struct buf *b, size_t max)
{
        *b = (struct buf){ .max = max };
}

/* Frees the content; the buffer can be used again. */
void buf_done(struct buf *b)
{
        free(b->data);
        buf_init(b, b->max);
}

/* Makes room for @size more bytes and the terminator. The capacity counts the terminator, the cap
 * does not. */
int buf_reserve(struct buf *b, size_t size)
{
        size_t needed, capacity;
        char *data;

        if (size > SIZE_MAX - 1 - b->size)
                return -EFBIG;
        if (b->max > 0 && size > b->max - b->size)
                return -EFBIG;

        needed = b->size + size + 1;
        if (needed <= b->capacity)
                return 0;

        capacity = MAX(b->capacity, FIRST_CAPACITY);
        while (capacity < needed)
                capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
        if (b->max > 0 && b->max < SIZE_MAX)
                capacity = MIN(capacity, b->max + 1);

        data = try_realloc(b->data, capacity);
        if (!data)
                return -ENOMEM;

        b->data = data;
        b->data[b->size] = '\0';
        b->capacity = capacity;
        return 0;
}

/* Appends @size bytes, or none at all. @data must not point into the buffer. */
int buf_append(struct buf *b, const void *data, size_t size)
{
        int r;

        if (size == 0)
                return 0;

        r = buf_reserve(b, size);
        if (r < 0)
                return r;

        memcpy(b->data + b->size, data, size);
        b->size += size;
        b->data[b->size] = '\0';
        return 0;
}

/* Appends the string @s without its terminator. */
int buf_append_str(struct buf *b, const char *s)
{
        return buf_append(b, s, strlen(s));
}

/* Appends formatted text, or nothing at all. Mostly there is room already; so it is written at once, and again only
 * when it did not fit. */
int buf_appendf(struct buf *b, const char *fmt, ...)
{
        size_t room = b->capacity > b->size ? b->capacity - b->size : 0; /* with the terminator */
        va_list ap;
        int r, n;

        va_start(ap, fmt);
        n = vsnprintf(room > 0 ? b->data + b->size : NULL, room, fmt, ap);
        va_end(ap);
        r = n < 0 ? -EINVAL : buf_reserve(b, (size_t)n);
        if (r < 0) {
                if (room > 0)
                        b->data[b->size] = '\0';
                return r;
        }
        if ((size_t)n >= room) {
                va_start(ap, fmt);
                (void)vsnprintf(b->data + b->size, (size_t)n + 1, fmt, ap); /* measured above */
                va_end(ap);
        }
        b->size += (size_t)n;
        return 0;
}

/* Hands over the memory, which is NULL when nothing was ever reserved. @ret_size may be NULL. */
char *buf_steal(struct buf *b, size_t *ret_size)
{
        char *data = b->data;

        if (ret_size)
                *ret_size = b->size;
        buf_init(b, b->max);
        return data;
}
