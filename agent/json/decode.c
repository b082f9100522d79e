/* SPDX-License-Identifier: Apache-2.0 */

/* The one way in for requests' input. json_decode walks a field table and, for each row, finds the
 * value (in body, query or path; under its name or alias), checks it and stores it in the struct of
 * arguments. One function per type does the checking; the first bad value ends it, and blame.c
 * finds the words. parse.c has the step before: from bytes to the tree. */

#include "agent/json/decode.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/json/blame.h"

#define NOT_A_NAME "not an environment variable name (letters, digits and _, no digit first)"

/* A value on its way to the struct: JSON from the body, or text from query and path. */
struct value {
        json_t *json; /* NULL: it is text */
        const char *text;
        size_t size;
};

/* The text of a value that must be one. It is valid UTF-8, unless the field says otherwise: of the body, jansson has
 * made sure. */
static int get_text(const struct blame *b, const struct value *v, struct json_text *ret)
{
        struct json_text text = { .data = v->text, .size = v->size };

        if (v->json) {
                if (!json_is_string(v->json))
                        return blame_type(b, "a string", v->json);
                text.data = json_string_value(v->json);
                text.size = json_string_length(v->json);
        } else if (!b->field->bytes_ok && !utf8_is_valid(text.data, text.size)) {
                return blame_field(b, "must be valid UTF-8");
        }

        *ret = text;
        return 0;
}

static int check_size(const struct blame *b, size_t size)
{
        const struct json_field *f = b->field;

        if (size == 0 && f->min > 0)
                return blame_field(b, "must not be empty");
        if (size < f->min)
                return blame_field(b, "must be at least %" PRIu64 " bytes long, got %zu", f->min,
                                   size);
        if (f->max > 0 && size > f->max)
                return blame_field(b, "must be at most %" PRIu64 " bytes long, got %zu", f->max,
                                   size);
        return 0;
}

static bool has_nul(const struct json_text *text)
{
        return text->size > 0 && memchr(text->data, '\0', text->size);
}

static int decode_string(struct blame *b, const struct value *v, void *slot)
{
        struct json_text text;
        int r;

        r = get_text(b, v, &text);
        if (r < 0)
                return r;
        if (has_nul(&text))
                return blame_field(b, "must not contain NUL");
        r = check_size(b, text.size);
        if (r < 0)
                return r;
        if (b->field->environment && !str_is_variable_name(text.data))
                return blame_field(b, NOT_A_NAME);

        *(const char **)slot = text.data;
        return 0;
}

static int decode_text(struct blame *b, const struct value *v, void *slot)
{
        struct json_text text;
        int r;

        r = get_text(b, v, &text);
        if (r < 0)
                return r;
        r = check_size(b, text.size);
        if (r < 0)
                return r;

        *(struct json_text *)slot = text;
        return 0;
}

static int blame_name(const struct blame *b, const struct json_text *text)
{
        const struct enum_name *names = b->field->names;
        char expected[160] = "";
        char got[BLAME_VALUE_SIZE];
        size_t used = 0;

        for (const struct enum_name *n = names; n->name && used < sizeof(expected); n++) {
                const struct enum_name *first = names;

                while (first->value != n->value)
                        first++;
                if (first != n) /* an alias */
                        continue;
                used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%s%s",
                                         used > 0 ? ", " : "", n->name);
        }
        return blame_field(b, "unknown value %s; expected one of %s",
                           blame_quote(got, text->data, text->size), expected);
}

static int decode_enum(struct blame *b, const struct value *v, void *slot)
{
        struct json_text text;
        int r;

        r = get_text(b, v, &text);
        if (r < 0)
                return r;

        for (const struct enum_name *n = b->field->names; n->name; n++) {
                if (strlen(n->name) == text.size && memcmp(n->name, text.data, text.size) == 0) {
                        *(int *)slot = n->value;
                        return 0;
                }
        }
        return blame_name(b, &text);
}

