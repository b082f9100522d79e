/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An answer that is ready: a status, a few headers, and either bytes or a document that is encoded while it is
 * sent. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct document;

#define REPLY_MAX_HEADERS 8

struct reply {
        bool is_set;
        unsigned status;
        const char *type; /* content type, a constant; NULL: no body */
        char *data;
        size_t size;
        size_t position; /* of reply_read in data */
        struct document *document;
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

/* These set the payload; each takes it. */
void reply_set_bytes(struct reply *r, unsigned status, const char *type, char *data, size_t size);
void reply_set_json(struct reply *r, unsigned status, json_t *body);
/* A small document is flattened to bytes at once. */
void reply_set_document(struct reply *r, unsigned status, struct document *body);

/* Copies the next bytes of the body to @dst; 0 = the end. @size is at least 16. */
size_t reply_read(struct reply *r, char *dst, size_t size);
