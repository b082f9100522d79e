/* SPDX-License-Identifier: Apache-2.0 */

/* One function per kind of thing. Optional fields of a body may be null, which means the same as nothing; a field with
 * a second name is a property twice. */

#include "agent/json/schema.h"

#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"

#define MAX_UTF8 4 /* bytes of a character */

#define VARIABLE "^[A-Za-z_][A-Za-z0-9_]*$" /* the name of one of the environment */

static json_t *type_of(const char *name)
{
        return json_pack("{s:s}", "type", name);
}

static void set_integer(json_t *schema, const char *key, uint64_t n)
{
        json_object_set_new(schema, key, json_integer((json_int_t)MIN(n, (uint64_t)INT64_MAX)));
}

/* Milliseconds as seconds; a whole number where it is one, because nobody writes 60.0. */
static json_t *seconds(uint64_t ms)
{
        if (ms % 1000 == 0)
                return json_integer((json_int_t)(ms / 1000));
        return json_real((double)ms / 1000);
}

static void set_lengths(json_t *schema, const struct json_field *f)
{
        if (f->min > 0)
                set_integer(schema, "minLength", (f->min + MAX_UTF8 - 1) / MAX_UTF8);
        if (f->max > 0)
                set_integer(schema, "maxLength", f->max);
}

static json_t *string_schema(const struct json_field *f)
{
        json_t *schema = json_object();

        if (f->number_ok && f->in == IN_BODY)
                json_object_set_new(schema, "type", json_pack("[s,s]", "string", "integer"));
        else
                json_object_set_new(schema, "type", json_string("string"));
        set_lengths(schema, f);
        if (f->environment)
                json_object_set_new(schema, "pattern", json_string(VARIABLE));
        if (f->type == JSON_FIELD_STRING && f->def_text)
                json_object_set_new(schema, "default", json_string(f->def_text));
        return schema;
}

static json_t *enum_values(const struct enum_name *names)
{
        json_t *values = json_array();

        for (const struct enum_name *n = names; n->name; n++)
                json_array_append_new(values, json_string(n->name));
        return values;
}

static json_t *enum_schema(const struct json_field *f)
{
        json_t *schema = type_of("string");
        const struct enum_name *n = f->names;

        json_object_set_new(schema, "enum", enum_values(f->names));
        while (n->name && n->value != (int)f->def)
                n++;
        if (n->name && !f->required && f->set_offset == 0)
                json_object_set_new(schema, "default", json_string(n->name));
        return schema;
}

/* A field that tells whether it was given means something else when it was not. */
static bool has_default(const struct json_field *f)
{
        return !f->required && f->set_offset == 0 && f->def >= 0 && (uint64_t)f->def >= f->min;
}

static json_t *uint_schema(const struct json_field *f)
{
        json_t *schema = type_of("integer");

        set_integer(schema, "minimum", f->min);
        set_integer(schema, "maximum", f->max > 0 ? f->max : INT64_MAX);
        if (has_default(f))
                set_integer(schema, "default", (uint64_t)f->def);
        return schema;
}

static json_t *seconds_schema(const struct json_field *f)
{
        json_t *schema = type_of("number");

        json_object_set_new(schema, "minimum", seconds(f->min));
        if (has_default(f))
                json_object_set_new(schema, "default", seconds((uint64_t)f->def));
        return schema;
}

static json_t *bool_schema(const struct json_field *f)
{
        json_t *schema = type_of("boolean");

        if (!f->required && f->set_offset == 0)
                json_object_set_new(schema, "default", json_boolean(f->def != 0));
        return schema;
}

/* Numbers and booleans become strings. */
static json_t *item_schema(const struct json_field *f)
{
        json_t *schema = json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean");

        if (f->max_item > 0)
                set_integer(schema, "maxLength", f->max_item);
        return schema;
}

