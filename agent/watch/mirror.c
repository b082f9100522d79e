/* SPDX-License-Identifier: Apache-2.0 */

/* Two hash tables: entries by parent and name, watched folders by descriptor. Paths are put together from the names, so
 * that a directory's rename costs the same whatever is below it. */

#include "agent/watch/mirror.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/watch/hash.h"

#define FIRST_BUCKETS ((size_t)64)

/* Each mirror has its own thread at a time; these are for all. */
static atomic_size_t all_entries;
static atomic_size_t all_watched;

/* See the header. */
size_t mirror_all_entries(void)
{
        return atomic_load_explicit(&all_entries, memory_order_relaxed);
}

/* See the header. */
size_t mirror_all_watched(void)
{
        return atomic_load_explicit(&all_watched, memory_order_relaxed);
}

static void count(atomic_size_t *all, size_t *own, bool is_more)
{
        if (is_more) {
                ++*own;
                (void)atomic_fetch_add_explicit(all, 1, memory_order_relaxed);
        } else {
                --*own;
                (void)atomic_fetch_sub_explicit(all, 1, memory_order_relaxed);
        }
}

static struct entry **entry_chain(const struct mirror *m, const struct folder *parent,
                                  const char *name)
{
        uint64_t h = hash_name(hash_secret(), (uint64_t)(uintptr_t)parent, name, strlen(name));

        return &m->entries[(size_t)h & (m->n_entry_buckets - 1)];
}

static struct folder **folder_chain(const struct mirror *m, int wd)
{
        return &m->folders[(size_t)hash_mix(hash_secret(), (uint64_t)wd) &
                           (m->n_folder_buckets - 1)];
}

static struct entry *entry_new(struct folder *parent, const char *name, bool is_directory)
{
        struct entry *e = xnew(struct entry);

        e->parent = parent;
        e->name = xstrdup(name);
        list_init(&e->siblings);
        if (is_directory) {
                e->folder = xnew(struct folder);
                e->folder->self = e;
                e->folder->wd = -1;
                list_init(&e->folder->children);
                list_init(&e->folder->queue);
                list_init(&e->folder->absent_queue);
                list_init(&e->folder->later_queue);
        }
        return e;
}

static void entry_free(struct entry *e)
{
        if (e->folder) {
                slots_free(&e->folder->slots);
                slots_free(&e->folder->absent);
                slots_free(&e->folder->later);
                list_remove(&e->folder->queue);
                list_remove(&e->folder->absent_queue);
                list_remove(&e->folder->later_queue);
                free(e->folder);
        }
        free(e->name);
        free(e);
}

/* A tree of nothing but its root, which is a directory. */
void mirror_init(struct mirror *m, const char *root_path)
{
        *m = (struct mirror){ .n_entry_buckets = FIRST_BUCKETS, .n_folder_buckets = FIRST_BUCKETS };
        m->root_path = xstrdup(strcmp(root_path, "/") == 0 ? "" : root_path);
        m->entries = xcalloc(m->n_entry_buckets, sizeof(struct entry *));
        m->folders = xcalloc(m->n_folder_buckets, sizeof(struct folder *));
        m->root = entry_new(NULL, "", true);
        m->n_folders = 1;
}

/* Frees all entries: leaves first, so that the way up is still there. */
void mirror_done(struct mirror *m)
{
        struct entry *e = m->root;

        while (e) {
                struct folder *parent = e->parent;

                if (e->folder && !list_is_empty(&e->folder->children)) {
                        e = list_entry(e->folder->children.next, struct entry, siblings);
                        continue;
                }
                list_remove(&e->siblings);
                entry_free(e);
                e = parent ? parent->self : NULL;
        }
        (void)atomic_fetch_sub_explicit(&all_entries, m->n_entries, memory_order_relaxed);
        (void)atomic_fetch_sub_explicit(&all_watched, m->n_watched, memory_order_relaxed);
        free(m->entries);
        free(m->folders);
        free(m->root_path);
        *m = (struct mirror){ .root = NULL };
}

/* NULL: there is no such name. */
struct entry *mirror_find(const struct mirror *m, const struct folder *parent, const char *name)
{
        struct entry *e = *entry_chain(m, parent, name);

        while (e && (e->parent != parent || strcmp(e->name, name) != 0))
                e = e->next;
        return e;
}

/* NULL: nobody has the descriptor. */
struct folder *mirror_find_watched(const struct mirror *m, int wd)
{
        struct folder *f = *folder_chain(m, wd);

        while (f && f->wd != wd)
                f = f->next;
        return f;
}

static void entry_link(struct mirror *m, struct entry *e)
{
        struct entry **chain = entry_chain(m, e->parent, e->name);

        e->next = *chain;
        *chain = e;
        list_append(&e->parent->children, &e->siblings);
}

static void entry_unlink(struct mirror *m, struct entry *e)
{
        struct entry **chain = entry_chain(m, e->parent, e->name);

        while (*chain != e)
                chain = &(*chain)->next;
        *chain = e->next;
        list_remove(&e->siblings);
}

