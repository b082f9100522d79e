/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The outer form of a signed token (RFC 7515, compact serialisation): three base64url segments, the first two of
 * which are JSON objects. Says nothing about whether a token is genuine. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

struct jose_segment {
        const char *data; /* borrowed from the token */
        size_t size;
};

/* Header, claims, signature. -EINVAL: not exactly three segments, or an empty one. */
int jose_split(const char *token, struct jose_segment ret[3]);
bool jose_is_base64url(const struct jose_segment *s);
/* A new reference, or NULL unless the segment is base64url of a JSON object without duplicate keys. */
json_t *jose_decode_object(const struct jose_segment *s);
