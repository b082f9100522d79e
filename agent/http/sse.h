/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html), on top of a stream. */

#include <stddef.h>
#include <stdint.h>

struct buf;
struct request;
struct stream;

#define SSE_TYPE      "text/event-stream"
#define SSE_HEARTBEAT ": \n\n" /* a comment: nobody is told of it */

struct sse_event {
        const char *id; /* what a client that comes back says in Last-Event-ID; NULL: as before */
        const char *event; /* its name; NULL: "message" */
        /* UTF-8. Every line break in it, be it LF, CR or both, arrives as LF. NULL: no data, and so no event; the id
         * and retry_ms still count. */
        const char *data;
        size_t data_size;
        uint64_t retry_ms; /* how long a client waits before it comes back; 0: as before */
};

/* Appends the event to @b. -EINVAL: a line break in the id or the name. -ENOMEM, -EFBIG: as buf_append. Nothing is
 * appended on failure. */
int sse_append(struct buf *b, const struct sse_event *e);

/* Writes the event to a stream, as stream_write does and with its results. One that cannot be written breaks the
 * stream, so that the client asks for it again. */
int sse_write(struct stream *s, const struct sse_event *e);

/* Where a client that comes back left off: the id of the last event that it has seen; NULL: it is new here. As with
 * request_header, only while the handler runs. The client may have sent anything. */
const char *sse_last_event_id(const struct request *req);
