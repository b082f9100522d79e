/* SPDX-License-Identifier: Apache-2.0 */

/* From a follower to a stream. The next piece is asked for when the stream takes more, so who reads slowly has its
 * job's log read slowly.
 *
 * The last line says that the output has ended, or where to go on. A client that follows and sees no such line (the
 * agent stops, or the log cannot be read any more) comes back with the offsets that it has. */

#include "handlers/jobs/output_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "jobs"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/http/request.h"
#include "agent/http/sse.h"
#include "agent/http/stream.h"
#include "handlers/jobs/output_lines.h"
#include "handlers/jobs/output_open.h"
#include "proc/jobs.h"

/* How long a client that lost its connection waits before it comes back. */
#define RETRY_MS 1000

/* A line must fit behind what a stream takes without saying stop: a byte becomes six at most, and in an event that
 * does not change. */
static_assert(FOLLOWER_PIECE * 6 + 1 * KIB <= LIMIT_STREAM_QUEUE / 2, "a piece fits");

struct output_stream {
        struct job *job;
        struct follower *follower;
        struct stream *stream;
        bool is_events;
        bool is_followed;
        uint64_t budget;
        enum document_encoding encoding;
};

/* --- writing --- */

/* Takes what is in @b. The results are those of stream_write. */
static int write_line(struct output_stream *s, const char *event, bool is_end, struct buf *b)
{
        char id[OFFSETS_ID_SIZE];
        const struct sse_event e = {
                .event = event,
                .id = offsets_write_id(id, follower_offsets(s->follower), is_end),
                .data = b->data,
                .data_size = b->size,
        };

        if (s->is_events)
                return sse_write(s->stream, &e);
        if (buf_append_str(b, "\n") < 0) {
                stream_end(s->stream);
                return 0;
        }
        return stream_write(s->stream, b->data, b->size);
}

static void finish(struct output_stream *s)
{
        const struct output_end e = {
                .status = job_phase_name(job_phase(s->job)),
                .result = job_result(s->job),
                .offsets = follower_offsets(s->follower),
                .is_complete = follower_is_complete(s->follower),
        };
        CLEANUP(buf_done) struct buf b;

        buf_init(&b, 0);
        if ((e.is_complete || !s->is_followed) && output_line_append_end(&b, &e) == 0)
                (void)write_line(s, e.is_complete ? "end" : "more", e.is_complete, &b);
        stream_end(s->stream);
}

static void go_on(struct output_stream *s)
{
        if (stream_is_open(s->stream) && (s->budget == 0 || !follower_want(s->follower)))
                finish(s);
}

/* Returns what stream_write does. */
static int write_piece(struct output_stream *s, const struct follower_piece *p)
{
        size_t size = output_line_size(p, s->encoding, s->budget);
        CLEANUP(buf_done) struct buf b;
        int r;

        buf_init(&b, 0);
        r = size > 0 || p->lost > 0 ? output_line_append(&b, p, size, s->encoding) : 0;
        if (r < 0) {
                stream_end(s->stream); /* no memory: the client comes back */
                return 0;
        }
        follower_take(s->follower, size);
        s->budget -= MIN(s->budget, (uint64_t)size);
        return b.size > 0 ? write_line(s, channel_names[p->channel], false, &b) : 0;
}

static void on_piece(void *arg, const struct follower_piece *piece)
{
        struct output_stream *s = arg;

        if (stream_is_open(s->stream) && write_piece(s, piece) == 0)
                go_on(s);
}

static void on_end(void *arg, int r)
{
        struct output_stream *s = arg;

        if (r == 0) {
                go_on(s);
                return;
        }
        log_warning("cannot read the output of a job", "job=%s error=%s", job_process_id(s->job),
                    log_quote(strerror(-r)));
        stream_end(s->stream);
}

/* --- the stream --- */

static void on_writable(void *arg)
{
        go_on(arg);
}

static void on_closed(void *arg)
{
        struct output_stream *s = arg;

        (void)follower_free(s->follower);
        (void)job_unref(s->job);
        free(s);
}

static void begin(struct output_stream *s)
{
        const struct sse_event hello = { .retry_ms = RETRY_MS };

        if (s->is_events)
                (void)sse_write(s->stream, &hello); /* too short to fill anything */
        go_on(s);
}

static bool reply(struct output_stream *s, struct request *req)
{
        static const struct stream_ops lines = { on_writable, on_closed, STREAM_HEARTBEAT_NDJSON };
        static const struct stream_ops events = { on_writable, on_closed, SSE_HEARTBEAT };

        request_set_header(req, "X-Process-Status", job_phase_name(job_phase(s->job)));
        s->stream = request_reply_stream(req, 200, s->is_events ? SSE_TYPE : STREAM_TYPE_NDJSON,
                                         s->is_events ? &events : &lines, s);
        return s->stream != NULL;
}

/* See the header. */
void output_stream_start(struct request *req, struct output_stream_options *o)
{
        static const struct follower_ops ops = { on_piece, on_end };
        struct output_stream *s = xnew(struct output_stream);

        s->is_events = o->is_events;
        s->is_followed = o->is_followed;
        s->budget = o->limit;
        s->encoding = o->encoding;
        s->job = job_ref(o->follower.job);
        s->follower = follower_new(&o->follower, &ops, s);
        if (!s->follower) {
                output_refuse_follower(req, &o->follower);
        } else if (reply(s, req)) {
                begin(s);
                return;
        }
        on_closed(s);
}
