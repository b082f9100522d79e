/* SPDX-License-Identifier: Apache-2.0 */

/* Nothing is repaired: a name with ".." in it is refused even where it would stay inside, because two readers could
 * disagree about it as soon as links come into play.
 *
 * Links: in "b/.." the ".." goes up from wherever b leads, and b may be a link. So ".." may only stand at the
 * beginning, where it goes up from the directory that the link itself is in; that one is reached without links, so its
 * depth counts. From there on it goes down: through directories, or through links of which the same is true. */

#include "handlers/files/unpack_name.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "agent/files/temporary.h"

static bool is_name(const char *p, size_t size, const char *name)
{
        return strlen(name) == size && memcmp(p, name, size) == 0;
}

static int refuse(int r, const char *why, const char **ret_why)
{
        *ret_why = why;
        return r;
}

static bool is_temporary(const char *p, size_t size)
{
        char name[TEMPORARY_NAME_SIZE];

        if (size >= sizeof(name))
                return false;
        memcpy(name, p, size);
        name[size] = '\0';
        return temporary_is_name(name);
}

/* See the header. */
int unpack_name_parse(const char *text, struct unpack_name *ret, const char **ret_why)
{
        size_t size = 0;

        ret->depth = 0;
        ret->path[0] = '\0';
        if (text[0] == '\0')
                return refuse(-EBADMSG, "has no name", ret_why);
        if (text[0] == '/')
                return refuse(-EBADMSG, "is absolute", ret_why);
        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "/");

                if (is_name(p, n, ".."))
                        return refuse(-EBADMSG, "has \"..\" in its name", ret_why);
                if (n > NAME_MAX)
                        return refuse(-EBADMSG, "has a name of more than 255 bytes", ret_why);
                if (is_temporary(p, n))
                        return refuse(-EBADMSG, "has a name that is reserved", ret_why);
                if (n > 0 && !is_name(p, n, ".")) {
                        if (++ret->depth > LIMIT_EXTRACT_DEPTH)
                                return refuse(-EFBIG, "is in too many directories", ret_why);
                        if (size + n + 2 > sizeof(ret->path))
                                return refuse(-EBADMSG, "has a path of more than 4095 bytes",
                                              ret_why);
                        if (size > 0)
                                ret->path[size++] = '/';
                        memcpy(ret->path + size, p, n);
                        size += n;
                        ret->path[size] = '\0';
                }
                p += n + (p[n] == '/');
        }
        return 0;
}

/* See the header. */
int unpack_name_check_link(const struct unpack_name *link, const char *target, const char **ret_why)
{
        unsigned n_up = 0;
        bool goes_down = false;

        if (target[0] == '\0')
                return refuse(-EBADMSG, "is a link to nothing", ret_why);
        if (target[0] == '/')
                return refuse(-EBADMSG, "is a link to an absolute path, outside the target",
                              ret_why);
        if (strlen(target) >= PATH_MAX)
                return refuse(-EBADMSG, "is a link to a path of more than 4095 bytes", ret_why);
        for (const char *p = target; *p;) {
                size_t n = strcspn(p, "/");

                if (is_name(p, n, "..")) {
                        if (goes_down)
                                return refuse(-EBADMSG,
                                              "is a link with \"..\" behind a name, which may lead "
                                              "outside the target",
                                              ret_why);
                        if (++n_up >= link->depth)
                                return refuse(-EBADMSG, "is a link that leads outside the target",
                                              ret_why);
                } else if (n > 0 && !is_name(p, n, ".")) {
                        goes_down = true;
                }
                p += n + (p[n] == '/');
        }
        return 0;
}

/* See the header. */
const char *unpack_name_show(const char *text, char dst[UNPACK_NAME_SHOWN])
{
        bool is_cut = strlen(text) >= UNPACK_NAME_SHOWN;

        (void)snprintf(dst, UNPACK_NAME_SHOWN, "%.*s", UNPACK_NAME_SHOWN - 4, text);
        for (char *p = dst; *p; p++)
                if ((unsigned char)*p < ' ' || *p == 0x7f)
                        *p = '?';
        utf8_repair(dst);
        if (is_cut)
                memcpy(dst + strlen(dst), "...", 4);
        return dst;
}
