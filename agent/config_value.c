/* SPDX-License-Identifier: Apache-2.0 */

/* One value of one option: text to memory, compare, exchange, free. What is stored where follows from the
 * row's type alone, so this file is the only one that casts into struct config. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/log.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/config_table.h"
#include "agent/listen.h"

/* What a message may say about a wrong value. */
#define shown(o, text) ((o)->flags & OPTION_SECRET ? "a value that is not shown" : log_quote(text))

static void *place(const struct option_row *o, const struct config *c)
{
        return (char *)c + o->offset;
}

bool option_is_list(const struct option_row *o)
{
        return o->type == OPTION_LIST || o->type == OPTION_PATH_LIST;
}

static bool is_string(const struct option_row *o)
{
        return o->type == OPTION_STRING || o->type == OPTION_PATH || o->type == OPTION_ADDRESS ||
               o->type == OPTION_CHOICE;
}

/* Writes @n in the largest unit that divides it: 16M, 30s. */
static const char *format_number(const struct option_row *o, uint64_t n, char dst[32])
{
        static const struct {
                enum option_type type;
                uint64_t factor;
                const char *suffix;
        } units[] = {
                { OPTION_SIZE, 1024 * (uint64_t)GIB, "T" },
                { OPTION_SIZE, GIB, "G" },
                { OPTION_SIZE, MIB, "M" },
                { OPTION_SIZE, KIB, "K" },
                { OPTION_DURATION, 3600 * 1000, "h" },
                { OPTION_DURATION, 60 * 1000, "m" },
                { OPTION_DURATION, 1000, "s" },
                { OPTION_DURATION, 1, "ms" },
        };

        for (size_t i = 0; n > 0 && i < ARRAY_LEN(units); i++) {
                if (units[i].type != o->type || n % units[i].factor != 0)
                        continue;
                (void)snprintf(dst, 32, "%" PRIu64 "%s", n / units[i].factor, units[i].suffix);
                return dst;
        }
        (void)snprintf(dst, 32, "%" PRIu64, n);
        return dst;
}

static int parse_number(const struct option_row *o, const char *text, uint64_t *ret,
                        struct error *err)
{
        const char *what = "a whole number";
        char min[32];
        char max[32];
        uint64_t n = 0;
        int r;

        switch (o->type) {
        case OPTION_SIZE:
                what = "a size such as 512K, 16M or 1G";
                r = str_parse_size(text, &n);
                break;
        case OPTION_DURATION:
                what = "a time such as 500ms, 30s, 5m or 2h";
                r = str_parse_duration_ms(text, &n);
                break;
        default:
                r = str_parse_u64(text, &n);
        }

        /* Too large for the parser is too large for the range too. */
        if (r < 0 && r != -ERANGE)
                return error_set_field(err, -EINVAL, "", "must be %s, got %s", what,
                                       shown(o, text));
        if (r == -ERANGE || n < o->min || n > o->max)
                return error_set_field(err, -ERANGE, "", "must be between %s and %s, got %s",
                                       format_number(o, o->min, min), format_number(o, o->max, max),
                                       shown(o, text));
        *ret = n;
        return 0;
}

static int parse_name(const struct option_row *o, const char *text, int *ret, struct error *err)
{
        char all[128] = "";
        size_t size = 0;

        for (int i = 0; o->names[i]; i++) {
                if (str_equal(o->names[i], text)) {
                        *ret = i;
                        return 0;
                }
                (void)snprintf(all + size, sizeof(all) - size, "%s%s", i > 0 ? ", " : "",
                               o->names[i]);
                size = strlen(all);
        }
        return error_set_field(err, -EINVAL, "", "must be one of %s, got %s", all, shown(o, text));
}

static int parse_path(const struct option_row *o, const char *text, const char *base, char **ret,
                      struct error *err)
{
        if (!base && text[0] != '/')
                return error_set_field(err, -EINVAL, "", "must be an absolute path, got %s",
                                       shown(o, text));
        return path_normalize(base ? base : "/", text, ret, err);
}

/* Strings end up in JSON, headers and log lines. */
static int parse_string(const struct option_row *o, const char *text, char **ret, struct error *err)
{
        bool bad = !utf8_is_valid(text, strlen(text));

        for (const char *p = text; *p; p++)
                bad = bad || (unsigned char)*p < ' ' || *p == 0x7f;
        if (bad)
                return error_set_field(err, -EINVAL, "",
                                       "must be UTF-8 without control characters, got %s",
                                       shown(o, text));
        *ret = xstrdup(text);
        return 0;
}

