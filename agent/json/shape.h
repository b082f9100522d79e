/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What answers look like, as tables: for the OpenAPI document, and for the tests, which hold every answer against it.
 * Input has its own tables (field.h), because they also decode.
 *
 *     const struct shape file_info_shape[] = {
 *             S_STRING ("path", .doc = "As it was asked for", .example = "\"src/app.py\""),
 *             S_INTEGER("size", .doc = "Bytes", .example = "9"),
 *             S_TIME   ("modified_at", .doc = "Last change of the content"),
 *             S_OBJECT ("owner", owner_shape, .optional = true, .doc = "Absent where nobody knows"),
 *             S_LIST   ("entries", S_OBJECT_ITEM(entry_shape), .doc = "In order of their names"),
 *             S_END
 *     };
 */

#include <stdbool.h>
#include <stdint.h>

#include "agent/json/field.h"

enum shape_type {
        SHAPE_END,
        SHAPE_STRING,
        SHAPE_BYTES,   /* a file, as a part of a form */
        SHAPE_TIME,    /* a string: RFC 3339, with a zone */
        SHAPE_ENUM,    /* a string, one of @names */
        SHAPE_INTEGER, /* at least @min, which is zero if not given */
        SHAPE_NUMBER,
        SHAPE_BOOL,
        SHAPE_OBJECT, /* with the fields of @of */
        SHAPE_LIST,   /* of what @of says */
        SHAPE_MAP,    /* an object whose names are data, of what @of says */
        SHAPE_ANY,
};

struct shape {
        const char *name; /* on the wire; NULL in an item of a list or a map */
        enum shape_type type;
        bool optional;          /* need not be there */
        bool nullable;          /* may be null */
        int64_t min;            /* INTEGER */
        const struct shape *of; /* OBJECT: a table that ends with S_END; LIST and MAP: one item */
        const struct enum_name *names; /* ENUM */
        const char *example; /* as JSON; objects and lists are made up from those of their parts */
        const char *doc;
};

#define S_SHAPE_(kind, field, ...)                           \
        {                                                    \
                .name = (field), .type = (kind), __VA_ARGS__ \
        }
#define S_STRING(n, ...)    S_SHAPE_(SHAPE_STRING, n, __VA_ARGS__)
#define S_BYTES(n, ...)     S_SHAPE_(SHAPE_BYTES, n, __VA_ARGS__)
#define S_TIME(n, ...)      S_SHAPE_(SHAPE_TIME, n, __VA_ARGS__)
#define S_ENUM(n, e, ...)   S_SHAPE_(SHAPE_ENUM, n, .names = (e), __VA_ARGS__)
#define S_INTEGER(n, ...)   S_SHAPE_(SHAPE_INTEGER, n, __VA_ARGS__)
#define S_NUMBER(n, ...)    S_SHAPE_(SHAPE_NUMBER, n, __VA_ARGS__)
#define S_BOOL(n, ...)      S_SHAPE_(SHAPE_BOOL, n, __VA_ARGS__)
#define S_ANY(n, ...)       S_SHAPE_(SHAPE_ANY, n, __VA_ARGS__)
#define S_OBJECT(n, o, ...) S_SHAPE_(SHAPE_OBJECT, n, .of = (o), __VA_ARGS__)
#define S_LIST(n, o, ...)   S_SHAPE_(SHAPE_LIST, n, .of = (o), __VA_ARGS__)
#define S_MAP(n, o, ...)    S_SHAPE_(SHAPE_MAP, n, .of = (o), __VA_ARGS__)
#define S_END                     \
        {                         \
                .type = SHAPE_END \
        }

/* Items: S_LIST("names", S_ITEM(SHAPE_STRING)), S_LIST("entries", S_ITEM_OF(SHAPE_OBJECT, entry_shape)). */
#define S_ITEM(kind)           (&(const struct shape){ .type = (kind) })
#define S_ITEM_OF(kind, table) (&(const struct shape){ .type = (kind), .of = (table) })
