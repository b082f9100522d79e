/* SPDX-License-Identifier: Apache-2.0 */

/* Which modules a piece of Python wants, at a glance: names in lines that have "import" in them. It need not be right:
 * a wrong guess costs time and nothing else, as either pool runs everything. */

#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"
#include "proc/warm_private.h"

/* Imports are at the top. */
#define MAX_SCANNED (256 * KIB)

/* What imports numpy, and mostly one or two of the others. */
static const char *const followers[] = { "seaborn",     "scipy",        "sklearn",
                                         "statsmodels", "xarray",       "skimage",
                                         "pylab",       "mpl_toolkits", "geopandas" };

static bool is_word(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
}

static bool has_word(const char *line, size_t size, const char *word)
{
        size_t word_size = strlen(word);
        const char *end = line + size, *at = line;

        while ((at = memmem(at, (size_t)(end - at), word, word_size)) != NULL) {
                const char *after = at + word_size;

                if ((at == line || !is_word(at[-1])) && (after == end || !is_word(*after)))
                        return true;
                at = after;
        }
        return false;
}

static bool has_name(const char *line, size_t size, char *const *names)
{
        for (char *const *n = names; *n; n++)
                if (has_word(line, size, *n))
                        return true;
        for (size_t i = 0; i < ARRAY_LEN(followers); i++)
                if (has_word(line, size, followers[i]))
                        return true;
        return false;
}

/* See the header. */
bool warm_scan_imports(const char *code, size_t size, char *const *names)
{
        const char *end = code + MIN(size, MAX_SCANNED), *at = code;

        if (!names || !*names)
                return false;
        while (at < end && (at = memmem(at, (size_t)(end - at), "import", 6)) != NULL) {
                const char *line = at, *line_end = memchr(at, '\n', (size_t)(end - at));

                while (line > code && line[-1] != '\n')
                        line--;
                if (!line_end)
                        line_end = end;
                if (has_name(line, (size_t)(line_end - line), names))
                        return true;
                at = line_end;
        }
        return false;
}

/* See the header. */
char **warm_scan_names(const char *text)
{
        char **names = NULL;

        if (!text || str_equal(text, "none"))
                return NULL;
        while (*text) {
                size_t skipped = strspn(text, ", \t"), size;

                text += skipped;
                size = strcspn(text, ", \t");
                for (size_t i = 0; i < size; i++)
                        if (!is_word(text[i])) /* a submodule: its top is what counts */
                                size = i;
                if (size > 0)
                        names = strv_append(names, xstrndup(text, size));
                text += strcspn(text, ", \t");
        }
        return names;
}
