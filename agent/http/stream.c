/* SPDX-License-Identifier: Apache-2.0 */

/* Between a producer that has something now and then and MHD, which asks when it could send something: a queue.
 *
 * MHD is given no more than it sends, so what waits, waits here. While the queue is empty the connection is suspended
 * and has the hang-up watch, as at any other wait; while it is not, MHD writes and so finds out by itself that the
 * client is gone. Either way MHD reports the end of the request, and that is the only place where a stream ends. */

#include "agent/http/stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/ring.h"
#include "agent/http/connection.h"
#include "agent/http/request_private.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/http/stream_private.h"

/* Far enough below the limit for a last piece, and enough for MHD to fill a socket's buffer from. */
#define HIGH_WATER (LIMIT_STREAM_QUEUE / 4)
#define LOW_WATER  (HIGH_WATER / 4)

struct stream {
        struct request *req; /* the owner */
        const struct stream_ops *ops;
        void *arg;
        struct ring queue;
        uint64_t sent_ms; /* when MHD took something last */
        bool is_full;     /* the producer waits for on_writable */
        bool is_ended;    /* nothing more will come */
        bool is_lost;     /* nobody reads, or a part is missing: the connection is closed */
};

/* See stream_private.h. */
struct stream *stream_new(struct request *req, const struct stream_ops *ops, void *arg)
{
        struct stream *s = xnew(struct stream);

        s->req = req;
        s->ops = ops;
        s->arg = arg;
        s->sent_ms = clock_now_ms();
        ring_init(&s->queue, LIMIT_STREAM_QUEUE);
        return s;
}

/* See the header. */
bool stream_is_open(const struct stream *s)
{
        return !s->is_ended && !s->is_lost;
}

/* An answer without chunks ends where its connection does, so an ordinary end of that would make it look complete. MHD
 * shuts connections down before it closes them, hence not only SO_LINGER: on Linux this resets it at once. */
static void reset(const struct connection *c)
{
        const struct linger linger = { .l_onoff = 1, .l_linger = 0 };
        const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

        /* They fail only when the peer has ended it already. */
        (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        (void)connect(c->fd, &nowhere, sizeof(nowhere));
}

/* See stream_private.h. */
void stream_lose(struct stream *s)
{
        s->is_lost = true;
        ring_done(&s->queue);
        if (s->req->is_http_1_0 && s->req->connection)
                reset(s->req->connection);
        request_wake(s->req);
}

/* See the header. */
void stream_break(struct stream *s)
{
        if (s->is_lost)
                return;
        log_warning("stream broken", "id=%s", s->req->id);
        stream_lose(s);
}

/* All of it, or nothing: with a gap in its middle an answer is worth less than one that breaks off. */
static bool enqueue(struct stream *s, const void *data, size_t size)
{
        size_t used = ring_size(&s->queue);

        if (size > LIMIT_STREAM_QUEUE - used)
                return false;
        ring_append(&s->queue, data, size);
        return ring_size(&s->queue) == used + size; /* otherwise there was no memory */
}

/* See the header. */
int stream_write(struct stream *s, const void *data, size_t size)
{
        if (!stream_is_open(s))
                return 0;
        if (!enqueue(s, data, size)) {
                log_warning("stream broken", "id=%s queued=%zu size=%zu", s->req->id,
                            ring_size(&s->queue), size);
                stream_lose(s);
                return 0;
        }
        if (size > 0)
                request_wake(s->req);
        s->is_full = s->is_full || ring_size(&s->queue) > HIGH_WATER;
        return s->is_full;
}

/* See the header. */
bool stream_is_idle(const struct stream *s)
{
        return ring_size(&s->queue) == 0;
}

/* See the header. */
void stream_end(struct stream *s)
{
        s->is_ended = true;
        request_wake(s->req);
}

/* See stream_private.h. */
void stream_end_all(struct list *requests)
{
        list_for_each(pos, requests) {
                struct request *req = list_entry(pos, struct request, link);

                if (req->stream && !req->stream->ops->is_finite)
                        stream_end(req->stream);
        }
}

static size_t dequeue(struct stream *s, char *dst, size_t size)
{
        struct ring_slice slices[2];
        unsigned n_slices = ring_peek(&s->queue, s->queue.start, slices);
        size_t used = 0;

        for (unsigned i = 0; i < n_slices; i++) {
                size_t n = MIN(slices[i].size, size - used);

                memcpy(dst + used, slices[i].data, n);
                used += n;
        }
        ring_discard(&s->queue, s->queue.start + used);
        return used;
}

static void ask_for_more(struct stream *s)
{
        if (!s->is_full || ring_size(&s->queue) > LOW_WATER || !stream_is_open(s))
                return;
        s->is_full = false;
        if (s->ops->on_writable)
                s->ops->on_writable(s->arg);
}

/* See stream_private.h. */
ssize_t stream_read(struct stream *s, char *dst, size_t size)
{
        size_t n = dequeue(s, dst, size);

        if (n > 0)
                s->sent_ms = clock_now_ms();
        ask_for_more(s);
        if (s->is_lost)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (n > 0)
                return (ssize_t)n;
        if (s->is_ended)
                return MHD_CONTENT_READER_END_OF_STREAM;
        request_suspend(s->req);
        return 0;
}

/* See stream_private.h. */
void stream_heartbeat(struct stream *s, uint64_t now_ms)
{
        uint64_t interval_ms = server_options(s->req->server)->heartbeat_ms;

        /* A client that does not even take what there is needs no sign of life. */
        if (!s->ops->heartbeat || !stream_is_open(s) || ring_size(&s->queue) > 0 ||
            now_ms < s->sent_ms + interval_ms)
                return;
        (void)stream_write(s, s->ops->heartbeat, strlen(s->ops->heartbeat));
}

/* See stream_private.h. */
struct stream *stream_close(struct stream *s)
{
        if (!s)
                return NULL;
        s->is_lost = true;
        s->ops->on_closed(s->arg);
        ring_done(&s->queue);
        free(s);
        return NULL;
}
