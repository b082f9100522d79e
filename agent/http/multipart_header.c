/* SPDX-License-Identifier: Apache-2.0 */

/* How clients write names with special characters: browsers and the libraries that follow them replace a quote and
 * line ends by %22, %0A and %0D and leave everything else as it is, backslashes and percent signs too. Older ones
 * put backslashes before quotes and backslashes. Some add filename*. All of that is understood; other percent
 * codes stay, as they are part of names. */

#include "agent/http/multipart_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"

static const char *skip_blank(const char *s)
{
        return s + strspn(s, " \t\r\n");
}

static size_t token_size(const char *s)
{
        return strcspn(s, " \t\r\n;=,\"");
}

static bool is_token(const char *s, size_t size, const char *token)
{
        return size == strlen(token) && strncasecmp(s, token, size) == 0;
}

/* See the header. */
bool header_value_is(const char *value, const char *token)
{
        const char *s = skip_blank(value);
        size_t size = token_size(s);
        char end = *skip_blank(s + size);

        return is_token(s, size, token) && (end == '\0' || end == ';');
}

/* The quoted string at *p, which stands at its first quote and is moved behind the last. */
static char *read_quoted(const char **p)
{
        const char *s = *p + 1;
        struct buf b;
        size_t size;

        buf_init(&b, 0);
        (void)buf_append_str(&b, "");
        for (; *s != '"'; s++) {
                if (*s == '\0') {
                        buf_done(&b);
                        return NULL;
                }
                if (*s == '\\' && (s[1] == '"' || s[1] == '\\'))
                        s++;
                (void)buf_append(&b, s, 1);
        }
        *p = s + 1;
        return b.data ? buf_steal(&b, &size) : xstrdup("");
}

static char *read_value(const char **p)
{
        const char *start = *p;
        size_t size;

        if (*start == '"')
                return read_quoted(p);
        size = strcspn(start, " \t\r\n;");
        *p = start + size;
        return xstrndup(start, size);
}

/* See the header. */
char *header_parameter(const char *value, const char *name)
{
        const char *p = value + strcspn(value, ";");

        while (*p == ';') {
                const char *key = skip_blank(p + 1);
                size_t key_size = token_size(key);
                char *found;

                p = skip_blank(key + key_size);
                if (*p != '=') { /* no value, or an empty parameter */
                        p += strcspn(p, ";");
                        continue;
                }
                p = skip_blank(p + 1);
                found = read_value(&p);
                if (!found || is_token(key, key_size, name))
                        return found;
                free(found);
                p = skip_blank(p);
        }
        return NULL;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* The byte that is written as %XX at @s; −1: none is. */
static int percent_code(const char *s)
{
        int high = s[0] == '%' ? hex_digit(s[1]) : -1;
        int low = high >= 0 ? hex_digit(s[2]) : -1;

        return low >= 0 ? high * 16 + low : -1;
}

/* In place; false: a NUL. */
static bool decode(char *s, bool all)
{
        char *dst = s;

        while (*s) {
                int c = percent_code(s);

                if (c == 0 && all)
                        return false;
                if (c >= 0 && (all || c == '"' || c == '\r' || c == '\n')) {
                        *dst++ = (char)c;
                        s += 3;
                } else {
                        *dst++ = *s++;
                }
        }
        *dst = '\0';
        return true;
}

/* filename*=UTF-8'en'na%C3%AFve.txt */
static char *extended_parameter(const char *value, const char *name)
{
        CLEANUP(mem_free) char *raw = header_parameter(value, name);
        const char *language = raw ? strchr(raw, '\'') : NULL;
        const char *text = language ? strchr(language + 1, '\'') : NULL;
        char *copy;

        if (!text || !is_token(raw, (size_t)(language - raw), "UTF-8"))
                return NULL;
        copy = xstrdup(text + 1);
        if (decode(copy, true))
                return copy;
        free(copy);
        return NULL;
}

static char *form_parameter(const char *value, const char *name)
{
        char *s = header_parameter(value, name);

        if (s)
                (void)decode(s, false);
        return s;
}

static int take_disposition(struct part_header *h, const char *value, struct error *err)
{
        if (h->name || h->filename)
                return error_set(err, -EBADMSG, "a part has several Content-Dispositions");
        if (!header_value_is(value, "form-data"))
                return error_set(err, -EBADMSG, "a part's Content-Disposition is not form-data");
        h->name = form_parameter(value, "name");
        h->filename = extended_parameter(value, "filename*");
        if (!h->filename)
                h->filename = form_parameter(value, "filename");
        return 0;
}

static int take_line(struct part_header *h, const char *name, const char *value, struct error *err)
{
        static const char *const harmless[] = { "7bit", "8bit", "binary" };

        if (str_equal_nocase(name, "Content-Disposition"))
                return take_disposition(h, value, err);
        if (str_equal_nocase(name, "Content-Type") && !h->type)
                h->type = xstrdup(value);
        if (!str_equal_nocase(name, "Content-Transfer-Encoding"))
                return 0;
        for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
                if (header_value_is(value, harmless[i]))
                        return 0;
        return error_set(err, -EBADMSG, "a part has the Content-Transfer-Encoding '%.32s'", value);
}

/* The size of the header at @s: its line, and those that continue it. */
static size_t header_size(const char *s)
{
        size_t size = 0;

        do {
                size += strcspn(s + size, "\r\n");
                if (s[size] == '\r' && s[size + 1] == '\n' &&
                    (s[size + 2] == ' ' || s[size + 2] == '\t'))
                        size += 2;
                else
                        break;
        } while (s[size]);
        return size;
}

static int take_header(struct part_header *h, const char *line, size_t size, struct error *err)
{
        CLEANUP(mem_free) char *name = xstrndup(line, size);
        char *value = strchr(name, ':');
        size_t end;

        if (!value)
                return error_set(err, -EBADMSG, "a part has a header without a colon");
        end = (size_t)(value - name);
        while (end > 0 && (name[end - 1] == ' ' || name[end - 1] == '\t'))
                end--;
        name[end] = '\0';
        value += 1 + strspn(value + 1, " \t\r\n");
        for (end = strlen(value); end > 0 && strchr(" \t\r\n", value[end - 1]);)
                value[--end] = '\0';
        return take_line(h, name, value, err);
}

/* See the header. */
int part_header_parse(const char *text, size_t size, struct part_header *ret, struct error *err)
{
        *ret = (struct part_header){ 0 };
        if (strlen(text) != size)
                return error_set(err, -EBADMSG, "the headers of a part have a NUL byte");
        for (text += strspn(text, "\r\n"); *text;) {
                size_t n = header_size(text);
                int r = take_header(ret, text, n, err);

                if (r < 0)
                        return r;
                text += n;
                text += strspn(text, "\r\n");
        }
        if (!ret->name)
                return error_set(err, -EBADMSG, "a part has no name");
        return 0;
}

/* Frees what was parsed. */
void part_header_done(struct part_header *h)
{
        free(h->name);
        free(h->filename);
        free(h->type);
        *h = (struct part_header){ 0 };
}
