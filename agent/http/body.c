/* SPDX-License-Identifier: Apache-2.0 */

/* A request's body between MHD, which reads it, and a handler, which may be slow.
 *
 * MHD calls the access handler once (or more often, while it is suspended in there) with the headers, then with
 * pieces of the body, then with its end. Pausing is suspending: MHD forgets the socket, its buffer fills, and the
 * client has to wait.
 *
 * An answer in the middle of a body is what MHD cannot send. A small rest is read, and the answer goes its usual
 * way. After a larger one the answer is written to the socket here, and the connection is over. But it must not be
 * closed at once: data that arrives at a closed socket is answered by a reset, and that can cost the client an
 * answer it has not read yet. So what it goes on sending is thrown away for a while. */

#include "agent/http/body_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"
#include "agent/http/connection.h"
#include "agent/http/refusal.h"
#include "agent/http/request_private.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"

#define PROGRESS         (4 * KIB) /* has to come within body-timeout */
#define LINGER_MS        30000
#define LINGER_SILENT_MS 5000

static const char *header(const struct request *req, const char *name)
{
        return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

/* See body_private.h. */
void body_new(struct request *req)
{
        struct body *b = xnew(struct body);
        const char *length = header(req, "Content-Length");

        b->max = server_options(req->server)->max_upload;
        if (length)
                b->has_size = str_parse_u64(length, &b->size) == 0;
        else
                b->has_size = !header(req, "Transfer-Encoding");
        req->upload = b;
}

/* The client has to send something now. */
static void expect_progress(struct request *req)
{
        req->upload->mark = req->upload->received;
        connection_expect(req->connection, server_options(req->server)->body_timeout_ms);
}

static void linger(struct request *req)
{
        struct body *b = req->upload;

        b->is_lingering = true;
        b->linger_until_ms = clock_now_ms() + LINGER_MS;
        connection_expect(req->connection, LINGER_SILENT_MS);
        /* It fails only when there is nobody who could be told. */
        (void)shutdown(req->connection->fd, SHUT_WR);
}

/* The answer goes out past MHD. */
static void answer_and_linger(struct request *req)
{
        refusal_send_reply(req);
        linger(req);
}

static bool is_rest_small(const struct request *req)
{
        const struct body *b = req->upload;

        /* Who waits for "100 Continue" may go on without sending anything, ever. */
        if (!b->has_size || req->is_framing_bad || (!b->is_expected && header(req, "Expect")))
                return false;
        return b->size - MIN(b->size, b->received) <= LIMIT_DRAIN_BYTES;
}

/* See body_private.h. */
void body_answered(struct request *req)
{
        struct body *b = req->upload;

        /* Before MHD goes on to the body it can send the answer, or is told what to do on its next call. */
        if (!b->is_expected || b->is_over || b->is_discarded || b->is_lingering)
                return;
        b->is_over = true;
        b->is_paused = false;
        if (is_rest_small(req)) {
                b->is_discarded = true;
                expect_progress(req);
        } else {
                answer_and_linger(req);
        }
}

/* See body_private.h. */
bool body_abort(struct request *req, enum body_abort why)
{
        struct body *b = req->upload;

        if (!b || !b->ops || b->is_over)
                return false;
        b->is_over = true;
        req->cancel = NULL;
        b->ops->on_abort(b->arg, why);
        return true;
}

static enum MHD_Result wait_or_leave(struct request *req)
{
        if (req->state == REQUEST_GONE)
                return MHD_NO;
        if (!req->is_suspended)
                request_suspend(req);
        return MHD_YES;
}

/* The headers are there, and what follows them waits. */
static enum MHD_Result begin(struct request *req)
{
        struct body *b = req->upload;

        if (req->state == REQUEST_BODY && !req->is_dispatched)
                request_dispatch(req);
        if (req->state != REQUEST_REPLYING) {
                if (!b->ops || req->state == REQUEST_GONE)
                        return wait_or_leave(req);
                b->is_expected = true;
                expect_progress(req);
                return MHD_YES;
        }
        /* Nothing more will be sent before an answer, or nobody knows what: MHD answers and closes. */
        if (req->is_framing_bad || header(req, "Expect"))
                return request_queue_response(req);
        b->is_expected = true;
        body_answered(req);
        return MHD_YES;
}

static void refuse_size(struct request *req)
{
        char message[128];

        snprintf(message, sizeof(message), "the body is larger than the accepted %llu bytes",
                 (unsigned long long)req->upload->max);
        refusal_send(req, PROBLEM_TOO_LARGE, message);
        linger(req);
        request_ref(req);
        request_set_state(req, REQUEST_GONE);
        (void)body_abort(req, BODY_TOO_LARGE);
        request_unref(req);
}

static enum MHD_Result throw_away(struct request *req, size_t *size)
{
        struct body *b = req->upload;
        uint64_t now = clock_now_ms();

        b->received += *size;
        *size = 0;
        if (!b->is_lingering)
                return MHD_YES;
        if (now >= b->linger_until_ms)
                return MHD_NO;
        connection_expect(req->connection,
                          MIN((uint64_t)LINGER_SILENT_MS, b->linger_until_ms - now));
        return MHD_YES;
}

static enum MHD_Result take(struct request *req, const char *data, size_t *size)
{
        struct body *b = req->upload;
        size_t n = MIN(*size, (size_t)BODY_MAX_PIECE);

        if (req->is_suspended) /* MHD calls once more while it is being suspended */
                return MHD_YES;
        if (b->is_lingering || b->is_discarded)
                return throw_away(req, size);
        if (req->state != REQUEST_RUNNING)
                return MHD_NO;

        b->received += n;
        *size -= n;
        if (b->max > 0 && b->received > b->max) {
                refuse_size(req);
                return MHD_YES;
        }
        if (b->received - b->mark >= PROGRESS)
                expect_progress(req);
        request_ref(req);
        if (!b->ops->on_data(b->arg, data, n) && req->state == REQUEST_RUNNING) {
                b->is_paused = true;
                connection_expect(req->connection, 0);
                request_suspend(req);
        }
        request_unref(req);
        return MHD_YES;
}

static void end(struct request *req)
{
        struct body *b = req->upload;

        connection_expect(req->connection, 0);
        if (b->is_over || req->state != REQUEST_RUNNING)
                return;
        b->is_over = true;
        if (req->match.route->flags & ROUTE_HEARTBEAT)
                req->heartbeat_at_ms = clock_now_ms() + server_options(req->server)->heartbeat_ms;
        b->ops->on_end(b->arg);
}

/* See body_private.h. */
enum MHD_Result body_access(struct request *req, const char *data, size_t *size)
{
        struct body *b = req->upload;

        if (*size > 0)
                return take(req, data, size);
        if (!b->is_expected)
                return begin(req);
        if (b->is_lingering)
                return MHD_NO;
        end(req);
        if (req->state == REQUEST_GONE)
                return MHD_NO;
        if (!req->is_queued && (req->state == REQUEST_REPLYING || req->spaces > 0))
                return request_queue_response(req);
        if (req->is_queued)
                return MHD_YES;
        return wait_or_leave(req);
}

/* See the header. */
bool request_read_body(struct request *req, const struct body_ops *ops, void *arg)
{
        assert(req->upload && !req->upload->ops);
        assert(req->state != REQUEST_REPLYING);
        if (req->state != REQUEST_RUNNING)
                return false;
        req->upload->ops = ops;
        req->upload->arg = arg;
        request_wake(req);
        return true;
}

/* See the header. */
void request_body_resume(struct request *req)
{
        if (!req->upload || !req->upload->is_paused || req->state != REQUEST_RUNNING)
                return;
        req->upload->is_paused = false;
        expect_progress(req);
        request_wake(req);
}

/* See the header. */
bool request_body_size(const struct request *req, uint64_t *ret)
{
        if (req->upload->has_size)
                *ret = req->upload->size;
        return req->upload->has_size;
}

/* See the header. */
uint64_t request_body_received(const struct request *req)
{
        return req->upload->received;
}