static int parse_address(const char *text, char **ret, struct error *err)
{
        struct sockaddr_storage address;
        socklen_t len;
        int r;

        r = listen_parse(text, &address, &len, err);
        if (r < 0)
                return r;
        *ret = xstrdup(text);
        return 0;
}

static int parse_text(const struct option_row *o, const char *text, const char *base, char **ret,
                      struct error *err)
{
        int index;
        int r;

        switch (o->type) {
        case OPTION_PATH:
        case OPTION_PATH_LIST:
                return parse_path(o, text, base, ret, err);
        case OPTION_ADDRESS:
                return parse_address(text, ret, err);
        case OPTION_CHOICE:
                r = parse_name(o, text, &index, err);
                if (r < 0)
                        return r;
                *ret = xstrdup(o->names[index]);
                return 0;
        default:
                return parse_string(o, text, ret, err);
        }
}

/* Numbers, enums and bools are written only after they parsed; strings replace what was there. */
int option_parse(const struct option_row *o, struct config *c, const char *text, const char *base,
                 struct error *err)
{
        char *s = NULL;
        int r;

        if (!*text && o->def)
                return error_set_field(err, -EINVAL, "", "must not be empty");
        if (!*text) {
                option_clear(o, c);
                return 0;
        }

        switch (o->type) {
        case OPTION_ENUM:
                return parse_name(o, text, place(o, c), err);
        case OPTION_BOOL:
                r = str_parse_bool(text, place(o, c));
                if (r < 0)
                        return error_set_field(err, -EINVAL, "", "must be true or false, got %s",
                                               shown(o, text));
                return 0;
        case OPTION_UNSIGNED:
        case OPTION_SIZE:
        case OPTION_DURATION:
                return parse_number(o, text, place(o, c), err);
        default:
                break;
        }

        r = parse_text(o, text, base, &s, err);
        if (r < 0)
                return r;
        if (option_is_list(o)) {
                char ***list = place(o, c);

                *list = strv_append(*list, s);
        } else {
                option_clear(o, c);
                *(char **)place(o, c) = s;
        }
        return 0;
}

/* Scalars have nothing to free; they keep their value, because they always have one. */
void option_clear(const struct option_row *o, struct config *c)
{
        if (option_is_list(o)) {
                char ***list = place(o, c);

                *list = strv_free(*list);
        } else if (is_string(o)) {
                char **s = place(o, c);

                *s = mem_free(*s);
        }
}

static bool lists_equal(char *const *a, char *const *b)
{
        size_t n = strv_len(a);

        if (n != strv_len(b))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!str_equal(a[i], b[i]))
                        return false;
        return true;
}

static size_t scalar_size(const struct option_row *o)
{
        switch (o->type) {
        case OPTION_ENUM:
                return sizeof(int);
        case OPTION_BOOL:
                return sizeof(bool);
        case OPTION_UNSIGNED:
        case OPTION_SIZE:
        case OPTION_DURATION:
                return sizeof(uint64_t);
        default:
                return sizeof(void *); /* a string or a list: the pointer */
        }
}

/* By content, order included. */
bool option_equal(const struct option_row *o, const struct config *a, const struct config *b)
{
        if (option_is_list(o))
                return lists_equal(*(char ***)place(o, a), *(char ***)place(o, b));
        if (is_string(o))
                return str_equal(*(char **)place(o, a), *(char **)place(o, b));
        return memcmp(place(o, a), place(o, b), scalar_size(o)) == 0;
}

/* No value is larger than a uint64_t. */
void option_swap(const struct option_row *o, struct config *a, struct config *b)
{
        size_t size = scalar_size(o);
        uint64_t tmp;

        assert(size <= sizeof(tmp));
        memcpy(&tmp, place(o, a), size);
        memcpy(place(o, a), place(o, b), size);
        memcpy(place(o, b), &tmp, size);
}

/* Later sources replace whole lists. */
int option_source_set(struct option_source *s, const struct option_row *o, const char *text,
                      struct error *err)
{
        size_t index = (size_t)(o - option_table);

        assert(index < OPTIONS_MAX);
        if (option_is_list(o) && !s->seen[index])
                option_clear(o, s->config);
        s->seen[index] = true;
        return option_parse(o, s->config, text, s->base, err);
}
