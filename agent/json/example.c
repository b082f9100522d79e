/* SPDX-License-Identifier: Apache-2.0 */

/* Examples: those of the tables, put together, and something of the right type where a table has none. */

#include "agent/json/schema.h"

#include <string.h>

#include "agent/base/alloc.h"

#define MAX_NESTING 8 /* of tables: one may contain itself */

#define SOME_TIME "2026-01-28T09:30:00.000Z"

static json_t *parse(const char *text)
{
        return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

static json_t *some_text(uint64_t min)
{
        CLEANUP(mem_free) char *text = NULL;

        if (min <= strlen("text"))
                return json_string("text");
        text = xcalloc(1, (size_t)min + 1);
        memset(text, 'x', (size_t)min);
        return json_string(text);
}

/* See the header. */
json_t *example_of_field(const struct json_field *f)
{
        json_t *example = parse(f->example);

        if (example)
                return example;
        switch (f->type) {
        case JSON_FIELD_STRING:
                return f->def_text ? json_string(f->def_text) : some_text(f->min);
        case JSON_FIELD_TEXT:
                return some_text(f->min);
        case JSON_FIELD_ENUM:
                return json_string(f->names[0].name);
        case JSON_FIELD_UINT:
                return json_integer((json_int_t)MAX(f->min, (uint64_t)f->def));
        case JSON_FIELD_SECONDS:
                return json_integer((json_int_t)((MAX(f->min, (uint64_t)f->def) + 999) / 1000));
        case JSON_FIELD_BOOL:
                return json_boolean(f->def == 0); /* who writes it wants the other one */
        case JSON_FIELD_STRING_MAP:
                return json_pack("{s:s}", "NAME", "value");
        case JSON_FIELD_STRING_LIST:
                return json_pack("[s]", "text");
        case JSON_FIELD_END:
                break;
        }
        return json_null();
}

/* See the header. */
json_t *example_of_fields(const struct json_field *fields, enum field_in in)
{
        json_t *example = json_object();

        for (const struct json_field *f = fields; f && f->type != JSON_FIELD_END; f++)
                if (f->in == in && (f->required || f->example))
                        json_object_set_new(example, f->name, example_of_field(f));
        return example;
}

static json_t *example_of_member(const struct shape *s, unsigned nesting);

static json_t *example_of_members(const struct shape *members, unsigned nesting)
{
        json_t *example = json_object();

        for (const struct shape *s = members; s->type != SHAPE_END; s++) {
                bool is_deep = nesting == 0 && s->of;

                if (!is_deep || !s->optional)
                        json_object_set_new(example, s->name, example_of_member(s, nesting));
        }
        return example;
}

static json_t *example_of_list(const struct shape *s, unsigned nesting)
{
        json_t *list = json_array();

        if (nesting > 0)
                json_array_append_new(list, example_of_member(s->of, nesting - 1));
        return list;
}

static json_t *example_of_map(const struct shape *s, unsigned nesting)
{
        json_t *map = json_object();

        if (nesting > 0)
                json_object_set_new(map, "name", example_of_member(s->of, nesting - 1));
        return map;
}

static json_t *example_of_member(const struct shape *s, unsigned nesting)
{
        json_t *example = parse(s->example);

        if (example)
                return example;
        switch (s->type) {
        case SHAPE_STRING:
        case SHAPE_BYTES:
                return json_string("text");
        case SHAPE_TIME:
                return json_string(SOME_TIME);
        case SHAPE_ENUM:
                return json_string(s->names[0].name);
        case SHAPE_INTEGER:
                return json_integer((json_int_t)MAX(s->min, 1));
        case SHAPE_NUMBER:
                return json_real(0.5);
        case SHAPE_BOOL:
                return json_true();
        case SHAPE_OBJECT:
                return nesting > 0 ? example_of_members(s->of, nesting - 1) : json_object();
        case SHAPE_LIST:
                return example_of_list(s, nesting);
        case SHAPE_MAP:
                return example_of_map(s, nesting);
        case SHAPE_ANY:
        case SHAPE_END:
                break;
        }
        return json_null();
}

/* See the header. */
json_t *example_of_shape(const struct shape *members)
{
        return example_of_members(members, MAX_NESTING);
}
