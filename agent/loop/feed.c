/* SPDX-License-Identifier: Apache-2.0 */

/* A list under a lock, and a wake-up. */

#include "agent/loop/feed.h"

#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/list.h"
#include "agent/loop/loop.h"

struct piece {
        struct list link;
        char *data;
        size_t size;
};

struct feed {
        uv_async_t async;
        uv_mutex_t lock; /* of the next two */
        struct list pieces;
        size_t size; /* of all of them */
        void (*on_data)(void *arg);
        void *arg;
};

static void on_async(uv_async_t *async)
{
        struct feed *f = container_of(async, struct feed, async);

        /* Whatever the worker wrote before it pushed is seen from here on, not only the piece. The library's wake-up
         * says nothing about that. */
        uv_mutex_lock(&f->lock);
        uv_mutex_unlock(&f->lock);
        f->on_data(f->arg);
}

/* See the header. */
struct feed *feed_new(struct loop *l, void (*on_data)(void *arg), void *arg)
{
        struct feed *f = xnew(struct feed);

        /* Both fail only without memory, or the descriptor that the loop has opened already. */
        if (uv_mutex_init(&f->lock) < 0 || uv_async_init(&l->uv, &f->async, on_async) < 0)
                abort();
        list_init(&f->pieces);
        f->on_data = on_data;
        f->arg = arg;
        return f;
}

static void on_closed(uv_handle_t *handle)
{
        struct feed *f = container_of((uv_async_t *)handle, struct feed, async);

        uv_mutex_destroy(&f->lock);
        free(f);
}

/* See the header. */
struct feed *feed_free(struct feed *f)
{
        char *data;
        size_t size;

        if (!f)
                return NULL;
        while ((data = feed_pop(f, &size)))
                free(data);
        uv_close((uv_handle_t *)&f->async, on_closed);
        return NULL;
}

/* See the header. */
size_t feed_push(struct feed *f, char *data, size_t size)
{
        struct piece *p = xnew(struct piece);
        size_t waiting;

        p->data = data;
        p->size = size;
        uv_mutex_lock(&f->lock);
        list_append(&f->pieces, &p->link);
        f->size += size;
        waiting = f->size;
        uv_mutex_unlock(&f->lock);
        (void)uv_async_send(&f->async); /* fails on a closed one only */
        return waiting;
}

/* See the header. */
char *feed_pop(struct feed *f, size_t *ret_size)
{
        struct piece *p = NULL;
        char *data;

        uv_mutex_lock(&f->lock);
        if (!list_is_empty(&f->pieces)) {
                p = list_entry(f->pieces.next, struct piece, link);
                list_remove(&p->link);
                f->size -= p->size;
        }
        uv_mutex_unlock(&f->lock);
        if (!p)
                return NULL;
        data = p->data;
        *ret_size = p->size;
        free(p);
        return data;
}
