/* SPDX-License-Identifier: Apache-2.0 */

/* An event is a few lines and an empty one. A client takes CR, LF and CR LF for the end of a line, so whatever of these
 * were left in a field would begin another field. */

#include "agent/http/sse.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "agent/base/buf.h"
#include "agent/http/request.h"
#include "agent/http/stream_private.h"

static bool is_one_line(const char *s)
{
        return !s || !strpbrk(s, "\r\n");
}

static const char *find_line_end(const char *data, const char *end)
{
        while (data < end && *data != '\r' && *data != '\n')
                data++;
        return data;
}

/* Its lines as fields. No data at all is one empty line. */
static int append_data(struct buf *b, const char *data, size_t size)
{
        const char *end = data + size;
        int r;

        for (;;) {
                const char *line_end = find_line_end(data, end);

                r = buf_append_str(b, "data: ");
                if (r == 0)
                        r = buf_append(b, data, (size_t)(line_end - data));
                if (r == 0)
                        r = buf_append_str(b, "\n");
                if (r < 0 || line_end == end)
                        return r;
                data = line_end + 1;
                if (*line_end == '\r' && data < end && *data == '\n')
                        data++;
        }
}

static int append_event(struct buf *b, const struct sse_event *e)
{
        int r = 0;

        if (e->retry_ms > 0)
                r = buf_appendf(b, "retry: %" PRIu64 "\n", e->retry_ms);
        if (r == 0 && e->id)
                r = buf_appendf(b, "id: %s\n", e->id);
        if (r == 0 && e->event)
                r = buf_appendf(b, "event: %s\n", e->event);
        if (r == 0 && e->data)
                r = append_data(b, e->data, e->data_size);
        return r == 0 ? buf_append_str(b, "\n") : r;
}

/* See the header. */
int sse_append(struct buf *b, const struct sse_event *e)
{
        size_t size = b->size;
        int r;

        if (!is_one_line(e->id) || !is_one_line(e->event))
                return -EINVAL;
        r = append_event(b, e);
        if (r < 0 && b->data) {
                b->size = size;
                b->data[size] = '\0';
        }
        return r;
}

/* See the header. */
int sse_write(struct stream *s, const struct sse_event *e)
{
        CLEANUP(buf_done) struct buf b;
        int r;

        buf_init(&b, 0);
        r = sse_append(&b, e);
        if (r < 0) {
                stream_lose(s);
                return 0;
        }
        return stream_write(s, b.data, b.size);
}

/* See the header. */
const char *sse_last_event_id(const struct request *req)
{
        const char *id = request_header(req, "Last-Event-ID");

        return id && *id ? id : NULL; /* an empty one is how an event forgets the id */
}
