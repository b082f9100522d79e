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

/* Whether brackets outside strings ever nest deeper than allowed. jansson's own limit is fixed and
 * generous, and its parser recurses. Text that is no JSON may be counted wrongly: it fails either
 * way. */
static bool is_too_deep(const char *data, size_t size)
{
        bool in_string = false;
        unsigned depth = 0;

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
                        if (!in_string && ++depth > LIMIT_JSON_DEPTH)
                                return true;
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
        return false;
}

/* Parses a request's body; *ret is a new reference. Works on any thread, provided that
 * json_object_seed(0) was called at the start of the program: otherwise the first two objects, if
 * made by two threads, race for the seed of jansson's hash tables. */
int json_parse_object(const char *data, size_t size, json_t **ret, struct error *err)
{
        json_error_t error;
        json_t *json;

        if (is_blank(data, size)) {
                json = json_object();
                if (!json)
                        return error_set(err, -ENOMEM, "body");
                *ret = json;
                return 0;
        }

        if (is_too_deep(data, size))
                return error_set_field(err, -EINVAL, "", "body: nested deeper than %d levels",
                                       LIMIT_JSON_DEPTH);

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
