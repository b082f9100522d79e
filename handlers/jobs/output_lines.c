/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/jobs/output_lines.h"

#include <inttypes.h>

#include <jansson.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/utf8.h"
#include "proc/job_link.h"

#define MAX_CHARACTER 4

/* See the header. */
size_t output_line_size(const struct follower_piece *p, enum document_encoding encoding,
                        uint64_t budget)
{
        /* However small the budget is: a line has something in it. */
        size_t size = (size_t)MIN(p->size, MAX(budget, (uint64_t)MAX_CHARACTER));

        if (encoding == DOCUMENT_BASE64 || (p->is_last && size == p->size))
                return size;
        return utf8_complete_prefix(p->data, size);
}

static json_t *describe(const struct follower_piece *p, size_t size)
{
        json_t *fields = json_pack("{s:s, s:I, s:I}", "type", channel_names[p->channel], "offset",
                                   (json_int_t)p->offset, "next_offset",
                                   (json_int_t)(p->offset + size));

        if (p->lost > 0)
                json_object_set_new(fields, "lost", json_integer((json_int_t)p->lost));
        return fields;
}

/* See the header. */
int output_line_append(struct buf *b, const struct follower_piece *p, size_t size,
                       enum document_encoding encoding)
{
        const struct document_piece text = { .data = p->data, .size = size };
        struct document *d = document_new(describe(p, size));
        char part[16 * KIB];
        size_t n;
        int r = 0;

        document_add_text(d, "data", encoding, &text, 1, NULL, NULL);
        while (r == 0 && (n = document_read(d, part, sizeof(part))) > 0)
                r = buf_append(b, part, n);
        document_free(d);
        return r;
}

/* See the header. */
int output_line_append_end(struct buf *b, const struct output_end *e)
{
        char now[CLOCK_RFC3339_SIZE];
        int r;

        r = buf_appendf(b, "{\"type\":\"%s\",\"status\":\"%s\"", e->is_complete ? "end" : "more",
                        e->status);
        if (r == 0 && e->result)
                r = buf_appendf(b, ",\"exit_code\":%d,\"reason\":\"%s\"", e->result->exit_code,
                                job_reason_name(e->result->reason));
        else if (r == 0)
                r = buf_append_str(b, ",\"exit_code\":null,\"reason\":null");
        if (r == 0 && e->result && e->result->signal > 0)
                r = buf_appendf(b, ",\"signal\":%d", e->result->signal);
        return r < 0 ? r
                     : buf_appendf(b,
                                   ",\"next_offset\":{\"stdout\":%" PRIu64 ",\"stderr\":%" PRIu64
                                   "},\"timestamp\":\"%s\"}",
                                   e->offsets[CHANNEL_STDOUT], e->offsets[CHANNEL_STDERR],
                                   clock_rfc3339_now(now));
}
