/* SPDX-License-Identifier: Apache-2.0 */

/* The strictness about base64 is not pedantry: with one spelling per token, a changed character is always a changed
 * token. nettle's decoder would skip white space and ignore the unused bits of the last character. */

#include "agent/auth_jose.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "agent/base/limits.h"

static int sextet(char ch)
{
        if (ch >= 'A' && ch <= 'Z')
                return ch - 'A';
        if (ch >= 'a' && ch <= 'z')
                return ch - 'a' + 26;
        if (ch >= '0' && ch <= '9')
                return ch - '0' + 52;
        return ch == '-' ? 62 : ch == '_' ? 63 : -1;
}

/* @dst has room for 3/4 of @size. */
static int decode_base64url(const char *s, size_t size, char *dst, size_t *ret_size)
{
        uint32_t bits = 0;
        unsigned n_bits = 0;
        size_t n = 0;

        if (size % 4 == 1)
                return -EINVAL;
        for (size_t i = 0; i < size; i++) {
                int value = sextet(s[i]);

                if (value < 0)
                        return -EINVAL;
                bits = bits << 6 | (uint32_t)value;
                n_bits += 6;
                if (n_bits >= 8) {
                        n_bits -= 8;
                        dst[n++] = (char)(bits >> n_bits);
                        bits &= (1u << n_bits) - 1;
                }
        }
        if (bits != 0)
                return -EINVAL;
        *ret_size = n;
        return 0;
}

/* Exactly three segments, none of them empty. */
int jose_split(const char *token, struct jose_segment ret[3])
{
        for (int i = 0; i < 3; i++) {
                ret[i].data = token;
                ret[i].size = strcspn(token, ".");
                token += ret[i].size;
                if (ret[i].size == 0 || (*token == '.') != (i < 2))
                        return -EINVAL;
                token += i < 2;
        }
        return 0;
}

/* Without padding, and with unused bits that are zero. */
bool jose_is_base64url(const struct jose_segment *s)
{
        char data[LIMIT_TOKEN_BYTES];
        size_t size;

        return s->size <= LIMIT_TOKEN_BYTES && decode_base64url(s->data, s->size, data, &size) == 0;
}

/* NULL unless the segment is well-formed and a JSON object without duplicate keys. */
json_t *jose_decode_object(const struct jose_segment *s)
{
        char text[LIMIT_TOKEN_BYTES];
        json_t *object;
        size_t size;

        if (s->size > LIMIT_TOKEN_BYTES || decode_base64url(s->data, s->size, text, &size) < 0)
                return NULL;
        object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(object)) {
                json_decref(object);
                return NULL;
        }
        return object;
}
