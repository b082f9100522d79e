/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Arbitrary bytes as the inside of a JSON string, piece by piece: ill-formed UTF-8 becomes U+FFFD (a sequence
 * split over two pieces counts as one), control characters, quotes and backslashes are escaped. */

#include <stddef.h>

#include "agent/base/utf8.h"

/* The room without which json_escape does nothing: eight plain bytes at once, a six-byte escape, a character of
 * four bytes, a replacement. */
#define JSON_ESCAPE_STEP 8

/* One for each string; what it holds between two calls is an incomplete sequence. */
struct json_escaper {
        struct utf8_decoder utf8;
};

void json_escape_init(struct json_escaper *e);

/* Escapes @src, as far as it fits; returns the number of bytes written and sets *ret_taken to the bytes of @src
 * used. It stops when @src is used up or less than JSON_ESCAPE_STEP bytes of @dst are left, and in the second case
 * only between two characters: a sequence is taken in part only when @src ends inside it.
 * @dst_size must be at least JSON_ESCAPE_STEP. Then something is taken or written whenever @size > 0; not
 * always taken, for the byte that breaks an earlier sequence may have to wait for room. */
size_t json_escape(struct json_escaper *e, const char *src, size_t size, size_t *ret_taken,
                   char *dst, size_t dst_size);

/* The end of the string: writes what an incomplete sequence owes, 0 or 3 bytes, and starts anew. */
size_t json_escape_finish(struct json_escaper *e, char *dst);
