/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An answer that is ready: a status, a few headers, and either bytes or a document that is encoded while it is
 * sent. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct document;
struct reply_bytes;

#define REPLY_MAX_HEADERS 12

struct reply {
        bool is_set;
        unsigned status;
        const char *type; /* content type, a constant; NULL: no body */
        char *data;
        size_t size;
        size_t position;            /* of reply_read in data */
        struct reply_bytes *shared; /* owns data, for several answers; NULL: data is this one's */
        struct document *document;  /* comes after data */
        struct {
                const char *name;
                char *value;
        } headers[REPLY_MAX_HEADERS];
        unsigned n_headers;
};

/* Frees everything and leaves an empty answer. */
void reply_done(struct reply *r);

/* @name is a constant; @value is copied. */
void reply_add_header(struct reply *r, const char *name, const char *value);

/* Copies all headers of @from. */
void reply_add_headers(struct reply *r, const struct reply *from);

/* These set the payload; each takes it. */
void reply_set_bytes(struct reply *r, unsigned status, const char *type, char *data, size_t size);
void reply_set_json(struct reply *r, unsigned status, json_t *body);
/* A small document is flattened to bytes at once. */
void reply_set_document(struct reply *r, unsigned status, struct document *body);
/* The first @size bytes of @body's text were read already, and are @head; takes both. */
void reply_set_begun_document(struct reply *r, unsigned status, char *head, size_t size,
                              struct document *body);

/* @to gets what @from has: the same status and bytes, not a copy of them, and copies of the headers in addition to its
 * own. @from must be set, and not be a document. */
void reply_share(struct reply *from, struct reply *to);

/* Shared bytes live as long as the last answer that has them, or reference. */
struct reply_bytes *reply_bytes_ref(struct reply_bytes *b);
struct reply_bytes *reply_bytes_unref(struct reply_bytes *b); /* returns NULL */

/* Copies the next bytes of the body to @dst; 0 = the end. @size is at least 16. */
size_t reply_read(struct reply *r, char *dst, size_t size);
