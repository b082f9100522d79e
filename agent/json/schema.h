/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tables of input (field.h) and of answers (shape.h), as JSON Schema (draft 2020-12) and as examples.
 *
 * A schema says what the decoder accepts as far as the language can: lengths of our tables are bytes, those of a schema
 * are characters, so a text within the schema's bounds may still be too long. All functions return a new reference. */

#include <jansson.h>

#include "agent/json/field.h"
#include "agent/json/shape.h"

/* Tables that have a schema of their own elsewhere. */
struct schema_names {
        /* A reference to the schema of @table, such as "#/components/schemas/Usage", or NULL. */
        const char *(*find)(void *arg, const struct shape *table);
        void *arg;
};

/* What one field may be, with its description. */
json_t *schema_of_field(const struct json_field *f);
/* An object of those of @fields (they may be NULL) that are in @in. */
json_t *schema_of_fields(const struct json_field *fields, enum field_in in);
/* An object with @members. @names may be NULL. */
json_t *schema_of_shape(const struct shape *members, const struct schema_names *names);

/* What a client may send, and what it may be answered. Where a table has no example one is made up. Of @fields only
 * those are there that have an example, or must be. */
json_t *example_of_fields(const struct json_field *fields, enum field_in in);
json_t *example_of_field(const struct json_field *f);
json_t *example_of_shape(const struct shape *members);
