/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A JSON object whose large text members are escaped in slices while they are sent, so that tens of
 * megabytes of program output neither exist twice nor hold the loop.
 *
 * Output text is arbitrary bytes. In DOCUMENT_UTF8 ill-formed UTF-8 becomes U+FFFD (a sequence split over two
 * pieces counts as one), control characters are escaped; in DOCUMENT_BASE64 the bytes are exact. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

enum document_encoding { DOCUMENT_UTF8, DOCUMENT_BASE64 };

struct document_piece {
        const char *data;
        size_t size;
};

#define DOCUMENT_MAX_PIECES 6

struct document;

/* @fields (an object, small) comes first, in its order; takes it. */
struct document *document_new(json_t *fields);
/* The same from the text of an object, without white space around it; takes it (from malloc). */
struct document *document_new_text(char *object, size_t size);
/* Frees the document and calls the release function of every text. NULL is fine. */
struct document *document_free(struct document *d);

/* Appends the member "@key": "<the pieces, joined>". The bytes stay the caller's until @release(@arg) is
 * called by document_free. @release may be NULL. */
void document_add_text(struct document *d, const char *key, enum document_encoding encoding,
                       const struct document_piece *pieces, unsigned n_pieces,
                       void (*release)(void *arg), void *arg);

/* Appends members that are JSON already, @size bytes such as `"a":1,"b":"x"`; at least one. @release as above. */
void document_add_members(struct document *d, const char *members, size_t size,
                          void (*release)(void *arg), void *arg);

/* Appends the member "@key": and the pieces (one or more), which together are the text of one JSON value. They are
 * passed on as they are. Otherwise as document_add_text. */
void document_add_json(struct document *d, const char *key, const struct document_piece *pieces,
                       size_t n_pieces, void (*release)(void *arg), void *arg);

/* Copies the next bytes of the encoded document to @dst; 0 = the end. @size must be at least 16. Never works
 * on more than @size bytes of output, so it takes microseconds for 64 KiB. */
size_t document_read(struct document *d, char *dst, size_t size);

/* The bytes of text that were added, before encoding. */
size_t document_text_size(const struct document *d);