static json_t *map_schema(const struct json_field *f)
{
        json_t *schema = type_of("object");

        if (f->environment)
                json_object_set_new(schema, "propertyNames",
                                    json_pack("{s:s}", "pattern", VARIABLE));
        json_object_set_new(schema, "additionalProperties", item_schema(f));
        if (f->min > 0)
                set_integer(schema, "minProperties", f->min);
        if (f->max > 0)
                set_integer(schema, "maxProperties", f->max);
        return schema;
}

static json_t *list_schema(const struct json_field *f)
{
        json_t *schema = type_of("array");

        json_object_set_new(schema, "items", item_schema(f));
        if (f->min > 0)
                set_integer(schema, "minItems", f->min);
        if (f->max > 0)
                set_integer(schema, "maxItems", f->max);
        return schema;
}

static json_t *bare_schema(const struct json_field *f)
{
        switch (f->type) {
        case JSON_FIELD_STRING:
        case JSON_FIELD_TEXT:
                return string_schema(f);
        case JSON_FIELD_ENUM:
                return enum_schema(f);
        case JSON_FIELD_UINT:
                return uint_schema(f);
        case JSON_FIELD_SECONDS:
                return seconds_schema(f);
        case JSON_FIELD_BOOL:
                return bool_schema(f);
        case JSON_FIELD_STRING_MAP:
                return map_schema(f);
        case JSON_FIELD_STRING_LIST:
                return list_schema(f);
        case JSON_FIELD_END:
                break;
        }
        return json_object();
}

/* "type": "x" becomes ["x", "null"]; an enumeration gets null as one of its values. */
static void allow_null(json_t *schema)
{
        json_t *type = json_object_get(schema, "type");

        if (json_is_string(type))
                json_object_set_new(schema, "type", json_pack("[O,s]", type, "null"));
        else if (json_is_array(type))
                json_array_append_new(type, json_string("null"));
        if (json_object_get(schema, "enum"))
                json_array_append_new(json_object_get(schema, "enum"), json_null());
}

/* More than the greatest value is no error but means it: no schema has a word for that. */
static void describe(json_t *schema, const struct json_field *f)
{
        CLEANUP(mem_free) char *text = NULL;

        if (f->type == JSON_FIELD_SECONDS && f->max > 0)
                text = xasprintf("%s%sMore than %llu is taken for it.", f->doc ? f->doc : "",
                                 f->doc ? ". " : "", (unsigned long long)(f->max / 1000));
        if (text || f->doc)
                json_object_set_new(schema, "description", json_string(text ? text : f->doc));
}

static json_t *example_text(const char *text)
{
        return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}

/* See the header. */
json_t *schema_of_field(const struct json_field *f)
{
        json_t *schema = bare_schema(f);
        json_t *example = example_text(f->example);

        if (f->in == IN_BODY && (!f->required || f->alias))
                allow_null(schema);
        describe(schema, f);
        if (example)
                json_object_set_new(schema, "examples", json_pack("[o]", example));
        return schema;
}

static void add_alias(json_t *properties, const struct json_field *f)
{
        CLEANUP(mem_free) char *doc = xasprintf("Another name of `%s`, which wins", f->name);
        json_t *schema = bare_schema(f);

        json_object_del(schema, "default"); /* it says that of the first name */
        allow_null(schema);
        json_object_set_new(schema, "description", json_string(doc));
        json_object_set_new(properties, f->alias, schema);
}

static json_t *list_at(json_t *schema, const char *key)
{
        json_t *list = json_object_get(schema, key);

        if (!list) {
                list = json_array();
                json_object_set_new(schema, key, list);
        }
        return list;
}

/* It is there, and not null. */
static json_t *presence(const char *name, const json_t *type)
{
        return json_pack("{s:[s],s:{s:{s:O}}}", "required", name, "properties", name, "type", type);
}

