/* SPDX-License-Identifier: Apache-2.0 */

/* From an answer to bytes on the connection.
 *
 * An answer that is ready and small is handed over as a buffer. One that is large (a document) or not there yet (a
 * quiet execution whose header must go out before a proxy loses patience), or that comes bit by bit (stream.c), is
 * pulled by MHD through on_read; while there is nothing to send the connection is suspended, with its hang-up watch, as
 * at any other wait. */

#include "agent/http/request_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/http/body_private.h"
#include "agent/http/connection.h"
#include "agent/http/file.h"
#include "agent/http/file_private.h"
#include "agent/http/idempotency_request.h"
#include "agent/http/refusal.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/http/stream_private.h"
#include "agent/http/upgrade.h"
#include "agent/http/upgrade_private.h"
#include "agent/json/document.h"

#define READ_BLOCK (64 * KIB)

static bool is_ready(const struct request *req)
{
        return req->state == REQUEST_REPLYING;
}

static ssize_t read_stream(struct request *req, char *dst, size_t size)
{
        ssize_t n = stream_read(req->stream, dst, size);

        if (n > 0)
                req->sent += (size_t)n;
        return n;
}

static ssize_t on_read(void *cls, uint64_t position, char *dst, size_t size)
{
        struct request *req = cls;
        size_t n;

        (void)position;
        if (req->state == REQUEST_GONE)
                return MHD_CONTENT_READER_END_WITH_ERROR;
        if (req->stream)
                return read_stream(req, dst, size);
        if (req->spaces > 0) {
                n = MIN((size_t)req->spaces, size);
                memset(dst, ' ', n);
                req->spaces -= (unsigned)n;
        } else if (is_ready(req)) {
                n = reply_read(&req->reply, dst, size);
                if (n == 0)
                        return MHD_CONTENT_READER_END_OF_STREAM;
        } else {
                request_suspend(req);
                return 0;
        }
        req->sent += n;
        return (ssize_t)n;
}

static void on_reader_freed(void *cls)
{
        struct request *req = cls;

        request_unref(req);
}

/* A 304 may say how long the content is that it does not have, and MHD would; but fetch in node then waits for it until
 * the connection is closed. There is only one way to keep MHD from it: not to tell it any size. */
static bool is_not_modified(const struct request *req)
{
        return is_ready(req) && req->reply.status == MHD_HTTP_NOT_MODIFIED;
}

/* Of an answer that MHD pulls nobody knows the size. */
static struct MHD_Response *make_pulled_response(struct request *req)
{
        struct MHD_Response *response;

        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READ_BLOCK, on_read,
                                                     request_ref(req), on_reader_freed);
        /* MHD 0.9.75 sends the mark behind the last chunk to HEAD as well, which would become the beginning of the next
         * answer. So there are no chunks, and there is no next answer. */
        if (response && (str_equal(req->method, MHD_HTTP_METHOD_HEAD) || is_not_modified(req)))
                MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
        return response;
}

static void on_bytes_sent(void *cls)
{
        reply_bytes_unref(cls);
}

static struct MHD_Response *make_response(struct request *req)
{
        struct reply *reply = &req->reply;

        if (req->upgrade)
                return upgrade_response(req);
        if (req->file)
                return file_response(req->file);
        if (is_ready(req) && !reply->document && !req->stream && !is_not_modified(req)) {
                req->sent = reply->size;
                if (reply->shared)
                        return MHD_create_response_from_buffer_with_free_callback_cls(
                                reply->size, reply->data, on_bytes_sent,
                                reply_bytes_ref(reply->shared));
                return MHD_create_response_from_buffer(reply->size, STEAL(reply->data),
                                                       MHD_RESPMEM_MUST_FREE);
        }
        return make_pulled_response(req);
}

/* See request_private.h. */
void request_cors_headers(struct request *req,
                          void (*add)(void *arg, const char *name, const char *value), void *arg)
{
        char *const *origins = server_options(req->server)->cors_origins;
        const char *origin;

        if (!origins || !origins[0])
                return;
        add(arg, "Vary", "Origin");
        origin = MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, "Origin");
        for (; origin && *origins; origins++) {
                if (strcmp(*origins, "*") != 0 && strcmp(*origins, origin) != 0)
                        continue;
                add(arg, "Access-Control-Allow-Origin", origin);
                /* "*" is for requests without cookies, which ours are; not all browsers know it. */
                add(arg, "Access-Control-Expose-Headers", "X-Request-ID, *");
                return;
        }
}

/* See request_private.h. */
void request_rate_headers(struct request *req,
                          void (*add)(void *arg, const char *name, const char *value), void *arg)
{
        char number[24];

        if (req->rate.limit == 0)
                return;
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)req->rate.limit);
        add(arg, "X-RateLimit-Limit", number);
        (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)req->rate.remaining);
        add(arg, "X-RateLimit-Remaining", number);
        (void)snprintf(number, sizeof(number), "%lld", (long long)req->rate.reset_s);
        add(arg, "X-RateLimit-Reset", number);
}

static void add_header(void *arg, const char *name, const char *value)
{
        MHD_add_response_header(arg, name, value);
}

/* See request_private.h. */
enum MHD_Result request_queue_response(struct request *req)
{
        struct reply *reply = &req->reply;
        struct MHD_Response *response;
        enum MHD_Result result;

        assert(!req->is_queued);
        if (!is_ready(req)) {
                req->is_early = true;
                reply->status = 200;
                reply->type = "application/json";
        }
        response = make_response(req);
        if (!response)
                return MHD_NO;

