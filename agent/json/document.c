/* SPDX-License-Identifier: Apache-2.0 */

/* A JSON document that is produced while it is read. jansson would hold a checked copy of the
 * text, an escaped copy of that, and the loop for as long as both take; and it has no opinion on
 * bytes that are not UTF-8 but to refuse them. Here the encoder is a cursor over the caller's
 * bytes. It stops wherever the reader's buffer is full and goes on from there, and it knows three
 * things: which part of the document it is in (`stage`), a literal that is still being copied, and
 * the state of the decoder between two bytes.
 *
 * Plain ASCII, which is nearly everything, goes eight bytes at a time; the rest byte by byte
 * through the table and the UTF-8 decoder. */

#include "agent/json/document.h"

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/base64.h>

#include "agent/base/alloc.h"
#include "agent/base/utf8.h"

/* Room for any one step: eight plain bytes at once, a six-byte escape, a replacement, the end of
 * base64. */
#define STEP_SIZE 8

#define MIN_READ 16

struct text {
        char *opening; /* `,"key":"` */
        size_t opening_size;
        enum document_encoding encoding;
        struct document_piece pieces[DOCUMENT_MAX_PIECES];
        unsigned n_pieces;
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
        unsigned i_piece;
        size_t offset; /* in the piece */
        struct utf8_decoder utf8;
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

/* Gives the texts back to their owners. */
struct document *document_free(struct document *d)
{
        if (!d)
                return NULL;

