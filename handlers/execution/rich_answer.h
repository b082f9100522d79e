/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an execution displayed, as members of its answer: all of it in "rich_outputs", in order; and the data of the
 * last output of each kind in a member of its own (png, html, json …), which is where clients look for it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "proc/rich.h"

struct buf;
struct document;
struct document_piece;

/* The list's name and brackets, and the members that say what is missing. */
#define RICH_ANSWER_FIXED 128

struct rich_answer {
        const struct rich *rich; /* NULL: there is none, and the list is empty */
        bool has_single[N_RICH_SINGLES];
        struct document_piece *pieces; /* of the list */
        size_t n_pieces;
        uint64_t n_missing; /* outputs that are not in the list */
        bool is_truncated;  /* these, or a member of its own is missing */
        size_t size;        /* bytes that it takes, and at most RICH_ANSWER_FIXED more */
};

/* Chooses what goes into an answer: as much as fits into @max bytes; first the members of their own, because clients
 * read these, then the list. @r may be NULL, and must live until what the answer was added to has been freed. */
void rich_answer_init(struct rich_answer *a, const struct rich *r, size_t max);
void rich_answer_done(struct rich_answer *a);

/* Adds rich_truncated and rich_dropped to @fields if something is missing, here or before. */
void rich_answer_describe(json_t *fields, const struct rich_answer *a);
/* The same at the end of an object that is being written, without its last brace: 0, -ENOMEM. */
int rich_answer_write(struct buf *object, const struct rich_answer *a);
/* Adds the rest. @release(@arg) is called when the texts are not needed any more; may be NULL. */
void rich_answer_add(struct document *d, const struct rich_answer *a, void (*release)(void *arg),
                     void *arg);
