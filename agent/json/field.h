/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Declarative input: a table of fields says what a request may carry, and json_decode (decode.h) turns the
 * request into a plain struct. The same table documents the endpoint. See architecture: "Declarative input".
 *
 *     struct kill_args { const char *id; uint64_t grace_ms; };
 *     const struct json_field kill_args[] = {
 *             F_STRING (struct kill_args, id, .required = true, .max = 64, .doc = "Process id"),
 *             F_SECONDS(struct kill_args, grace_ms, .name = "grace", .max = 60, .doc = "Grace, s"),
 *             F_END
 *     };
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum json_type {
        JSON_FIELD_END,
        JSON_FIELD_STRING, /* const char *, borrowed; no NUL inside; min/max are bytes */
        JSON_FIELD_TEXT,   /* struct json_text, borrowed; NUL allowed; min/max are bytes */
        JSON_FIELD_ENUM,   /* int: the value of the matching struct enum_name */
        JSON_FIELD_UINT,   /* uint64_t; min..max */
        JSON_FIELD_SECONDS, /* uint64_t, milliseconds; the wire has seconds, integer or fraction; min/max/def
                                   are milliseconds; over max is clamped, not refused */
        JSON_FIELD_BOOL, /* bool */
        JSON_FIELD_STRING_MAP, /* json_t *, borrowed: an object whose values are strings without NUL (numbers
                                   and booleans were turned into strings); max = entries, max_item = bytes */
        JSON_FIELD_STRING_LIST, /* json_t *, borrowed: an array of strings without NUL; same limits */
};

enum field_in { IN_BODY, IN_QUERY, IN_PATH };

struct json_text {
        const char *data; /* NULL when absent */
        size_t size;
};

struct enum_name {
        const char *name; /* NULL ends the table */
        int value;
};

struct json_field {
        const char *name;  /* on the wire */
        const char *alias; /* second name, used when the first is absent */
        enum json_type type;
        enum field_in in;
        bool required; /* absent or null is an error; otherwise absent and null mean the default */
        bool environment; /* STRING_MAP: keys must be environment variable names; STRING: it must be one */
        bool number_ok; /* STRING in a body: a whole number will do, and is turned into a string */
        bool bytes_ok; /* STRING in a query: need not be UTF-8, as names of files; repair it for JSON */
        size_t offset;     /* in the arguments struct */
        size_t set_offset; /* of a bool that tells whether the field was given; 0 = none (place such
                                bools anywhere but first) */
        uint64_t min;      /* see the types */
        uint64_t max;      /* 0 = no upper limit */
        uint64_t max_item; /* 0 = no limit */
        int64_t def;       /* UINT, SECONDS, BOOL, ENUM */
        const char *def_text; /* STRING */
        const struct enum_name *names;
        const char *doc;
        const char *example; /* as JSON, for the documents */
};

#define F_FIELD_(strct, member, kind, ...)                                                      \
        {                                                                                       \
                .name = #member, .type = (kind), .offset = offsetof(strct, member), __VA_ARGS__ \
        }
#define F_STRING(s, m, ...)      F_FIELD_(s, m, JSON_FIELD_STRING, __VA_ARGS__)
#define F_TEXT(s, m, ...)        F_FIELD_(s, m, JSON_FIELD_TEXT, __VA_ARGS__)
#define F_ENUM(s, m, ...)        F_FIELD_(s, m, JSON_FIELD_ENUM, __VA_ARGS__)
#define F_UINT(s, m, ...)        F_FIELD_(s, m, JSON_FIELD_UINT, __VA_ARGS__)
#define F_SECONDS(s, m, ...)     F_FIELD_(s, m, JSON_FIELD_SECONDS, __VA_ARGS__)
#define F_BOOL(s, m, ...)        F_FIELD_(s, m, JSON_FIELD_BOOL, __VA_ARGS__)
#define F_STRING_MAP(s, m, ...)  F_FIELD_(s, m, JSON_FIELD_STRING_MAP, __VA_ARGS__)
#define F_STRING_LIST(s, m, ...) F_FIELD_(s, m, JSON_FIELD_STRING_LIST, __VA_ARGS__)
#define F_END                          \
        {                              \
                .type = JSON_FIELD_END \
        }
