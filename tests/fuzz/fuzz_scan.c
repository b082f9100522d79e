/* SPDX-License-Identifier: Apache-2.0 */

/* Any text, in pieces of any size: the scanner and the parser agree on what is a JSON object, and where the scanner
 * says that a member is, the parser finds its value.
 *
 * The first byte of the input is the size of a piece. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/json/decode.h"
#include "agent/json/scan.h"
#include "tests/fuzz/fuzz.h"

/* Each piece is a copy of its own, so that a sanitizer sees reads over its end. */
static bool scan(struct json_scan *s, const char *text, size_t size, size_t step)
{
        bool ok = true;

        json_scan_init(s);
        for (size_t i = 0; i < size && ok; i += step) {
                size_t n = size - i < step ? size - i : step;
                char *piece = malloc(n);

                MUST(piece);
                memcpy(piece, text + i, n);
                ok = json_scan_feed(s, piece, n);
                free(piece);
        }
        MUST(ok || !json_scan_is_complete(s));
        return json_scan_is_complete(s);
}

static bool is_blank(const char *text, size_t size)
{
        for (size_t i = 0; i < size; i++)
                if (!strchr(" \t\r\n", text[i]) || !text[i])
                        return false;
        return true;
}

/* What the scanner does not refuse, because it does not decode. */
static bool is_beyond(const json_error_t *e)
{
        return json_error_code(e) == json_error_numeric_overflow ||
               json_error_code(e) == json_error_null_byte_in_key;
}

static void check_member(const json_t *object, bool is_alone, const char *text,
                         const struct json_member *m)
{
        json_error_t error;
        json_t *value = json_loadb(text + m->value.start, m->value.size,
                                   JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

        MUST(value);
        MUST(text[m->key.start - 1] == '"' && text[m->key.start + m->key.size] == '"');
        if (!memchr(text + m->key.start, '\\', m->key.size)) {
                char *key = strndup(text + m->key.start, m->key.size);

                MUST(key);
                /* Unless another one of that name came later. */
                MUST(!is_alone || json_equal(value, json_object_get(object, key)));
                free(key);
        }
        json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *)data + 1;
        struct error err = ERROR_INIT;
        struct json_scan s;
        json_error_t error;
        json_t *object = NULL, *strict = NULL;
        bool is_object;

        if (size < 2)
                return 0;
        size--;
        is_object = scan(&s, text, size, data[0] ? data[0] : 256);
        object = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        MUST(!is_object || json_is_object(object) || (!object && is_beyond(&error)));
        for (unsigned i = 0; is_object && object && i < s.n_members && i < JSON_SCAN_MEMBERS; i++)
                check_member(object, json_object_size(object) == s.n_members, text, &s.members[i]);

        /* The parser does not see a NUL that stands behind a number. */
        if (!is_blank(text, size) && !memchr(text, '\0', size) &&
            json_parse_object(text, size, &strict, &err) == 0)
                MUST(is_object && s.n_members == json_object_size(strict));
        json_decref(strict);
        json_decref(object);
        return 0;
}
