/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The tree that a watch remembers. An entry is any name, a folder what a directory has besides. Nothing here looks at
 * the disk. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/buf.h"
#include "agent/base/list.h"

struct slot;

struct entry {
        struct folder *parent; /* NULL: the root */
        struct folder *folder; /* NULL: no directory */
        struct entry *next;    /* in the chain of its hash */
        struct list siblings;
        char *name;
        uint64_t inode;
        uint64_t stamp; /* of what "modified" means; see look.c */
};

struct folder {
        struct entry *self;
        struct list children;
        struct folder *next; /* in the chain of its watch descriptor */
        int wd;              /* -1: not watched */
        dev_t device;

        /* What is still to be done with it; see pass.h. */
        struct list queue;
        struct list absent_queue;
        struct list later_queue;
        struct slot *slots;
        struct slot *absent;
        struct slot *later;
        bool wants_watch;
        bool wants_scan;
};

/* A name to be looked at. */
struct slot {
        struct slot *next;
        uint32_t mask; /* what inotify said about it, and SLOT_SCANNED */
        uint8_t n_tries;
        char name[];
};

struct mirror {
        struct entry *root;
        char *root_path; /* "" for "/" */
        size_t n_entries;
        size_t n_folders;
        struct entry **entries;
        size_t n_entry_buckets;
        struct folder **folders; /* those that are watched */
        size_t n_folder_buckets;
        size_t n_watched;
};

/* Of all mirrors in the process; the counts may be a moment old. */
size_t mirror_all_entries(void);
size_t mirror_all_watched(void);

void mirror_init(struct mirror *m, const char *root_path);
void mirror_done(struct mirror *m);

struct entry *mirror_find(const struct mirror *m, const struct folder *parent, const char *name);
struct folder *mirror_find_watched(const struct mirror *m, int wd);

/* The name must be free. */
struct entry *mirror_add(struct mirror *m, struct folder *parent, const char *name,
                         bool is_directory);
/* @e must have no children, and not be the root. */
void mirror_remove(struct mirror *m, struct entry *e);
/* The name must be free, and @parent not below @e. */
void mirror_move(struct mirror *m, struct entry *e, struct folder *parent, const char *name);
/* @wd must be nobody's; -1: none. */
void mirror_set_watched(struct mirror *m, struct folder *f, int wd);

/* @f is @e, or below it. */
bool mirror_is_below(const struct folder *f, const struct entry *e);
/* The next entry of the tree below @top, parents first; NULL at the end. Starts with @top. */
struct entry *mirror_next(const struct entry *e, const struct entry *top);

/* Appends the absolute path; with @name, that of a name in the directory @e. */
void mirror_append_path(const struct mirror *m, const struct entry *e, const char *name,
                        struct buf *ret);

/* Puts a name on the list @to of slots. */
void slot_push(struct slot **to, const char *name, uint32_t mask, unsigned n_tries);
struct slot *slot_pop(struct slot **from);
void slots_free(struct slot **slots);