static int decode_bool(struct blame *b, const struct value *v, void *slot)
{
        char got[BLAME_VALUE_SIZE];
        bool is_true;

        if (v->json) {
                if (!json_is_boolean(v->json))
                        return blame_type(b, "a boolean", v->json);
                is_true = json_is_true(v->json);
        } else if (strlen(v->text) != v->size || str_parse_bool(v->text, &is_true) < 0) {
                return blame_field(b, "expected true or false, got %s",
                                   blame_quote(got, v->text, v->size));
        }

        *(bool *)slot = is_true;
        return 0;
}

static int decode_uint(struct blame *b, const struct value *v, void *slot)
{
        const struct json_field *f = b->field;
        char got_buffer[BLAME_VALUE_SIZE];
        const char *got;
        bool in_range = true;
        uint64_t n = 0;

        if (!v->json) {
                int r = strlen(v->text) == v->size ? str_parse_u64(v->text, &n) : -EINVAL;

                got = blame_quote(got_buffer, v->text, v->size);
                if (r == -EINVAL)
                        return blame_field(b, "expected a whole number, got %s", got);
                in_range = r == 0;
        } else if (json_is_integer(v->json)) {
                got = blame_number(got_buffer, v->json);
                in_range = json_integer_value(v->json) >= 0;
                n = (uint64_t)json_integer_value(v->json);
        } else if (json_is_real(v->json)) {
                double d = json_real_value(v->json);

                got = blame_number(got_buffer, v->json);
                if (!(floor(d) == d)) /* NaN as well */
                        return blame_field(b, "expected a whole number, got %s", got);
                in_range = d >= 0 && d < 0x1p64;
                n = in_range ? (uint64_t)d : 0;
        } else {
                return blame_type(b, "a number", v->json);
        }

        if (!in_range || n < f->min || (f->max > 0 && n > f->max))
                return blame_range(b, got);

        *(uint64_t *)slot = n;
        return 0;
}

/* Seconds in a query: digits with at most one point. strtod alone would also take "inf", "0x1p3"
 * and white space. */
static bool parse_seconds(const struct value *v, double *ret)
{
        size_t whole = strspn(v->text, "0123456789");
        size_t fraction = 0;

        if (v->text[whole] == '.')
                fraction = 1 + strspn(v->text + whole + 1, "0123456789");
        if (whole == 0 || fraction == 1 || whole + fraction != v->size)
                return false;

        *ret = strtod(v->text, NULL);
        return true;
}

static int decode_seconds(struct blame *b, const struct value *v, void *slot)
{
        const struct json_field *f = b->field;
        char got_buffer[BLAME_VALUE_SIZE];
        const char *got;
        double seconds;
        uint64_t ms;

        if (!v->json) {
                got = blame_quote(got_buffer, v->text, v->size);
                if (!parse_seconds(v, &seconds))
                        return blame_field(b, "expected a number of seconds, got %s", got);
        } else if (json_is_number(v->json)) {
                got = blame_number(got_buffer, v->json);
                seconds = json_number_value(v->json);
        } else {
                return blame_type(b, "a number", v->json);
        }

        if (!(seconds >= 0)) /* NaN as well */
                return blame_range(b, got);

        /* Without a limit of the field's own, what is left can still be added to the clock. */
        ms = seconds < (double)(INT64_MAX / 1000) ? (uint64_t)(seconds * 1000 + 0.5) : INT64_MAX;
        if (f->max > 0)
                ms = MIN(ms, f->max);
        if (ms < f->min)
                return blame_range(b, got);

        *(uint64_t *)slot = ms;
        return 0;
}

/* Checks an element of a map or list. Numbers and booleans become strings, because clients write
 * {"PORT": 3000}: *ret is the replacement, or NULL when @item is a string already. @prefix bytes
 * count as part of the item. */