        if (reply->type)
                MHD_add_response_header(response, "Content-Type", reply->type);
        MHD_add_response_header(response, "X-Request-ID", req->id);
        for (unsigned i = 0; i < reply->n_headers; i++)
                MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
        request_cors_headers(req, add_header, response);
        request_rate_headers(req, add_header, response);
        if (server_is_draining(req->server))
                MHD_add_response_header(response, "Connection", "close");

        req->is_queued = true;
        connection_expect(req->connection, 0);
        result = refusal_queue_response(req->conn, reply->status, response);
        if (!req->file) /* which needs it for longer */
                MHD_destroy_response(response);
        return result;
}

/* See request_private.h. */
void request_heartbeat(struct request *req, uint64_t now_ms)
{
        if (req->stream)
                stream_heartbeat(req->stream, now_ms);
        if (req->state != REQUEST_RUNNING || req->heartbeat_at_ms == 0 ||
            req->heartbeat_at_ms > now_ms)
                return;
        req->heartbeat_at_ms = now_ms + server_options(req->server)->heartbeat_ms;
        req->spaces++;
        request_wake(req);
}

static bool has_client(const struct request *req)
{
        return req->state != REQUEST_GONE && req->state != REQUEST_DONE;
}

/* See request_private.h. From here on the answer counts, and MHD is told on its own turn (R7). */
void request_accept_reply(struct request *req)
{
        req->cancel = NULL;
        if (req->claim)
                idempotency_settle(req);
        if (!has_client(req))
                return;
        request_set_state(req, REQUEST_REPLYING);
        if (req->upload)
                body_answered(req);
        request_wake(req);
}

static int accept_reply(struct request *req)
{
        request_accept_reply(req);
        return 0;
}

/* See request_private.h. */
bool request_wants_reply(const struct request *req)
{
        assert(req->state != REQUEST_REPLYING && !req->is_answered);
        return has_client(req) || req->claim;
}

/* See the header. */
int request_reply_json(struct request *req, unsigned status, json_t *body)
{
        if (!request_wants_reply(req)) {
                json_decref(body);
                return 0;
        }
        reply_set_json(&req->reply, status, body);
        return accept_reply(req);
}

/* See the header. */
int request_reply_document(struct request *req, unsigned status, struct document *body)
{
        if (!request_wants_reply(req)) {
                document_free(body);
                return 0;
        }
        if (req->claim && document_text_size(body) > LIMIT_REPLY_INLINE)
                return idempotency_settle_document(req, status, body);
        reply_set_document(&req->reply, status, body);
        return accept_reply(req);
}

/* Answers with a copy of @size bytes at @data; @type is a constant, or NULL for an answer without a body. */
int request_reply_bytes(struct request *req, unsigned status, const char *type, const void *data,
                        size_t size)
{
        char *copy;

        if (!request_wants_reply(req))
                return 0;
        copy = xcalloc(1, size + 1);
        memcpy(copy, data, size);
        reply_set_bytes(&req->reply, status, type, copy, size);
        return accept_reply(req);
}

/* See the header. */
int request_reply_text(struct request *req, unsigned status, const char *type, char *data,
                       size_t size)
{
        if (!request_wants_reply(req)) {
                free(data);
                return 0;
        }
        reply_set_bytes(&req->reply, status, type, data ? data : xcalloc(1, 1), size);
        return accept_reply(req);
}

/* See stream.h. */
struct stream *request_reply_stream(struct request *req, unsigned status, const char *type,
                                    const struct stream_ops *ops, void *arg)
{
        assert(!(req->match.route->flags & (ROUTE_HEARTBEAT | ROUTE_IDEMPOTENT)));
        if (!request_wants_reply(req))
                return NULL;
        if (server_is_draining(req->server) && !ops->is_finite) {
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                return NULL;
        }
        request_set_header(req, "Cache-Control", "no-cache");
        request_set_header(req, "X-Accel-Buffering", "no"); /* proxies like to collect answers */
        req->reply.status = status;
        req->reply.type = type;
        req->stream = stream_new(req, ops, arg);
        (void)accept_reply(req);
        return req->stream;
}

/* See upgrade.h. */
int request_reply_upgrade(struct request *req, const struct upgrade_ops *ops, void *arg)
{
        assert(req->state == REQUEST_RUNNING || req->state == REQUEST_GONE);
        assert(!(req->match.route->flags & ROUTE_IDEMPOTENT));
        req->upgrade = ops; /* after GONE it is dropped when the request is done */
        req->upgrade_arg = arg;
        if (!request_wants_reply(req))
                return 0;
        req->reply.status = 101;
        return accept_reply(req);
}

static int fail(struct request *req, enum problem p, const char *field, const char *fmt, va_list ap)
        __attribute__((format(printf, 4, 0)));

static int fail(struct request *req, enum problem p, const char *field, const char *fmt, va_list ap)
{
        char message[512];
        json_t *doc;

        (void)vsnprintf(message, sizeof(message), fmt, ap);
        utf8_repair(message);
        doc = problem_document(p, message, field, req->id);
        if (req->rate.retry_s > 0)
                json_object_set_new(doc, "retry_after",
                                    json_integer((json_int_t)req->rate.retry_s));
        return request_reply_json(req, problem_status(p), doc);
}

/* See the header. */
int request_fail(struct request *req, enum problem p, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        (void)fail(req, p, NULL, fmt, ap);
        va_end(ap);
        return 0;
}

/* See the header. */
int request_fail_field(struct request *req, enum problem p, const char *field, const char *fmt, ...)
{
        va_list ap;

        va_start(ap, fmt);
        (void)fail(req, p, field, fmt, ap);
        va_end(ap);
        return 0;
}

/* See the header. */
void request_set_header(struct request *req, const char *name, const char *value)
{
        if (request_wants_reply(req))
                reply_add_header(&req->reply, name, value);
}