/* Under one of its names it must be there; what is null is not. */
static void require(json_t *schema, const struct json_field *f)
{
        json_t *bare, *type;

        if (!f->alias) {
                json_array_append_new(list_at(schema, "required"), json_string(f->name));
                return;
        }
        bare = bare_schema(f);
        type = json_object_get(bare, "type");
        json_array_append_new(
                list_at(schema, "allOf"),
                json_pack("{s:[o,o]}", "anyOf", presence(f->name, type), presence(f->alias, type)));
        json_decref(bare);
}

/* See the header. */
json_t *schema_of_fields(const struct json_field *fields, enum field_in in)
{
        json_t *schema = type_of("object");
        json_t *properties = json_object();

        json_object_set_new(schema, "properties", properties);
        for (const struct json_field *f = fields; f && f->type != JSON_FIELD_END; f++) {
                if (f->in != in)
                        continue;
                json_object_set_new(properties, f->name, schema_of_field(f));
                if (f->alias)
                        add_alias(properties, f);
                if (f->required)
                        require(schema, f);
        }
        return schema;
}

/* --- answers --- */

static json_t *schema_of_member(const struct shape *s, const struct schema_names *names);

static json_t *object_schema(const struct shape *s, const struct schema_names *names)
{
        const char *reference = names ? names->find(names->arg, s->of) : NULL;
        json_t *schema;

        if (!reference)
                return schema_of_shape(s->of, names);
        schema = json_pack("{s:s}", "$ref", reference);
        return s->nullable ? json_pack("{s:[o,{s:s}]}", "anyOf", schema, "type", "null") : schema;
}

static json_t *bare_member(const struct shape *s, const struct schema_names *names)
{
        json_t *schema;

        switch (s->type) {
        case SHAPE_STRING:
                return type_of("string");
        case SHAPE_BYTES:
                return json_pack("{s:s,s:s}", "type", "string", "contentMediaType",
                                 "application/octet-stream");
        case SHAPE_TIME:
                return json_pack("{s:s,s:s}", "type", "string", "format", "date-time");
        case SHAPE_ENUM:
                schema = type_of("string");
                json_object_set_new(schema, "enum", enum_values(s->names));
                return schema;
        case SHAPE_INTEGER:
                return json_pack("{s:s,s:I}", "type", "integer", "minimum", (json_int_t)s->min);
        case SHAPE_NUMBER:
                return type_of("number");
        case SHAPE_BOOL:
                return type_of("boolean");
        case SHAPE_OBJECT:
                return object_schema(s, names);
        case SHAPE_LIST:
                return json_pack("{s:s,s:o}", "type", "array", "items",
                                 schema_of_member(s->of, names));
        case SHAPE_MAP:
                return json_pack("{s:s,s:o}", "type", "object", "additionalProperties",
                                 schema_of_member(s->of, names));
        case SHAPE_ANY:
        case SHAPE_END:
                break;
        }
        return json_object();
}

static json_t *schema_of_member(const struct shape *s, const struct schema_names *names)
{
        json_t *schema = bare_member(s, names);
        json_t *example = example_text(s->example);

        if (s->nullable)
                allow_null(schema);
        if (s->doc)
                json_object_set_new(schema, "description", json_string(s->doc));
        if (example)
                json_object_set_new(schema, "examples", json_pack("[o]", example));
        return schema;
}

/* See the header. */
json_t *schema_of_shape(const struct shape *members, const struct schema_names *names)
{
        json_t *schema = type_of("object");
        json_t *properties = json_object();
        json_t *required = json_array();

        for (const struct shape *s = members; s->type != SHAPE_END; s++) {
                json_object_set_new(properties, s->name, schema_of_member(s, names));
                if (!s->optional)
                        json_array_append_new(required, json_string(s->name));
        }
        if (json_object_size(properties) > 0) /* else it may have any */
                json_object_set(schema, "properties", properties);
        json_decref(properties);
        if (json_array_size(required) > 0)
                json_object_set(schema, "required", required);
        json_decref(required);
        return schema;
}
