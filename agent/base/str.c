/* SPDX-License-Identifier: Apache-2.0 */

/* Numbers and words from text that a person or a client wrote. strtoull accepts white space,
 * signs, hexadecimal and rubbish at the end; nothing here does, so a value means what it says or
 * is refused. */

#include "agent/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"

struct unit {
        const char *suffix;
        uint64_t factor;
};

/* Reads the digits at the beginning of @s, and points *end behind them. */
static int parse_digits(const char *s, uint64_t *ret, const char **end)
{
        uint64_t value = 0;
        const char *p;

        for (p = s; *p >= '0' && *p <= '9'; p++) {
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
                        return -ERANGE;
        }
        if (p == s)
                return -EINVAL;

        *ret = value;
        *end = p;
        return 0;
}

static int parse_with_unit(const char *s, const struct unit *units, size_t n_units, uint64_t *ret)
{
        const char *end;
        uint64_t value;
        int r;

        r = parse_digits(s, &value, &end);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_units; i++) {
                if (strcasecmp(end, units[i].suffix) != 0)
                        continue;
                if (__builtin_mul_overflow(value, units[i].factor, &value))
                        return -ERANGE;
                *ret = value;
                return 0;
        }
        return -EINVAL;
}

/* Decimal digits only. -ERANGE: more than 64 bits. */
int str_parse_u64(const char *s, uint64_t *ret)
{
        static const struct unit plain[] = { { "", 1 } };

        return parse_with_unit(s, plain, ARRAY_LEN(plain), ret);
}

/* Bytes, with an optional unit. */
int str_parse_size(const char *s, uint64_t *ret)
{
        static const struct unit units[] = {
                { "", 1 },      { "B", 1 },    { "K", KIB },   { "KB", KIB },  { "KiB", KIB },
                { "M", MIB },   { "MB", MIB }, { "MiB", MIB }, { "G", GIB },   { "GB", GIB },
                { "GiB", GIB }, { "T", TIB },  { "TB", TIB },  { "TiB", TIB },
        };

        return parse_with_unit(s, units, ARRAY_LEN(units), ret);
}

/* A duration, in seconds unless it says otherwise; the result is in milliseconds. */
int str_parse_duration_ms(const char *s, uint64_t *ret)
{
        static const struct unit units[] = {
                { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 },
        };

        return parse_with_unit(s, units, ARRAY_LEN(units), ret);
}

/* The usual words for yes and no, in either case. */
int str_parse_bool(const char *s, bool *ret)
{
        static const char *const words[][2] = {
                { "false", "true" },
                { "no", "yes" },
                { "off", "on" },
                { "0", "1" },
        };

        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
                for (int value = 0; value < 2; value++) {
                        if (strcasecmp(s, words[i][value]) == 0) {
                                *ret = value == 1;
                                return 0;
                        }
                }
        }
        return -EINVAL;
}

/* strcmp that knows NULL. */
bool str_equal(const char *a, const char *b)
{
        if (!a || !b)
                return a == b;
        return strcmp(a, b) == 0;
}

/* The same without regard to the case of ASCII letters. */
bool str_equal_nocase(const char *a, const char *b)
{
        if (!a || !b)
                return a == b;
        return strcasecmp(a, b) == 0;
}

/* Every string has the empty prefix. */
bool str_has_prefix(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* See the header. */
bool str_is_variable_name(const char *s)
{
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";

        if (s[0] == '\0' || !strchr(letters, s[0]))
                return false;
        while (*s && (strchr(letters, *s) || (*s >= '0' && *s <= '9')))
                s++;
        return *s == '\0';
}

/* Appends @s, which it takes; @v may be NULL. */
char **strv_append(char **v, char *s)
{
        size_t n = strv_len(v);

        v = xrealloc_array(v, n + 2, sizeof(*v));
        v[n] = s;
        v[n + 1] = NULL;
        return v;
}

/* The number of strings; NULL is an empty array. */
size_t strv_len(char *const *v)
{
        size_t n = 0;

        while (v && v[n])
                n++;
        return n;
}

/* Frees the strings and the array. Returns NULL. */
char **strv_free(char **v)
{
        for (size_t i = 0; v && v[i]; i++)
                free(v[i]);
        free(v);
        return NULL;
}
