/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/base/error.h"
#include "agent/json/field.h"

/* Where the fields' values come from. Any part may be absent. */
struct json_source {
        json_t *body; /* an object or NULL; borrowed. Decoding may replace numbers and booleans inside string
                         maps and lists, and numbers where a string is wanted, by strings, so that the arguments
                         can borrow them. */
        /* A query or path parameter: sets *ret and *ret_size (the value may hold NULs, and one follows it) and
         * returns true, or returns false when there is none. */
        bool (*lookup)(void *arg, enum field_in in, const char *name, const char **ret,
                       size_t *ret_size);
        void *arg;
};

/* Parses @size bytes as a JSON object, refusing duplicate keys, trailing rubbish, nesting deeper than
 * LIMIT_JSON_DEPTH and more than LIMIT_JSON_VALUES values; empty or all-white input gives an empty object. May run
 * on any thread.
 * -EINVAL: not JSON, or not an object (err->message says where; err->field is ""). -ENOMEM. */
int json_parse_object(const char *data, size_t size, json_t **ret, struct error *err);

/* Fills the struct at @args (zeroed first, @args_size bytes) from @src as @fields say. Unknown fields are
 * ignored. Strings and containers are borrowed from @src.
 * -ENOKEY: a required field is missing; -EINVAL: one is wrong. err->field is the pointer to it ("/env/PATH", as
 * the client spelt it when it used the alias), err->message starts with the field's name and says what was
 * expected and what came. */
int json_decode(const struct json_field *fields, const struct json_source *src, void *args,
                size_t args_size, struct error *err);
