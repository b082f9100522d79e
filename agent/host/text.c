/* SPDX-License-Identifier: Apache-2.0 */

/* Files of /proc and of cgroups are text of numbers. What is missing or unexpected is no error worth a word: kernels
 * and containers differ, and then there is simply one figure less. */

#include "agent/host/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/error.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"

/* /proc/stat and mountinfo grow with processors, interrupts and mounts. */
#define MAX_TEXT (4 * MIB)

/* See the header. */
int host_text_read(const char *root, const char *path, struct buf *ret)
{
        CLEANUP(mem_free) char *whole = xasprintf("%s%s", root, path);
        struct error err = ERROR_INIT;
        int r;

        buf_done(ret);
        r = fd_read_file(whole, MAX_TEXT, ret, &err);
        return r == 0 && !ret->data ? -ENODATA : r;
}

/* See the header. */
int host_text_number(const char *dir, const char *name, uint64_t *ret)
{
        CLEANUP(mem_free) char *path = xasprintf("/%s", name);
        CLEANUP(buf_done) struct buf text = { 0 };
        const char *s;
        int r = host_text_read(dir, path, &text);

        if (r < 0)
                return r;
        s = text.data;
        if (str_has_prefix(s, "max") || str_has_prefix(s, "-1"))
                *ret = UINT64_MAX;
        else if (!host_text_next(&s, ret))
                return -EINVAL;
        return 0;
}

/* See the header. */
bool host_text_find(const char *text, const char *key, uint64_t *ret)
{
        size_t size = strlen(key);

        while (text && *text) {
                if (strncmp(text, key, size) == 0) {
                        const char *s = text + size;

                        if (host_text_next(&s, ret))
                                return true;
                }
                text = strchr(text, '\n');
                text = text ? text + 1 : NULL;
        }
        return false;
}

/* See the header. */
char *host_text_line(char **text)
{
        char *line = *text, *end;

        if (!line || !*line)
                return NULL;
        end = strchr(line, '\n');
        if (end)
                *end++ = '\0';
        *text = end;
        return line;
}

/* See the header. */
bool host_text_next(const char **text, uint64_t *ret)
{
        const char *s = *text + strspn(*text, " \t");
        unsigned long long value;
        char *end;

        if (*s < '0' || *s > '9')
                return false;
        errno = 0;
        value = strtoull(s, &end, 10);
        if (errno != 0)
                return false;
        *ret = value;
        *text = end;
        return true;
}
