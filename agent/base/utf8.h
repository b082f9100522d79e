/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing over U+10FFFF. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const char *s, size_t size);

/* A decoder that is fed byte by byte and repairs as WHATWG's does: each maximal prefix of an ill-formed
 * sequence becomes one U+FFFD. */
struct utf8_decoder {
        uint32_t codepoint;
        uint8_t needed;
        uint8_t lower;
        uint8_t upper;
};

enum utf8_step {
        UTF8_MORE,   /* the byte was taken; the sequence is not complete */
        UTF8_CHAR,   /* the byte completed codepoint */
        UTF8_BAD,    /* the byte was taken and is an error of its own */
        UTF8_BROKEN, /* what came before is broken off: emit U+FFFD, then feed the same byte again */
};

void utf8_decoder_init(struct utf8_decoder *d);
enum utf8_step utf8_decode_byte(struct utf8_decoder *d, uint8_t byte);
static inline bool utf8_decoder_is_pending(const struct utf8_decoder *d)
{
        return d->needed > 0;
}

/* Length of the longest prefix of @s that does not end inside a multi-byte sequence: where a chunk may be
 * cut. At most 3 bytes shorter than @size. */
size_t utf8_complete_prefix(const char *s, size_t size);

/* Makes @s well-formed where it is, for sentences that quote what others chose, or that were cut by a precision or
 * where their buffer ended: what is incomplete at the end is left out, and each other maximal prefix of an ill-formed
 * sequence becomes one '?'. It never gets longer. */
void utf8_repair(char *s);
