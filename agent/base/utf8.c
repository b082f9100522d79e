/* SPDX-License-Identifier: Apache-2.0 */

/* UTF-8. One state machine, that of the WHATWG encoding standard, does validation and repair
 * alike: it knows how many bytes are still needed and which range the next one must be in; the
 * range is what rules out overlong forms, surrogates and code points over U+10FFFF. */

#include "agent/base/utf8.h"

#include <string.h>

/* Between characters. */
void utf8_decoder_init(struct utf8_decoder *d)
{
        *d = (struct utf8_decoder){ .lower = 0x80, .upper = 0xbf };
}

static enum utf8_step decode_first(struct utf8_decoder *d, uint8_t byte)
{
        if (byte < 0x80) {
                d->codepoint = byte;
                return UTF8_CHAR;
        }
        if (byte < 0xc2 || byte > 0xf4) /* a continuation, an overlong form, or too large */
                return UTF8_BAD;

        if (byte < 0xe0) {
                d->needed = 1;
                d->codepoint = byte & 0x1f;
        } else if (byte < 0xf0) {
                d->needed = 2;
                d->codepoint = byte & 0x0f;
                if (byte == 0xe0)
                        d->lower = 0xa0;
                if (byte == 0xed)
                        d->upper = 0x9f;
        } else {
                d->needed = 3;
                d->codepoint = byte & 0x07;
                if (byte == 0xf0)
                        d->lower = 0x90;
                if (byte == 0xf4)
                        d->upper = 0x8f;
        }
        return UTF8_MORE;
}

/* Feeds one byte. After UTF8_CHAR d->codepoint is the character; at the end of the input a pending
 * decoder means one more U+FFFD. */
enum utf8_step utf8_decode_byte(struct utf8_decoder *d, uint8_t byte)
{
        if (d->needed == 0)
                return decode_first(d, byte);

        if (byte < d->lower || byte > d->upper) {
                utf8_decoder_init(d);
                return UTF8_BROKEN;
        }

        d->lower = 0x80;
        d->upper = 0xbf;
        d->codepoint = (d->codepoint << 6) | (byte & 0x3f);
        d->needed--;
        return d->needed == 0 ? UTF8_CHAR : UTF8_MORE;
}

/* Whether all of @s is well-formed and complete. */
bool utf8_is_valid(const char *s, size_t size)
{
        struct utf8_decoder d;
        size_t i = 0;

        utf8_decoder_init(&d);
        while (i < size) {
                enum utf8_step step;
                uint64_t word;

                /* Eight ASCII bytes at once: most text is nothing else. */
                while (d.needed == 0 && size - i >= sizeof(word)) {
                        memcpy(&word, s + i, sizeof(word));
                        if (word & UINT64_C(0x8080808080808080))
                                break;
                        i += sizeof(word);
                }
                if (i == size)
                        break;

                step = utf8_decode_byte(&d, (uint8_t)s[i++]);
                if (step == UTF8_BAD || step == UTF8_BROKEN)
                        return false;
        }
        return !utf8_decoder_is_pending(&d);
}

/* Leaves an incomplete sequence at the end out, if there is one. Ill-formed bytes are no reason to
 * cut. */
size_t utf8_complete_prefix(const char *s, size_t size)
{
        for (size_t back = 1; back <= 3 && back <= size; back++) {
                struct utf8_decoder d;
                enum utf8_step step = UTF8_MORE;

                if (((uint8_t)s[size - back] & 0xc0) == 0x80)
                        continue; /* a continuation: the beginning is further back */

                utf8_decoder_init(&d);
                for (size_t i = size - back; i < size && step == UTF8_MORE; i++)
                        step = utf8_decode_byte(&d, (uint8_t)s[i]);
                return step == UTF8_MORE ? size - back : size;
        }
        return size;
}

/* See the header. */
void utf8_repair(char *s)
{
        size_t size = utf8_complete_prefix(s, strlen(s));
        size_t to = 0,
               begin = 0; /* of what is written; and in it, of the character that is being read */
        struct utf8_decoder d;

        utf8_decoder_init(&d);
        for (size_t from = 0; from < size;) {
                enum utf8_step step = utf8_decode_byte(&d, (uint8_t)s[from]);

                if (step == UTF8_BROKEN) { /* the byte comes again */
                        s[begin++] = '?';
                        to = begin;
                        continue;
                }
                s[to++] = step == UTF8_BAD ? '?' : s[from];
                from++;
                if (step != UTF8_MORE)
                        begin = to;
        }
        s[to] = '\0';
}
