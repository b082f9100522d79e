/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of JSON strings, which is nearly always plain ASCII, eight bytes at a time. */

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define JSON_REPEAT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The number of leading bytes at @s, out of eight, that need no escape and no decoding. Each test sets the top bit of
 * the bytes it is about; a borrow can only set more of them above such a byte, and the lowest one counts. */
static inline unsigned json_count_plain(const char *s)
{
        uint64_t word, quotes, backslashes, special;

        memcpy(&word, s, sizeof(word));
        word = le64toh(word); /* the first byte is the lowest */
        quotes = word ^ JSON_REPEAT('"');
        backslashes = word ^ JSON_REPEAT('\\');

        special = ((quotes - JSON_REPEAT(1)) & ~quotes) |
                  ((backslashes - JSON_REPEAT(1)) & ~backslashes) | (word - JSON_REPEAT(0x20)) |
                  word;
        special &= JSON_REPEAT(0x80);
        return special ? (unsigned)__builtin_ctzll(special) / 8 : 8;
}
