/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The body of a request to a route with BODY_STREAM, piece by piece.
 *
 * The handler is called when the headers are checked and the arguments (of path and query) are decoded; nothing of
 * the body has been looked at then. It answers (a refusal), or calls request_read_body, at once or later. Until
 * then nothing is read, and a client that waits for "100 Continue" does not get it: so what can be refused by the
 * headers should be, before. All calls are made on the loop. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

/* No piece is larger. */
#define BODY_MAX_PIECE (64 * 1024)

enum body_abort {
        BODY_CLIENT_LEFT, /* or was too slow (option body-timeout), or sent what is no HTTP */
        BODY_TOO_LARGE, /* a chunked body grew over the option max-upload; the client has been told */
        BODY_STOPPED,   /* the agent stops */
};

struct body_ops {
        /* The next piece, never empty; @data is valid during the call only. All of it counts as taken. False:
         * enough for now; nothing more is read from the client, and on_data is not called, until
         * request_body_resume. */
        bool (*on_data)(void *arg, const char *data, size_t size);
        /* All of it has come (it may have been nothing). Never while paused. */
        void (*on_end)(void *arg);
        /* It will not come to its end. An answer given from now on is swallowed. */
        void (*on_abort)(void *arg, enum body_abort why);
};

/* Exactly one of on_end and on_abort is called, once, and on_data never after it; none of them after an answer was
 * given, none from inside the functions here or request_*, and none when the client had left before this call:
 * then this returns false, and the handler's cancel hook was, or will be, called. Until on_end, on_abort takes the
 * place of the cancel hook (request_on_cancel), which counts again after on_end.
 *
 * An answer before on_end is allowed. It must be a small one (request_fail…, request_reply_json, _bytes, _data up
 * to 64 KiB). What is left of the body is thrown away: a little is read to its end, and the connection can be used
 * again; after more the answer leaves at once, the connection takes no more requests, and what the client goes on
 * sending is read for some seconds, because it may not look for an answer earlier.
 *
 * The caller holds a reference to @req for as long as it waits, as for every asynchronous operation. */
bool request_read_body(struct request *req, const struct body_ops *ops, void *arg);

/* After on_data has returned false. May be called from anywhere, and at any time (then it does nothing). */
void request_body_resume(struct request *req);

/* The size that the client has announced: true and *ret, or false when it did not (chunked). It is at most the option
 * max-upload. A request without a body has announced 0. Only while the handler runs. */
bool request_body_size(const struct request *req, uint64_t *ret);

/* Bytes of the body that were received. */
uint64_t request_body_received(const struct request *req);