static int check_item(const struct blame *b, const json_t *item, size_t prefix, json_t **ret)
{
        json_t *replacement = NULL;
        struct json_text text;

        if (json_is_number(item) || json_is_boolean(item)) {
                CLEANUP(mem_free)
                char *dump = json_dumps(item, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));

                replacement = dump ? json_string(dump) : NULL;
                if (!replacement)
                        return error_set(b->err, -ENOMEM, "%s", b->name);
                item = replacement;
        } else if (!json_is_string(item)) {
                return blame_type(b, "a string", item);
        }

        text.data = json_string_value(item);
        text.size = json_string_length(item);
        if (has_nul(&text) || (b->field->max_item > 0 && prefix + text.size > b->field->max_item)) {
                bool is_nul = has_nul(&text);

                json_decref(replacement);
                return is_nul ? blame_field(b, "must not contain NUL")
                              : blame_field(b, "must be at most %" PRIu64 " bytes long%s, got %zu",
                                            b->field->max_item, prefix > 0 ? " with its name" : "",
                                            prefix + text.size);
        }

        *ret = replacement;
        return 0;
}

static int check_count(const struct blame *b, size_t n)
{
        if (n < b->field->min)
                return blame_field(b, "must have at least %" PRIu64 " entries, got %zu",
                                   b->field->min, n);
        if (b->field->max > 0 && n > b->field->max)
                return blame_field(b, "must have at most %" PRIu64 " entries, got %zu",
                                   b->field->max, n);
        return 0;
}

static int decode_string_map(struct blame *b, const struct value *v, void *slot)
{
        json_t *map = v->json;
        int r;

        if (!json_is_object(map))
                return blame_type(b, "an object", map);
        r = check_count(b, json_object_size(map));
        if (r < 0)
                return r;

        for (void *i = json_object_iter(map); i; i = json_object_iter_next(map, i)) {
                json_t *replacement;
                size_t prefix = 0;

                b->key = json_object_iter_key(i);
                if (b->field->environment) {
                        if (!str_is_variable_name(b->key))
                                return blame_field(b, NOT_A_NAME);
                        prefix = strlen(b->key) + 1; /* the kernel's limit is on NAME=value */
                }
                r = check_item(b, json_object_iter_value(i), prefix, &replacement);
                if (r < 0)
                        return r;
                if (replacement)
                        (void)json_object_iter_set_new(map, i, replacement); /* the key exists */
        }

        *(json_t **)slot = map;
        return 0;
}

static int decode_string_list(struct blame *b, const struct value *v, void *slot)
{
        json_t *list = v->json;
        char index[24];
        int r;

        if (!json_is_array(list))
                return blame_type(b, "an array", list);
        r = check_count(b, json_array_size(list));
        if (r < 0)
                return r;

        b->key = index;
        for (size_t i = 0; i < json_array_size(list); i++) {
                json_t *replacement;

                (void)snprintf(index, sizeof(index), "%zu", i);
                r = check_item(b, json_array_get(list, i), 0, &replacement);
                if (r < 0)
                        return r;
                if (replacement)
                        (void)json_array_set_new(list, i, replacement); /* the index exists */
        }

        *(json_t **)slot = list;
        return 0;
}

static const struct {
        size_t size; /* of the member in the arguments' struct */
        int (*decode)(struct blame *b, const struct value *v, void *slot);
} types[] = {
        [JSON_FIELD_STRING] = { sizeof(const char *), decode_string },
        [JSON_FIELD_TEXT] = { sizeof(struct json_text), decode_text },
        [JSON_FIELD_ENUM] = { sizeof(int), decode_enum },
        [JSON_FIELD_UINT] = { sizeof(uint64_t), decode_uint },
        [JSON_FIELD_SECONDS] = { sizeof(uint64_t), decode_seconds },
        [JSON_FIELD_BOOL] = { sizeof(bool), decode_bool },
        [JSON_FIELD_STRING_MAP] = { sizeof(json_t *), decode_string_map },
        [JSON_FIELD_STRING_LIST] = { sizeof(json_t *), decode_string_list },
};

