/* SPDX-License-Identifier: Apache-2.0 */

/* A JSON document that is produced while it is read. jansson would hold a checked copy of the
 * text, an escaped copy of that, and the loop for as long as both take; and it has no opinion on
 * bytes that are not UTF-8 but to refuse them. Here the encoder is a cursor over the caller's
 * bytes. It stops wherever the reader's buffer is full and goes on from there, and it knows three
 * things: which part of the document it is in (`stage`), a literal that is still being copied, and
 * the state of the escaper between two bytes. */

#include "agent/json/document.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>

#include "agent/base/alloc.h"
#include "agent/json/escape.h"

/* Room for any one step: of the escaper, or the end of either encoding. */
#define STEP_SIZE JSON_ESCAPE_STEP

#define MIN_READ 16

struct text {
        char *opening; /* `,"key":"`, or `,"key":` before JSON */
        size_t opening_size;
        bool is_json;
        enum document_encoding encoding;
        struct document_piece *pieces;
        size_t n_pieces;
        void (*release)(void *arg);
        void *arg;
};

enum stage {
        STAGE_FIELDS,  /* the fields, without the closing brace */
        STAGE_OPENING, /* of texts[i_text], or the closing brace when there is none */
        STAGE_TEXT,
        STAGE_CLOSING,
        STAGE_END,
};

struct document {
        char *fields;
        size_t fields_size;
        bool is_empty; /* no member yet: the next one needs no comma */

        struct text *texts;
        unsigned n_texts;
        size_t text_size;

        enum stage stage; /* what comes after the literal */
        const char *literal;
        size_t literal_size;
        unsigned i_text;
        size_t i_piece;
        size_t offset; /* in the piece */
        struct json_escaper escaper;
        struct base64_encode_ctx base64;
};

/* Builds the document's fixed part. Reals are written with 15 digits, so that 0.1 stays 0.1. */
struct document *document_new(json_t *fields)
{
        struct document *d = xnew(struct document);

        assert(json_is_object(fields));

        d->is_empty = json_object_size(fields) == 0;
        d->fields = json_dumps(fields, JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (!d->fields) /* no memory: jansson refused ill-formed strings when they were made */
                abort();
        d->fields_size = strlen(d->fields) - 1;
        json_decref(fields);
        return d;
}

/* Likewise, when it is text already. */
struct document *document_new_text(char *object, size_t size)
{
        struct document *d = xnew(struct document);

        assert(size >= 2 && object[0] == '{' && object[size - 1] == '}');
        d->is_empty = size == 2;
        d->fields = object;
        d->fields_size = size - 1;
        return d;
}

/* Gives the texts back to their owners. */
struct document *document_free(struct document *d)
{
        if (!d)
                return NULL;

