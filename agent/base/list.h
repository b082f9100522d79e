/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An intrusive, circular, doubly linked list. The list head and each element embed a struct list;
 * an element that is on no list points at itself. */

#include <stdbool.h>

#include "agent/base/macros.h"

struct list {
        struct list *next;
        struct list *prev;
};

#define LIST_INIT(name)                          \
        {                                        \
                .next = &(name), .prev = &(name) \
        }

static inline void list_init(struct list *l)
{
        l->next = l;
        l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
        return l->next == l;
}

/* Links @item in front of @where; with the head as @where that is the end of the list. */
static inline void list_insert_before(struct list *where, struct list *item)
{
        item->prev = where->prev;
        item->next = where;
        where->prev->next = item;
        where->prev = item;
}

static inline void list_append(struct list *head, struct list *item)
{
        list_insert_before(head, item);
}

/* Unlinks @item; harmless when it is on no list. */
static inline void list_remove(struct list *item)
{
        item->prev->next = item->next;
        item->next->prev = item->prev;
        list_init(item);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)

#define list_for_each(pos, head) \
        for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* The body may unlink @pos, but no other element. */
#define list_for_each_safe(pos, head)                                                 \
        for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head); \
             pos = pos##_next, pos##_next = pos->next)
