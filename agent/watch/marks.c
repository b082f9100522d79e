/* SPDX-License-Identifier: Apache-2.0 */

/* Lives on the loop, and is filled at the speed of the kernel's reports: one look at a hash table each. The marks alone
 * decide what is looked at; the hints only let a rename be told as one, so they may be dropped. */

#include "agent/watch/marks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/watch/hash.h"

#define FIRST_ITEMS ((size_t)64)

/* Allocates nothing yet. */
void marks_init(struct marks *m)
{
        *m = (struct marks){ .n_items = 0 };
        buf_init(&m->text, LIMIT_WATCH_MARKS_TEXT);
}

/* Leaves it empty. */
void marks_done(struct marks *m)
{
        free(m->items);
        free(m->buckets);
        free(m->hints);
        buf_done(&m->text);
        marks_init(m);
}

/* Nothing has to be looked at. */
bool marks_is_empty(const struct marks *m)
{
        return m->n_items == 0 && !m->is_overflown;
}

/* See the header. */
void marks_overflow(struct marks *m)
{
        marks_done(m);
        m->is_overflown = true;
}

static uint32_t *bucket_of(const struct marks *m, uint32_t hash)
{
        return &m->buckets[hash & (m->n_buckets - 1)];
}

/* Room for one more item. The hashes are kept because all watches of one tree may grow in one turn of the loop. */
static void grow(struct marks *m)
{
        size_t n = m->n_buckets == 0 ? FIRST_ITEMS : m->n_buckets * 2;

        if (m->n_items < m->n_buckets)
                return;

        m->items = xrealloc_array(m->items, n, sizeof(*m->items));
        free(m->buckets);
        m->buckets = xcalloc(n, sizeof(*m->buckets));
        m->n_buckets = n;
        for (size_t i = 0; i < m->n_items; i++) {
                uint32_t *bucket = bucket_of(m, m->items[i].hash);

                m->items[i].next = *bucket;
                *bucket = (uint32_t)(i + 1);
        }
}

/* Copies @name with its NUL. */
static int add_text(struct marks *m, const char *name, uint32_t *ret)
{
        size_t at = m->text.size;
        int r;

        r = buf_append(&m->text, name, strlen(name) + 1);
        if (r < 0)
                return r;
        *ret = (uint32_t)at;
        return 0;
}

/* The mark of the name, which is made if it is new; NULL: there is no room, and everything is forgotten. */
static struct mark *get(struct marks *m, int wd, const char *name)
{
        uint32_t hash = (uint32_t)hash_name(hash_secret(), (uint64_t)wd, name, strlen(name));
        struct mark *mark;
        uint32_t *bucket;

        grow(m);
        bucket = bucket_of(m, hash);
        for (uint32_t i = *bucket; i > 0; i = mark->next) {
                mark = &m->items[i - 1];
                if (mark->hash == hash && mark->wd == wd &&
                    strcmp(marks_name(m, mark->name), name) == 0)
                        return mark;
        }

        mark = &m->items[m->n_items];
        *mark = (struct mark){ .wd = wd, .hash = hash, .next = *bucket };
        if (m->n_items == LIMIT_WATCH_MARKS || add_text(m, name, &mark->name) < 0) {
                marks_overflow(m);
                return NULL;
        }
        *bucket = (uint32_t)++m->n_items;
        return mark;
}

static struct origin *find_origin(struct origins *o, uint32_t cookie)
{
        for (size_t i = 0; i < ARRAY_LEN(o->items); i++)
                if (o->items[i].cookie == cookie)
                        return &o->items[i];
        return NULL;
}

static void add_hint(struct marks *m, const struct origin *origin, const struct mark *to)
{
        struct hint hint = { .from_wd = origin->wd, .to_wd = to->wd, .to = to->name };

        if (m->n_hints == LIMIT_WATCH_RENAMES || add_text(m, origin->name, &hint.from) < 0)
                return;
        if ((m->n_hints & (m->n_hints - 1)) == 0)
                m->hints = xrealloc_array(m->hints, MAX(m->n_hints * 2, (size_t)1), sizeof(hint));
        m->hints[m->n_hints++] = hint;
}

/* See the header. When everything is forgotten, what comes after that is too: the look is still to come. */
void marks_add(struct marks *m, struct origins *o, int wd, uint32_t mask, uint32_t cookie,
               const char *name)
{
        struct origin *origin = NULL;
        struct mark *mark;

        if (m->is_overflown)
                return;
        mark = get(m, wd, name);
        if (!mark)
                return;
        mark->mask |= mask;

        if (mask & IN_MOVED_FROM) {
                origin = &o->items[o->next++ % MARKS_N_ORIGINS];
                origin->cookie = cookie;
                origin->wd = wd;
                origin->mask = mark->mask;
                (void)snprintf(origin->name, sizeof(origin->name), "%s", name);
        } else if ((mask & IN_MOVED_TO) && cookie != 0) {
                origin = find_origin(o, cookie);
        }
        if (origin && (mask & IN_MOVED_TO)) {
                /* What was written under the old name is found under the new one. */
                mark->mask |= origin->mask & IN_MODIFY;
                add_hint(m, origin, mark);
                origin->cookie = 0;
        }
}