        for (unsigned i = 0; i < d->n_texts; i++) {
                struct text *t = &d->texts[i];

                free(t->opening);
                if (t->release)
                        t->release(t->arg);
        }
        free(d->texts);
        free(d->fields);
        free(d);
        return NULL;
}

/* Adds a text member; only before the first read. @key is a plain word. */
void document_add_text(struct document *d, const char *key, enum document_encoding encoding,
                       const struct document_piece *pieces, unsigned n_pieces,
                       void (*release)(void *arg), void *arg)
{
        struct text *t;

        assert(d->stage == STAGE_FIELDS);
        assert(n_pieces <= DOCUMENT_MAX_PIECES);

        d->texts = xrealloc_array(d->texts, d->n_texts + 1, sizeof(*d->texts));
        t = &d->texts[d->n_texts++];
        *t = (struct text){
                .opening = xasprintf("%s\"%s\":\"", d->is_empty ? "" : ",", key),
                .encoding = encoding,
                .n_pieces = n_pieces,
                .release = release,
                .arg = arg,
        };
        t->opening_size = strlen(t->opening);
        d->is_empty = false;

        for (unsigned i = 0; i < n_pieces; i++) {
                t->pieces[i] = pieces[i];
                d->text_size += pieces[i].size;
        }
}

/* The size of all texts as they came. */
size_t document_text_size(const struct document *d)
{
        return d->text_size;
}

/* How an ASCII byte is written: 0 as it is, 'u' as \u00XX, else a backslash and this letter. */
/* clang-format off */
static const char escapes[128] = {
        [0x00 ... 0x07] = 'u',
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [0x0b] = 'u', ['\f'] = 'f', ['\r'] = 'r',
        [0x0e ... 0x1f] = 'u',
        ['"'] = '"', ['\\'] = '\\',
};
/* clang-format on */

static char *put(char *p, const char *s, size_t size)
{
        memcpy(p, s, size);
        return p + size;
}

#define REPLACEMENT      "\xef\xbf\xbd" /* U+FFFD */
#define REPLACEMENT_SIZE (sizeof(REPLACEMENT) - 1)

static char *put_ascii(char *p, unsigned char c)
{
        static const char digits[] = "0123456789abcdef";

        if (!escapes[c]) {
                *p++ = (char)c;
        } else {
                *p++ = '\\';
                *p++ = escapes[c];
                if (escapes[c] == 'u') {
                        *p++ = '0';
                        *p++ = '0';
                        *p++ = digits[c >> 4];
                        *p++ = digits[c & 15];
                }
        }
        return p;
}

static char *put_codepoint(char *p, uint32_t c)
{
        if (c < 0x80)
                return put_ascii(p, (unsigned char)c);

        if (c < 0x800) {
                *p++ = (char)(0xc0 | c >> 6);
        } else {
                if (c < 0x10000) {
                        *p++ = (char)(0xe0 | c >> 12);
                } else {
                        *p++ = (char)(0xf0 | c >> 18);
                        *p++ = (char)(0x80 | (c >> 12 & 0x3f));
                }
                *p++ = (char)(0x80 | (c >> 6 & 0x3f));
        }
        *p++ = (char)(0x80 | (c & 0x3f));
        return p;
}

#define REPEAT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The number of leading bytes at @s, out of eight, that need no escape and no decoding. Each test
 * sets the top bit of the bytes it is about; a borrow can only set more of them above such a byte,
 * and the lowest one counts. */
static unsigned count_plain(const char *s)
{
        uint64_t word, quotes, backslashes, special;

        memcpy(&word, s, sizeof(word));
        word = le64toh(word); /* the first byte is the lowest */
        quotes = word ^ REPEAT('"');
        backslashes = word ^ REPEAT('\\');

        special = ((quotes - REPEAT(1)) & ~quotes) | ((backslashes - REPEAT(1)) & ~backslashes) |
                  (word - REPEAT(0x20)) | word;
        special &= REPEAT(0x80);
        return special ? (unsigned)__builtin_ctzll(special) / 8 : 8;
}

/* Escapes what is left of @piece, as far as it fits between @p and @end. */
static char *escape_piece(struct document *d, const struct document_piece *piece, char *p,
                          const char *end)
{
        const char *s = piece->data + d->offset;
        const char *s_end = piece->data + piece->size;

        while (s < s_end && end - p >= STEP_SIZE) {
                uint8_t byte;

                if (d->utf8.needed == 0) {
                        if (s_end - s >= 8) {
                                unsigned n = count_plain(s);

                                memcpy(p, s, 8); /* those beyond n are written over */
                                p += n;
                                s += n;
                                if (n > 0)
                                        continue;
                        }
                        if ((uint8_t)*s < 0x80) {
                                p = put_ascii(p, (unsigned char)*s++);
                                continue;
                        }
                }

                byte = (uint8_t)*s++;
                switch (utf8_decode_byte(&d->utf8, byte)) {
                case UTF8_MORE:
                        break;
                case UTF8_CHAR:
                        p = put_codepoint(p, d->utf8.codepoint);
                        break;
                case UTF8_BAD:
                        p = put(p, REPLACEMENT, REPLACEMENT_SIZE);
                        break;
                case UTF8_BROKEN:
                        p = put(p, REPLACEMENT, REPLACEMENT_SIZE);
                        s--; /* the same byte begins something new */
                        break;
                }
        }

        d->offset = (size_t)(s - piece->data);
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

/* Writes what the last bytes of a text still owe. */
static char *finish_text(struct document *d, const struct text *t, char *p)
{
        if (t->encoding == DOCUMENT_BASE64)
                return p + base64_encode_final(&d->base64, p);
        if (utf8_decoder_is_pending(&d->utf8))
                return put(p, REPLACEMENT, REPLACEMENT_SIZE);
        return p;
}

/* Goes on with the current text; moves to the next stage at its end. */
static char *read_text(struct document *d, char *p, const char *end)
{
        const struct text *t = &d->texts[d->i_text];

        while (end - p >= STEP_SIZE) {
                const struct document_piece *piece;

                if (d->i_piece == t->n_pieces) {
                        d->stage = STAGE_CLOSING;
                        return finish_text(d, t, p);
                }
                piece = &t->pieces[d->i_piece];
                if (d->offset == piece->size) {
                        d->i_piece++;
                        d->offset = 0;
                } else if (t->encoding == DOCUMENT_BASE64) {
                        p = encode_piece(d, piece, p, end);
                } else {
                        p = escape_piece(d, piece, p, end);
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
                utf8_decoder_init(&d->utf8);
                base64_encode_init(&d->base64);
                d->stage = STAGE_TEXT;
                break;
        case STAGE_CLOSING:
                set_literal(d, "\"", 1);
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
