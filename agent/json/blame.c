/* SPDX-License-Identifier: Apache-2.0 */

/* Messages about bad fields. They are read by people who never saw this code, and they travel
 * through logs and terminals: each names the field and what was expected, and shows the client's
 * value only shortened and printable. */

#include "agent/json/blame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define KEY_SIZE 96

/* Copies @s without anything but printable ASCII; "..." at the end says that there was more. */
static void make_printable(char *dst, size_t dst_size, const char *s, size_t size)
{
        static const char digits[] = "0123456789abcdef";
        size_t used = 0;

        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)s[i];
                bool is_plain = c >= 0x20 && c < 0x7f;

                if (used + (is_plain ? 1 : 4) + sizeof("...") > dst_size) {
                        memcpy(dst + used, "...", 3);
                        used += 3;
                        break;
                }
                if (is_plain) {
                        dst[used++] = (char)c;
                } else {
                        dst[used++] = '\\';
                        dst[used++] = 'x';
                        dst[used++] = digits[c >> 4];
                        dst[used++] = digits[c & 15];
                }
        }
        dst[used] = '\0';
}

/* Puts single quotes around what make_printable makes of @s. */
const char *blame_quote(char dst[BLAME_VALUE_SIZE], const char *s, size_t size)
{
        size_t length;

        dst[0] = '\'';
        make_printable(dst + 1, BLAME_VALUE_SIZE - 2, s, size);
        length = strlen(dst);
        dst[length] = '\'';
        dst[length + 1] = '\0';
        return dst;
}

/* As the client would write it, but never more digits than a double has. */
const char *blame_number(char dst[BLAME_VALUE_SIZE], const json_t *json)
{
        if (json_is_integer(json))
                (void)snprintf(dst, BLAME_VALUE_SIZE, "%" JSON_INTEGER_FORMAT,
                               json_integer_value(json));
        else
                (void)snprintf(dst, BLAME_VALUE_SIZE, "%.15g", json_real_value(json));
        return dst;
}

/* Appends "/" and @token, escaped by RFC 6901, to the pointer at @dst. What does not fit is cut,
 * but never inside an escape: the rest is still a pointer. */
static void append_pointer(char *dst, size_t dst_size, const char *token)
{
        size_t used = strlen(dst);

        if (used + 1 < dst_size)
                dst[used++] = '/';
        for (; *token; token++) {
                const char escaped = *token == '~' ? '0' : *token == '/' ? '1' : '\0';

                if (used + (escaped ? 2 : 1) >= dst_size)
                        break;
                dst[used++] = escaped ? '~' : *token;
                if (escaped)
                        dst[used++] = escaped;
        }
        dst[used] = '\0';
}

/* Blames the field, or the element of it that b->key names. */
int blame_field(const struct blame *b, const char *fmt, ...)
{
        char pointer[sizeof(b->err->field)] = "";
        char message[sizeof(b->err->message)];
        char key[KEY_SIZE] = "";
        va_list ap;

        append_pointer(pointer, sizeof(pointer), b->name);
        if (b->key) {
                append_pointer(pointer, sizeof(pointer), b->key);
                make_printable(key, sizeof(key), b->key, strlen(b->key));
        }

        va_start(ap, fmt);
        (void)vsnprintf(message, sizeof(message), fmt, ap); /* cut when too long */
        va_end(ap);

        return error_set_field(b->err, -EINVAL, pointer, "%s%s%s: %s", b->name, b->key ? "/" : "",
                               key, message);
}

static const char *type_name(const json_t *json)
{
        switch (json_typeof(json)) {
        case JSON_OBJECT:
                return "an object";
        case JSON_ARRAY:
                return "an array";
        case JSON_STRING:
                return "a string";
        case JSON_INTEGER:
        case JSON_REAL:
                return "a number";
        case JSON_TRUE:
        case JSON_FALSE:
                return "a boolean";
        case JSON_NULL:
                break;
        }
        return "null";
}

/* Says which type came instead of the expected one. */
int blame_type(const struct blame *b, const char *expected, const json_t *json)
{
        return blame_field(b, "expected %s, got %s", expected, type_name(json));
}

/* A limit of the table in the unit that the client uses. */
static double limit_on_wire(const struct json_field *f, uint64_t limit)
{
        return f->type == JSON_FIELD_SECONDS ? (double)limit / 1000 : (double)limit;
}

/* Says what a number has to be. The upper limit of seconds is named, too, although more than that
 * is no error: it is what the client would get. */
int blame_range(const struct blame *b, const char *got)
{
        const struct json_field *f = b->field;

        if (f->max > 0)
                return blame_field(b, "must be between %.15g and %.15g, got %s",
                                   limit_on_wire(f, f->min), limit_on_wire(f, f->max), got);
        return blame_field(b, "must be at least %.15g, got %s", limit_on_wire(f, f->min), got);
}
