/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Parsing and comparing strings; nothing here accepts trailing rubbish, a sign it did not ask for, or an
 * overflow. All parsers return 0 or -EINVAL / -ERANGE and leave *ret alone on failure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int str_parse_u64(const char *s, uint64_t *ret);
/* Bytes: "4096", "64K", "16M", "2G", "1T" (powers of 1024; the suffix in either case, an optional "iB" or "B"). */
int str_parse_size(const char *s, uint64_t *ret);
/* Milliseconds: "1500ms", "10s", "5m", "2h"; a bare number is seconds. */
int str_parse_duration_ms(const char *s, uint64_t *ret);
/* "true/false", "yes/no", "on/off", "1/0". */
int str_parse_bool(const char *s, bool *ret);

bool str_equal(const char *a, const char *b); /* NULL equals NULL only */
bool str_equal_nocase(const char *a, const char *b);
bool str_has_prefix(const char *s, const char *prefix);
/* Letters, digits and underscores of ASCII, no digit first: a name that any shell knows what to do with. */
bool str_is_variable_name(const char *s);

/* A NULL-terminated array of strings, all owned. */
char **strv_append(char **v,
                   char *s); /* takes @s; returns the (moved) array; aborts without memory */
size_t strv_len(char *const *v);
char **strv_free(char **v);
static inline void strv_free_cleanup_(char ***v)
{
        *v = strv_free(*v);
}
