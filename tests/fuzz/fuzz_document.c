/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as program output, cut anywhere, read in slices of any size: the document parses, its
 * text is what a one-shot repair of the joined bytes gives, and its base64 decodes to the bytes
 * themselves.
 *
 * The first four bytes of the input say where to cut and how much to read at a time. */

#include <string.h>

#include <jansson.h>
#include <nettle/base64.h>

#include "agent/base/buf.h"
#include "agent/json/document.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/repair_utf8.h"

#define HEADER_SIZE 4
#define MIN_READ    16

/* Makes up to four pieces, each a copy of its own, so that a sanitizer sees reads over its end. */
static unsigned cut(const uint8_t *cuts, const uint8_t *data, size_t size,
                    struct document_piece pieces[DOCUMENT_MAX_PIECES])
{
        unsigned n = 1 + cuts[0] % DOCUMENT_MAX_PIECES;
        size_t offset = 0;

        for (unsigned i = 0; i < n; i++) {
                size_t left = size - offset;
                size_t length = i + 1 == n ? left : cuts[1 + i % 2] % (left + 1);
                char *copy = malloc(MAX(length, (size_t)1));

                MUST(copy);
                if (length > 0)
                        memcpy(copy, data + offset, length);
                pieces[i] = (struct document_piece){ .data = copy, .size = length };
                offset += length;
        }
        return n;
}

static void count_release(void *arg)
{
        ++*(unsigned *)arg;
}

static void check_text(json_t *json, const uint8_t *data, size_t size)
{
        json_t *text = json_object_get(json, "text");
        char *expected = malloc(3 * size + 1);
        size_t expected_size;

        MUST(expected);
        expected_size = repair_utf8(expected, (const char *)data, size);
        MUST(json_string_length(text) == expected_size);
        MUST(memcmp(json_string_value(text), expected, expected_size) == 0);
        free(expected);
}

static void check_base64(json_t *json, const uint8_t *data, size_t size)
{
        json_t *text = json_object_get(json, "base64");
        size_t length = json_string_length(text), decoded_size = BASE64_DECODE_LENGTH(length);
        uint8_t *decoded = malloc(decoded_size + 1);
        struct base64_decode_ctx ctx;

        MUST(decoded);
        base64_decode_init(&ctx);
        MUST(base64_decode_update(&ctx, &decoded_size, decoded, length, json_string_value(text)));
        MUST(base64_decode_final(&ctx));
        MUST(decoded_size == size);
        MUST(size == 0 || memcmp(decoded, data, size) == 0);
        free(decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct document_piece pieces[DOCUMENT_MAX_PIECES];
        unsigned n_pieces, n_released = 0;
        const uint8_t *header = data;
        struct document *d;
        struct buf encoded;
        size_t read_size;
        json_t *json;

        if (size < HEADER_SIZE)
                return 0;
        data += HEADER_SIZE;
        size -= HEADER_SIZE;
        read_size = MIN_READ + header[3];
        n_pieces = cut(header, data, size, pieces);

        d = document_new(header[3] % 2 ? json_object() : json_pack("{s:i}", "first", 1));
        document_add_text(d, "text", DOCUMENT_UTF8, pieces, n_pieces, count_release, &n_released);
        document_add_text(d, "base64", DOCUMENT_BASE64, pieces, n_pieces, count_release,
                          &n_released);
        MUST(document_text_size(d) == 2 * size);

        buf_init(&encoded, 0);
        for (;;) {
                char *slice = malloc(read_size);
                size_t n;

                MUST(slice);
                n = document_read(d, slice, read_size);
                MUST(n <= read_size);
                MUST(buf_append(&encoded, slice, n) == 0);
                free(slice);
                if (n == 0)
                        break;
        }
        MUST(n_released == 0);
        MUST(!document_free(d));
        MUST(n_released == 2);

        json = json_loadb(encoded.data, encoded.size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
                          NULL);
        MUST(json);
        check_text(json, data, size);
        check_base64(json, data, size);
        MUST(json_object_size(json) == (header[3] % 2 ? 2 : 3));

        json_decref(json);
        buf_done(&encoded);
        for (unsigned i = 0; i < n_pieces; i++)
                free((char *)pieces[i].data);
        return 0;
}
