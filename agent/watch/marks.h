/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the kernel reported since the last look at the disk, for one watch: which names have to be looked at, each
 * once, with everything that was said about it; and which renames happened, in order. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/buf.h"

#define MARKS_N_ORIGINS 16

/* @name is a position in the text; it ends with a NUL. */
struct mark {
        int wd;
        uint32_t mask; /* everything that inotify said about it */
        uint32_t name; /* "" = the directory itself */
        uint32_t hash;
        uint32_t next; /* in the chain of its hash, + 1 */
};

struct hint {
        int from_wd;
        int to_wd;
        uint32_t from; /* names */
        uint32_t to;
};

/* A name that something was moved away from: the other end may be reported later, perhaps after the next look. */
struct origin {
        uint32_t cookie; /* 0: none */
        uint32_t mask;
        int wd;
        char name[256];
};

struct marks {
        struct mark *items;
        size_t n_items;
        uint32_t *buckets;
        size_t n_buckets; /* power of 2, or 0 */
        struct hint *hints;
        size_t n_hints;
        struct buf text;
        bool is_overflown; /* look at everything; there are no items then */
};

struct origins {
        struct origin items[MARKS_N_ORIGINS];
        unsigned next;
};

void marks_init(struct marks *m);
void marks_done(struct marks *m);
bool marks_is_empty(const struct marks *m);

/* Adds one report of inotify. */
void marks_add(struct marks *m, struct origins *o, int wd, uint32_t mask, uint32_t cookie,
               const char *name);
/* Forgets everything: all has to be looked at. */
void marks_overflow(struct marks *m);

static inline const char *marks_name(const struct marks *m, uint32_t name)
{
        return m->text.data + name;
}
