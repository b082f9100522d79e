/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An answer whose body comes bit by bit, for as long as it takes: chunked, or for HTTP/1.0 until the connection closes.
 *
 * What a client has not taken yet waits in a queue, so a producer is told when to stop and when to go on. All calls
 * are made on the loop. */

#include <stdbool.h>
#include <stddef.h>

struct request;
struct stream;

#define STREAM_TYPE_NDJSON      "application/x-ndjson"
#define STREAM_HEARTBEAT_NDJSON "\n"

struct stream_ops {
        /* After stream_write has returned 1: most of the queue was taken, produce more. May be NULL. Not called after
         * stream_end. */
        void (*on_writable)(void *arg);
        /* Exactly once, and nothing is called after it: everything was sent, or the client has left (what it has not
         * taken is lost). The stream is freed when this returns. Never called from inside the functions below. */
        void (*on_closed)(void *arg);
        /* Sent after the option heartbeat of silence, so that proxies do not lose patience and a client that is gone
         * without a word is found out; a constant. NULL: none. Each stream_write must then end where this may stand,
         * such as at the end of a line. */
        const char *heartbeat;
        /* The content has an end that its client has to be sure of, such as a document's or an archive's: an agent that
         * stops lets it go on for the grace period, and breaks it then. False: the stop ends it at once, as stream_end
         * does, because its content says itself whether it is complete, or never is. */
        bool is_finite;
};

/* The answer to a request, like those in request.h; its headers leave at once. @type is a constant. The stream may be
 * written to from the start. An agent that stops ends it by itself, unless it is finite. NULL: nobody is listening any
 * more, or the agent is stopping and has said so; then @ops is not called. Not for routes with ROUTE_HEARTBEAT, whose
 * header may be out already.
 *
 * A client that takes nothing for the option idle-timeout is cut. */
struct stream *request_reply_stream(struct request *req, unsigned status, const char *type,
                                    const struct stream_ops *ops, void *arg);

/* Queues a copy. 1: enough for now, wait for on_writable; 0: go on. A producer that goes on all the same, up to
 * LIMIT_STREAM_QUEUE bytes that wait, breaks the stream: its client sees the connection close in the middle of the
 * answer. So does a lack of memory. When 0 was returned last, pieces of up to LIMIT_STREAM_QUEUE / 2 always fit. When
 * the stream is not open any more this does nothing, and returns 0. */
int stream_write(struct stream *s, const void *data, size_t size);

/* True: all that was written has been handed on, to be sent. For producers that had rather skip something than have it
 * wait. */
bool stream_is_idle(const struct stream *s);

/* Nothing more will come; what is queued is still sent. A second call does nothing. */
void stream_end(struct stream *s);

/* The answer cannot be completed, and the client has to see that: what is queued is dropped, and the connection ends in
 * the middle of a chunked answer. Where the end of the connection is the end of the answer (HTTP/1.0) it is reset. Also
 * possible after stream_end, for what has not been sent yet. on_closed follows, later. */
void stream_break(struct stream *s);

/* False: what is written is thrown away, because the stream was ended (by its producer, or the agent stops), broken, or
 * left by its client. */
bool stream_is_open(const struct stream *s);