static void grow_entries(struct mirror *m)
{
        struct entry **old = m->entries;
        size_t n_old = m->n_entry_buckets;

        m->n_entry_buckets *= 2;
        m->entries = xcalloc(m->n_entry_buckets, sizeof(struct entry *));
        for (size_t i = 0; i < n_old; i++) {
                for (struct entry *e = old[i], *next; e; e = next) {
                        struct entry **chain = entry_chain(m, e->parent, e->name);

                        next = e->next;
                        e->next = *chain;
                        *chain = e;
                }
        }
        free(old);
}

static void grow_folders(struct mirror *m)
{
        struct folder **old = m->folders;
        size_t n_old = m->n_folder_buckets;

        m->n_folder_buckets *= 2;
        m->folders = xcalloc(m->n_folder_buckets, sizeof(struct folder *));
        for (size_t i = 0; i < n_old; i++) {
                for (struct folder *f = old[i], *next; f; f = next) {
                        struct folder **chain = folder_chain(m, f->wd);

                        next = f->next;
                        f->next = *chain;
                        *chain = f;
                }
        }
        free(old);
}

/* See the header. */
struct entry *mirror_add(struct mirror *m, struct folder *parent, const char *name,
                         bool is_directory)
{
        struct entry *e = entry_new(parent, name, is_directory);

        assert(!mirror_find(m, parent, name));
        count(&all_entries, &m->n_entries, true);
        if (m->n_entries > m->n_entry_buckets)
                grow_entries(m);
        if (is_directory)
                m->n_folders++;
        entry_link(m, e);
        return e;
}

/* See the header. Its watch is forgotten too. */
void mirror_remove(struct mirror *m, struct entry *e)
{
        assert(e != m->root);
        if (e->folder) {
                assert(list_is_empty(&e->folder->children));
                mirror_set_watched(m, e->folder, -1);
                m->n_folders--;
        }
        entry_unlink(m, e);
        count(&all_entries, &m->n_entries, false);
        entry_free(e);
}

/* See the header. */
void mirror_move(struct mirror *m, struct entry *e, struct folder *parent, const char *name)
{
        char *new_name = xstrdup(name);

        assert(!mirror_find(m, parent, name) && !mirror_is_below(parent, e));
        entry_unlink(m, e);
        free(e->name);
        e->name = new_name;
        e->parent = parent;
        entry_link(m, e);
}

/* See the header. */
void mirror_set_watched(struct mirror *m, struct folder *f, int wd)
{
        struct folder **chain;

        if (f->wd >= 0) {
                chain = folder_chain(m, f->wd);
                while (*chain != f)
                        chain = &(*chain)->next;
                *chain = f->next;
                count(&all_watched, &m->n_watched, false);
        }
        f->wd = wd;
        if (wd >= 0) {
                assert(!mirror_find_watched(m, wd));
                count(&all_watched, &m->n_watched, true);
                if (m->n_watched > m->n_folder_buckets)
                        grow_folders(m);
                chain = folder_chain(m, wd);
                f->next = *chain;
                *chain = f;
        }
}

/* See the header. */
bool mirror_is_below(const struct folder *f, const struct entry *e)
{
        while (f && f->self != e)
                f = f->self->parent;
        return f != NULL;
}

/* See the header. */
struct entry *mirror_next(const struct entry *e, const struct entry *top)
{
        if (e->folder && !list_is_empty(&e->folder->children))
                return list_entry(e->folder->children.next, struct entry, siblings);
        while (e != top && e->siblings.next == &e->parent->children)
                e = e->parent->self;
        if (e == top)
                return NULL;
        return list_entry(e->siblings.next, struct entry, siblings);
}

/* See the header. Sizes first, then the names from the end. Aborts without memory, like the small allocations: the
 * caller bounds the number of paths. */
void mirror_append_path(const struct mirror *m, const struct entry *e, const char *name,
                        struct buf *ret)
{
        size_t root_size = strlen(m->root_path), size = root_size, name_size;
        char *end;

        if (name)
                size += 1 + strlen(name);
        for (const struct entry *i = e; i->parent; i = i->parent->self)
                size += 1 + strlen(i->name);

        if (buf_reserve(ret, size) < 0)
                abort();
        end = ret->data + ret->size + size;
        *end = '\0';
        if (name) {
                name_size = strlen(name);
                end -= name_size;
                memcpy(end, name, name_size);
                *--end = '/';
        }
        for (const struct entry *i = e; i->parent; i = i->parent->self) {
                name_size = strlen(i->name);
                end -= name_size;
                memcpy(end, i->name, name_size);
                *--end = '/';
        }
        memcpy(ret->data + ret->size, m->root_path, root_size);
        ret->size += size;
}

/* See the header. */
void slot_push(struct slot **to, const char *name, uint32_t mask, unsigned n_tries)
{
        size_t size = strlen(name) + 1;
        struct slot *slot = xcalloc(1, sizeof(*slot) + size);

        slot->mask = mask;
        slot->n_tries = (uint8_t)n_tries;
        memcpy(slot->name, name, size);
        slot->next = *to;
        *to = slot;
}

/* NULL when there is none; else it is the caller's, to be freed with free. */
struct slot *slot_pop(struct slot **from)
{
        struct slot *slot = *from;

        if (slot)
                *from = slot->next;
        return slot;
}

/* Leaves the list empty. */
void slots_free(struct slot **slots)
{
        struct slot *slot;

        while ((slot = slot_pop(slots)))
                free(slot);
}
