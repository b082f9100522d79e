/* SPDX-License-Identifier: Apache-2.0 */

/* "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu": any number of optional fields come
 * before the lone "-". */

#include "agent/host/mounts.h"

#include <stddef.h>
#include <string.h>

#include "agent/base/macros.h"
#include "agent/host/text.h"

static bool is_octal(char c)
{
        return c >= '0' && c <= '7';
}

/* Blanks, line ends and backslashes of names are written \040 and so on. */
static void unescape(char *s)
{
        char *to = s;

        for (; *s; s++) {
                if (*s == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
                        *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
                        s += 3;
                } else {
                        *to++ = *s;
                }
        }
        *to = '\0';
}

static bool parse(char *line, struct host_mount *ret)
{
        char *fields[6] = { NULL }, *rest[3] = { NULL }, *state = NULL, *word = line;

        for (size_t i = 0; i < ARRAY_LEN(fields); i++, word = NULL)
                fields[i] = strtok_r(word, " ", &state);
        do
                word = strtok_r(NULL, " ", &state);
        while (word && strcmp(word, "-") != 0);
        for (size_t i = 0; word && i < ARRAY_LEN(rest); i++)
                rest[i] = strtok_r(NULL, " ", &state);
        if (!rest[2])
                return false;
        unescape(fields[3]);
        unescape(fields[4]);
        unescape(rest[1]);
        *ret = (struct host_mount){ .device = fields[2],
                                    .root = fields[3],
                                    .point = fields[4],
                                    .type = rest[0],
                                    .source = rest[1],
                                    .options = rest[2] };
        return true;
}

/* See the header. */
bool host_mount_next(char **text, struct host_mount *ret)
{
        char *line;

        while ((line = host_text_line(text)) != NULL)
                if (parse(line, ret))
                        return true;
        return false;
}

/* See the header. */
bool host_mount_has(const char *list, const char *word)
{
        size_t size = strlen(word);

        for (const char *s = list; s; s = strchr(s, ',')) {
                s += *s == ',';
                if (strncmp(s, word, size) == 0 && (s[size] == ',' || s[size] == '\0'))
                        return true;
        }
        return false;
}
