/* SPDX-License-Identifier: Apache-2.0 */

/* Both texts are made alike in one respect after the other, and compared again. */

#include "handlers/files/replace_hint.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/base/buf.h"

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* LF for CRLF. */
static size_t unify_lines(char *dst, const char *src, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                if (src[i] != '\r' || i + 1 == size || src[i + 1] != '\n')
                        dst[n++] = src[i];
        return n;
}

/* One space for all white space in a row, and none at the ends. */
static size_t squeeze(char *dst, const char *src, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                if (!is_blank(src[i]))
                        dst[n++] = src[i];
                else if (n > 0 && dst[n - 1] != ' ')
                        dst[n++] = ' ';
        }
        return n > 0 && dst[n - 1] == ' ' ? n - 1 : n;
}

static bool contains(const char *text, size_t size, const char *old, size_t old_size,
                     size_t (*change)(char *dst, const char *src, size_t size))
{
        CLEANUP(buf_done) struct buf a = { .max = 0 };
        CLEANUP(buf_done) struct buf b = { .max = 0 };

        if (buf_reserve(&a, size + 1) < 0 || buf_reserve(&b, old_size + 1) < 0)
                return false;
        a.size = change(a.data, text, size);
        b.size = change(b.data, old, old_size);
        return b.size > 0 && memmem(a.data, a.size, b.data, b.size) != NULL;
}

/* See the header. */
const char *replace_hint(const char *text, size_t size, const char *old, size_t old_size)
{
        if (contains(text, size, old, old_size, unify_lines))
                return "; it does with other line ends (CRLF or LF)";
        if (contains(text, size, old, old_size, squeeze))
                return "; it does with other white space (blanks, tabs or line breaks)";
        return "";
}
