/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Words for what is wrong with a field; a helper of decode.c. */

#include "agent/base/error.h"
#include "agent/json/field.h"

/* Where the decoder is. */
struct blame {
        const struct json_field *field;
        const char *name; /* of the field, as the client spelt it */
        const char *key;  /* inside a map or list, or NULL */
        struct error *err;
};

/* Fits any value that a message shows. */
#define BLAME_VALUE_SIZE 48

/* All of these fill b->err and return -EINVAL. */
int blame_field(const struct blame *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "expected @expected, got a number" */
int blame_type(const struct blame *b, const char *expected, const json_t *json);
/* "must be between 1 and 3600, got @got" */
int blame_range(const struct blame *b, const char *got);

/* A client's text for a message: in quotes, shortened, printable. Returns @dst. */
const char *blame_quote(char dst[BLAME_VALUE_SIZE], const char *s, size_t size);
/* A client's number for a message. Returns @dst. */
const char *blame_number(char dst[BLAME_VALUE_SIZE], const json_t *json);
