/* SPDX-License-Identifier: Apache-2.0 */

/* The escaper. Plain ASCII, which is nearly everything, goes eight bytes at a time; the rest byte
 * by byte through the table and the UTF-8 decoder.
 *
 * Room is looked at before each byte. A sequence writes nothing until it is complete or broken, so
 * the room that there was for its first byte is still there for its last; that is why it is never
 * left half done for want of room. The byte that breaks a sequence is looked at again, as any
 * other, after the replacement is written: the two need not fit together. */

#include "agent/json/escape.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "agent/json/plain.h"

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

/* Between two characters. */
void json_escape_init(struct json_escaper *e)
{
        utf8_decoder_init(&e->utf8);
}

/* Escapes the next bytes. */
size_t json_escape(struct json_escaper *e, const char *src, size_t size, size_t *ret_taken,
                   char *dst, size_t dst_size)
{
        struct utf8_decoder utf8 = e->utf8; /* a copy, which dst cannot alias */
        const char *s = src;
        const char *s_end = src + size;
        char *p = dst;
        const char *end = dst + dst_size;

        assert(dst_size >= JSON_ESCAPE_STEP);

        while (s < s_end && end - p >= JSON_ESCAPE_STEP) {
                uint8_t byte;

                if (utf8.needed == 0) {
                        if (s_end - s >= 8) {
                                unsigned n = json_count_plain(s);

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
                switch (utf8_decode_byte(&utf8, byte)) {
                case UTF8_MORE:
                        break;
                case UTF8_CHAR:
                        p = put_codepoint(p, utf8.codepoint);
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

        e->utf8 = utf8;
        *ret_taken = (size_t)(s - src);
        return (size_t)(p - dst);
}

/* Ends the string. */
size_t json_escape_finish(struct json_escaper *e, char *dst)
{
        if (!utf8_decoder_is_pending(&e->utf8))
                return 0;

        utf8_decoder_init(&e->utf8);
        return (size_t)(put(dst, REPLACEMENT, REPLACEMENT_SIZE) - dst);
}