/* Finds the value under one name; null counts as absent. */
static bool find_by_name(const struct json_field *f, const struct json_source *src,
                         const char *name, struct value *ret)
{
        *ret = (struct value){ .text = "" };

        if (f->in == IN_BODY) {
                ret->json = json_object_get(src->body, name);
                return ret->json && !json_is_null(ret->json);
        }

        /* Containers have no form in a query: such a row is a mistake in the table. */
        assert(f->type != JSON_FIELD_STRING_MAP && f->type != JSON_FIELD_STRING_LIST);
        if (!src->lookup || !src->lookup(src->arg, f->in, name, &ret->text, &ret->size))
                return false;
        if (!ret->text) { /* "?name" without "=" */
                ret->text = "";
                ret->size = 0;
        }
        return true;
}

static bool find_value(const struct json_field *f, const struct json_source *src,
                       const char **ret_name, struct value *ret)
{
        *ret_name = f->name;
        if (find_by_name(f, src, f->name, ret))
                return true;
        if (!f->alias || !find_by_name(f, src, f->alias, ret))
                return false;
        *ret_name = f->alias;
        return true;
}

static void store_default(const struct json_field *f, void *slot)
{
        switch (f->type) {
        case JSON_FIELD_STRING:
                *(const char **)slot = f->def_text;
                break;
        case JSON_FIELD_ENUM:
                *(int *)slot = (int)f->def;
                break;
        case JSON_FIELD_UINT:
        case JSON_FIELD_SECONDS:
                *(uint64_t *)slot = (uint64_t)f->def;
                break;
        case JSON_FIELD_BOOL:
                *(bool *)slot = f->def != 0;
                break;
        case JSON_FIELD_TEXT:
        case JSON_FIELD_STRING_MAP:
        case JSON_FIELD_STRING_LIST:
        case JSON_FIELD_END:
                break; /* NULL, as zeroed */
        }
}

/* Clients write a pid as the number that it is. Like what is replaced in maps and lists, the text belongs to the body
 * afterwards. */
static int replace_number(const struct blame *b, const struct json_source *src, struct value *v)
{
        CLEANUP(mem_free) char *dump = NULL;
        json_t *text;

        if (!b->field->number_ok || !v->json || !json_is_integer(v->json))
                return 0;
        dump = json_dumps(v->json, JSON_ENCODE_ANY);
        text = dump ? json_string(dump) : NULL;
        if (json_object_set_new(src->body, b->name, text) < 0)
                return error_set(b->err, -ENOMEM, "%s", b->name);
        v->json = text;
        return 0;
}

/* Decodes one request. The arguments' struct is only meaningful when this succeeds. */
int json_decode(const struct json_field *fields, const struct json_source *src, void *args,
                size_t args_size, struct error *err)
{
        memset(args, 0, args_size);

        for (const struct json_field *f = fields; f->type != JSON_FIELD_END; f++) {
                struct blame b = { .field = f, .err = err };
                void *slot = (char *)args + f->offset;
                struct value value;
                int r;

                assert((size_t)f->type < ARRAY_LEN(types));
                assert(f->offset + types[f->type].size <= args_size);

                if (!find_value(f, src, &b.name, &value)) {
                        if (f->required) {
                                (void)blame_field(&b, f->in == IN_QUERY ? "required in the query"
                                                                        : "required");
                                return err->code = -ENOKEY;
                        }
                        store_default(f, slot);
                        continue;
                }

                r = replace_number(&b, src, &value);
                if (r == 0)
                        r = types[f->type].decode(&b, &value, slot);
                if (r < 0)
                        return r;

                if (f->set_offset > 0) {
                        assert(f->set_offset + sizeof(bool) <= args_size);
                        *(bool *)((char *)args + f->set_offset) = true;
                }
        }
        return 0;
}
