/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/json/write.h"

#include <string.h>

#include "agent/json/escape.h"

/* See the header. */
int json_write_escaped(struct buf *b, const char *text, size_t size)
{
        struct json_escaper escaper;
        char piece[1024];
        int r = 0;

        json_escape_init(&escaper);
        while (size > 0 && r == 0) {
                size_t taken;
                size_t n = json_escape(&escaper, text, size, &taken, piece, sizeof(piece));

                text += taken;
                size -= taken;
                r = buf_append(b, piece, n);
        }
        return r < 0 ? r : buf_append(b, piece, json_escape_finish(&escaper, piece));
}

/* See the header. */
int json_write_string(struct buf *b, const char *text)
{
        int r;

        if (!text)
                return buf_append_str(b, "null");
        r = buf_append_str(b, "\"");
        if (r == 0)
                r = json_write_escaped(b, text, strlen(text));
        return r < 0 ? r : buf_append_str(b, "\"");
}

/* See the header. */
int json_write_member(struct buf *b, const char *key, const char *text)
{
        int r = buf_appendf(b, ",\"%s\":", key);

        return r < 0 ? r : json_write_string(b, text);
}
