/* SPDX-License-Identifier: Apache-2.0 */

/* From bytes to a JSON object, the first half of decode.h. jansson does the parsing; what it
 * cannot be told is said here: how deep the nesting may be, that nothing at all means no fields,
 * and how errors read. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/base/limits.h"
#include "agent/json/decode.h"

static bool is_blank(const char *data, size_t size)
{
        for (size_t i = 0; i < size; i++) {
                if (data[i] != ' ' && data[i] != '\t' && data[i] != '\n' && data[i] != '\r')
                        return false;
        }
        return true;
}

/* How deep brackets outside strings nest (jansson's own limit is fixed and generous, and its parser
 * recurses), and about how many values there are (each costs some fifty bytes and time to free, and
 * needs but two bytes of text). Text that is no JSON may be counted wrongly: it fails either way. */
static void measure(const char *data, size_t size, unsigned *ret_depth, size_t *ret_values)
{
        bool in_string = false;
        unsigned depth = 0, max_depth = 0;
        size_t n_values = 1;

        for (size_t i = 0; i < size; i++) {
                switch (data[i]) {
                case '"':
                        in_string = !in_string;
                        break;
                case '\\':
                        if (in_string)
                                i++;
                        break;
                case '{':
                case '[':
                        if (!in_string)
                                max_depth = MAX(++depth, max_depth);
                        break;
                case ',':
                case ':':
                        n_values += !in_string;
                        break;
                case '}':
                case ']':
                        if (!in_string && depth > 0)
                                depth--;
                        break;
                default:
                        break;
                }
        }
        *ret_depth = max_depth;
        *ret_values = n_values;
}

/* Parses a request's body; *ret is a new reference. Works on any thread, provided that
 * json_object_seed(0) was called at the start of the program: otherwise the first two objects, if
 * made by two threads, race for the seed of jansson's hash tables. */
int json_parse_object(const char *data, size_t size, json_t **ret, struct error *err)
{
        json_error_t error;
        unsigned depth;
        size_t n_values;
        json_t *json;

        if (is_blank(data, size)) {
                json = json_object();
                if (!json)
                        return error_set(err, -ENOMEM, "body");
                *ret = json;
                return 0;
        }

        measure(data, size, &depth, &n_values);
        if (depth > LIMIT_JSON_DEPTH)
                return error_set_field(err, -EINVAL, "", "body: nested deeper than %d levels",
                                       LIMIT_JSON_DEPTH);
        if (n_values > LIMIT_JSON_VALUES)
                return error_set_field(err, -EINVAL, "", "body: more than %zu values",
                                       LIMIT_JSON_VALUES);

        json = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY,
                          &error);
        if (!json && json_error_code(&error) == json_error_out_of_memory)
                return error_set(err, -ENOMEM, "body");
        if (!json)
                return error_set_field(err, -EINVAL, "",
                                       "body: invalid JSON: %s (line %d, column %d)", error.text,
                                       error.line, error.column);

        if (!json_is_object(json)) {
                json_decref(json);
                return error_set_field(err, -EINVAL, "", "body: must be a JSON object");
        }

        *ret = json;
        return 0;
}
