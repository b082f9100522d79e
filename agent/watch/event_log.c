/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/watch/event_log.h"

#include <stdlib.h>

#include "agent/base/alloc.h"

#define FIRST_ITEMS ((size_t)16)

/* Leaves it empty. */
void event_log_done(struct event_log *l)
{
        free(l->items);
        buf_done(&l->text);
        *l = (struct event_log){ .n = 0 };
}

/* See the header. */
void event_log_end_path(struct event_log *l)
{
        if (buf_append(&l->text, "", 1) < 0)
                abort();
}

/* See the header. */
void event_log_add(struct event_log *l, enum watch_type type, bool is_directory, size_t path,
                   size_t old_path)
{
        if (l->n == l->n_allocated) {
                l->n_allocated = MAX(l->n_allocated * 2, FIRST_ITEMS);
                l->items = xrealloc_array(l->items, l->n_allocated, sizeof(*l->items));
        }
        l->items[l->n++] = (struct logged_event){
                .type = type, .is_directory = is_directory, .path = path, .old_path = old_path
        };
}

/* See the header. */
struct watch_event event_log_get(const struct event_log *l, size_t i)
{
        const struct logged_event *e = &l->items[i];

        return (struct watch_event){
                .type = e->type,
                .is_directory = e->is_directory,
                .path = l->text.data + e->path,
                .old_path = e->type == WATCH_RENAMED ? l->text.data + e->old_path : NULL,
        };
}
