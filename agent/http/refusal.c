/* SPDX-License-Identifier: Apache-2.0 */

/* Two situations in which MHD cannot send an error of ours:
 *
 * - In the middle of a body. A chunked body that grows over the limit would have to be read to its end first.
 * - When MHD itself refuses a request (headers over its memory, a malformed Content-Length or chunk, an unknown HTTP
 *   version) it queues an HTML page, and the version in Debian 12 even sends some of its headers twice.
 *
 * Both end the connection, nothing of an answer has been sent, and an error is far smaller than a socket's buffer, so
 * the complete answer is simply written to the socket. The second situation is recognised because MHD queues its page
 * through its own public function: this program's definition of MHD_queue_response takes precedence over the
 * library's (ELF symbol interposition), and whatever is not queued by us is MHD's. With a library that does not call
 * itself that way clients see the library's page instead. */

#include "agent/http/refusal.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/id.h"
#include "agent/http/connection.h"
#include "agent/http/request_private.h"

typedef enum MHD_Result (*queue_function)(struct MHD_Connection *, unsigned int,
                                          struct MHD_Response *);

static bool is_ours;

static void write_answer(int fd, enum problem p, const char *message, const char *request_id)
{
        json_t *doc = problem_document(p, message, NULL, request_id);
        CLEANUP(mem_free) char *body = json_dumps(doc, JSON_COMPACT);
        CLEANUP(mem_free) char *answer = NULL;

        json_decref(doc);
        if (!body)
                return;
        answer = xasprintf("HTTP/1.1 %u %s\r\n"
                           "Content-Type: application/json\r\n"
                           "X-Request-ID: %s\r\n"
                           "Content-Length: %zu\r\n"
                           "Connection: close\r\n\r\n%s",
                           problem_status(p), MHD_get_reason_phrase_for(problem_status(p)),
                           request_id, strlen(body), body);
        /* A client that takes no answer gets none. */
        (void)send(fd, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* See the header. */
void refusal_send(struct request *req, enum problem p, const char *message)
{
        write_answer(req->connection->fd, p, message, req->id);
        req->refused_status = problem_status(p);
}

static void append_header(void *arg, const char *name, const char *value)
{
        (void)buf_appendf(arg, "%s: %s\r\n", name, value);
}

/* See the header. */
void refusal_send_reply(struct request *req)
{
        const struct reply *reply = &req->reply;
        CLEANUP(buf_done) struct buf b;
        int r;

        assert(reply->is_set && !reply->document && !req->stream && !req->file && !req->upgrade);
        buf_init(&b, 0);
        (void)buf_appendf(&b, "HTTP/1.1 %u %s\r\n", reply->status,
                          MHD_get_reason_phrase_for(reply->status));
        if (reply->type)
                append_header(&b, "Content-Type", reply->type);
        append_header(&b, "X-Request-ID", req->id);
        for (unsigned i = 0; i < reply->n_headers; i++)
                append_header(&b, reply->headers[i].name, reply->headers[i].value);
        request_cors_headers(req, append_header, &b);
        request_rate_headers(req, append_header, &b);
        r = buf_appendf(&b, "Content-Length: %zu\r\nConnection: close\r\n\r\n", reply->size);
        if (r == 0)
                r = buf_append(&b, reply->data, reply->size);
        req->refused_status = reply->status;
        if (r < 0)
                return;
        req->sent = reply->size;
        /* A client that takes no answer gets none. */
        (void)send(req->connection->fd, b.data, b.size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse_for_library(struct MHD_Connection *conn, unsigned status)
{
        const struct connection *c =
                MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        enum problem p = PROBLEM_INVALID_REQUEST;
        const char *message = "the request is not well-formed HTTP/1.1";
        char id[ID_SIZE];

        switch (status) {
        case MHD_HTTP_CONTENT_TOO_LARGE:
                p = PROBLEM_TOO_LARGE;
                message = "the body is too large";
                break;
        case MHD_HTTP_URI_TOO_LONG:
                p = PROBLEM_URI_TOO_LONG;
                message = "the request target is too long";
                break;
        case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
                p = PROBLEM_HEADERS_TOO_LARGE;
                message = "the headers are too large";
                break;
        case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED:
                p = PROBLEM_HTTP_VERSION;
                message = "only HTTP/1.0 and HTTP/1.1 are spoken here";
                break;
        default:
                break;
        }
        if (c->request && c->request->refused_status > 0)
                return; /* it has its answer, and goes on with something else */
        if (c->request)
                refusal_send(c->request, p, message);
        else
                write_answer(c->fd, p, message, id_new(id, "req_"));
}

/* Takes precedence over the library's function of the same name; see the top of this file. MHD_NO makes MHD close
 * the connection. */
__attribute__((visibility("default"))) enum MHD_Result MHD_queue_response(
        struct MHD_Connection *conn, unsigned int status, struct MHD_Response *response)
{
        static queue_function library_queue;

        if (!library_queue)
                library_queue = (queue_function)dlsym(RTLD_NEXT, "MHD_queue_response");
        if (!library_queue)
                abort(); /* a libmicrohttpd without it would not have linked */
        if (is_ours)
                return library_queue(conn, status, response);
        refuse_for_library(conn, status);
        return MHD_NO;
}

/* See the header. */
enum MHD_Result refusal_queue_response(struct MHD_Connection *conn, unsigned status,
                                       struct MHD_Response *response)
{
        enum MHD_Result result;

        is_ours = true;
        result = MHD_queue_response(conn, status, response);
        is_ours = false;
        return result;
}