        for (unsigned i = 0; i < d->n_texts; i++) {
                struct text *t = &d->texts[i];

                free(t->opening);
                free(t->pieces);
                if (t->release)
                        t->release(t->arg);
        }
        free(d->texts);
        free(d->fields);
        free(d);
        return NULL;
}

/* Only before the first read. */
static struct text *add_member(struct document *d, const char *key, bool is_json,
                               const struct document_piece *pieces, size_t n_pieces)
{
        struct text *t;

        assert(d->stage == STAGE_FIELDS);

        d->texts = xrealloc_array(d->texts, d->n_texts + 1, sizeof(*d->texts));
        t = &d->texts[d->n_texts++];
        *t = (struct text){
                .opening = xasprintf("%s\"%s\":%s", d->is_empty ? "" : ",", key,
                                     is_json ? "" : "\""),
                .is_json = is_json,
                .pieces = xcalloc(MAX(n_pieces, (size_t)1), sizeof(*pieces)),
                .n_pieces = n_pieces,
        };
        t->opening_size = strlen(t->opening);
        d->is_empty = false;

        for (size_t i = 0; i < n_pieces; i++) {
                t->pieces[i] = pieces[i];
                d->text_size += pieces[i].size;
        }
        return t;
}

/* Adds a text member; only before the first read. @key is a plain word. */
void document_add_text(struct document *d, const char *key, enum document_encoding encoding,
                       const struct document_piece *pieces, unsigned n_pieces,
                       void (*release)(void *arg), void *arg)
{
        struct text *t = add_member(d, key, false, pieces, n_pieces);

        assert(n_pieces <= DOCUMENT_MAX_PIECES);
        t->encoding = encoding;
        t->release = release;
        t->arg = arg;
}

/* Adds a member that is JSON already; only before the first read. */
void document_add_json(struct document *d, const char *key, const struct document_piece *pieces,
                       size_t n_pieces, void (*release)(void *arg), void *arg)
{
        struct text *t = add_member(d, key, true, pieces, n_pieces);

        assert(n_pieces > 0);
        t->release = release;
        t->arg = arg;
}

/* Adds members as they are; only before the first read. */
void document_add_members(struct document *d, const char *members, size_t size,
                          void (*release)(void *arg), void *arg)
{
        struct document_piece piece = { members, size };
        bool is_first = d->is_empty;
        struct text *t = add_member(d, "", true, &piece, 1);

        t->opening_size = is_first ? 0 : 1; /* the comma */
        t->release = release;
        t->arg = arg;
}

/* The size of all texts as they came. */
size_t document_text_size(const struct document *d)
{
        return d->text_size;
}

static char *put(char *p, const char *s, size_t size)
{
        memcpy(p, s, size);
        return p + size;
}

/* Escapes what is left of @piece, as far as it fits between @p and @end. */
static char *escape_piece(struct document *d, const struct document_piece *piece, char *p,
                          const char *end)
{
        size_t taken;

        p += json_escape(&d->escaper, piece->data + d->offset, piece->size - d->offset, &taken, p,
                         (size_t)(end - p));
        d->offset += taken;
        return p;
}

static char *encode_piece(struct document *d, const struct document_piece *piece, char *p,
                          const char *end)
{
        size_t room = (size_t)(end - p);
        size_t n = MIN(piece->size - d->offset, (room * 6 - 4) / 8); /* room >= STEP_SIZE */

        p += base64_encode_update(&d->base64, p, n, (const uint8_t *)piece->data + d->offset);
        d->offset += n;
        return p;
}

static char *copy_piece(struct document *d, const struct document_piece *piece, char *p,
                        const char *end)
{
        size_t n = MIN(piece->size - d->offset, (size_t)(end - p));

        d->offset += n;
        return put(p, piece->data + d->offset - n, n);
}

static char *read_piece(struct document *d, const struct text *t, char *p, const char *end)
{
        const struct document_piece *piece = &t->pieces[d->i_piece];

        if (t->is_json)
                return copy_piece(d, piece, p, end);
        if (t->encoding == DOCUMENT_BASE64)
                return encode_piece(d, piece, p, end);
        return escape_piece(d, piece, p, end);
}

/* Writes what the last bytes of a text still owe. */
static char *finish_text(struct document *d, const struct text *t, char *p)
{
        if (t->is_json)
                return p;
        if (t->encoding == DOCUMENT_BASE64)
                return p + base64_encode_final(&d->base64, p);
        return p + json_escape_finish(&d->escaper, p);
}

/* Goes on with the current text; moves to the next stage at its end. */
static char *read_text(struct document *d, char *p, const char *end)
{
        const struct text *t = &d->texts[d->i_text];

        while (end - p >= STEP_SIZE) {
                if (d->i_piece == t->n_pieces) {
                        d->stage = STAGE_CLOSING;
                        return finish_text(d, t, p);
                }
                if (d->offset < t->pieces[d->i_piece].size) {
                        p = read_piece(d, t, p, end);
                } else {
                        d->i_piece++;
                        d->offset = 0;
                }
        }
        return p;
}

static void set_literal(struct document *d, const char *s, size_t size)
{
        d->literal = s;
        d->literal_size = size;
}

/* Chooses the next literal. */
static void next_stage(struct document *d)
{
        switch (d->stage) {
        case STAGE_FIELDS:
                set_literal(d, d->fields, d->fields_size);
                d->stage = STAGE_OPENING;
                break;
        case STAGE_OPENING:
                if (d->i_text == d->n_texts) {
                        set_literal(d, "}", 1);
                        d->stage = STAGE_END;
                        break;
                }
                set_literal(d, d->texts[d->i_text].opening, d->texts[d->i_text].opening_size);
                d->i_piece = 0;
                d->offset = 0;
                json_escape_init(&d->escaper);
                base64_encode_init(&d->base64);
                d->stage = STAGE_TEXT;
                break;
        case STAGE_CLOSING:
                set_literal(d, "\"", d->texts[d->i_text].is_json ? 0 : 1);
                d->i_text++;
                d->stage = STAGE_OPENING;
                break;
        case STAGE_TEXT:
        case STAGE_END:
                break;
        }
}

/* Produces the next bytes. Less than @size does not mean the end; 0 does. */
size_t document_read(struct document *d, char *dst, size_t size)
{
        char *end = dst + size;
        char *p = dst;

        assert(size >= MIN_READ);

        while (p < end) {
                if (d->literal_size > 0) {
                        size_t n = MIN(d->literal_size, (size_t)(end - p));

                        p = put(p, d->literal, n);
                        set_literal(d, d->literal + n, d->literal_size - n);
                } else if (d->stage == STAGE_TEXT) {
                        if (end - p < STEP_SIZE)
                                break; /* the next read has more room */
                        p = read_text(d, p, end);
                } else if (d->stage == STAGE_END) {
                        break;
                } else {
                        next_stage(d);
                }
        }
        return (size_t)(p - dst);
}
