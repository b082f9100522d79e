/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of streamed bodies share: a server with a route that takes uploads, and one client. */

#include <stdio.h>

#include "agent/http/body.h"
#include "agent/http/file.h"
#include "agent/http/request.h"
#include "tests/unit/http_fixture.h"

struct fixture {
        struct http http; /* first: also the app */
        struct client client;
        struct request *req; /* a reference, until its answer or its abort */

        enum { READ_AT_ONCE, READ_LATER, REFUSE_AT_ONCE } start;
        uint64_t pause_every; /* bytes; 0: never */
        uint64_t answer_at;   /* byte of the body at which a refusal is given; 0: at its end */
        bool is_paused;

        struct buf body; /* its last request's, if it is small */
        uint64_t received;
        uint64_t next_pause;
        bool has_announced;
        uint64_t announced;
        unsigned n_handled, n_ended, n_aborted, n_cancelled;
        enum body_abort why;
};

static inline struct fixture *app_of(struct request *req)
{
        return (struct fixture *)request_app(req);
}

static inline void finish(struct fixture *f, bool ok)
{
        struct request *req = STEAL(f->req);
        char text[64];

        if (ok) {
                snprintf(text, sizeof(text), "received %llu", (unsigned long long)f->received);
                request_reply_bytes(req, 200, "text/plain", text, strlen(text));
        } else {
                request_set_header(req, "X-Test", "refused");
                request_fail(req, PROBLEM_INVALID_PATH, "no such place");
        }
        request_unref(req);
}

static inline bool on_data(void *arg, const char *data, size_t size)
{
        struct fixture *f = arg;

        assert_false(f->is_paused);
        assert_true(size > 0 && size <= BODY_MAX_PIECE);
        assert_int_equal(f->n_ended + f->n_aborted, 0);
        f->received += size;
        if (f->body.size < MIB)
                assert_int_equal(buf_append(&f->body, data, size), 0);
        if (f->answer_at > 0 && f->received >= f->answer_at) {
                finish(f, false);
                return true;
        }
        if (f->pause_every == 0 || f->received < f->next_pause)
                return true;
        f->next_pause = f->received + f->pause_every;
        f->is_paused = true;
        return false;
}

static inline void on_end(void *arg)
{
        struct fixture *f = arg;

        assert_false(f->is_paused);
        f->n_ended++;
        assert_int_equal(request_body_received(f->req), f->received);
        finish(f, f->answer_at == 0);
}

static inline void on_abort(void *arg, enum body_abort why)
{
        struct fixture *f = arg;

        f->n_aborted++;
        f->why = why;
        request_reply_bytes(f->req, 200, NULL, "", 0); /* nobody gets it */
        f->req = request_unref(f->req);
}

static inline void on_cancel(void *arg)
{
        struct fixture *f = arg;

        f->n_cancelled++;
        f->req = request_unref(f->req);
}

static const struct body_ops body_ops = { on_data, on_end, on_abort };

static inline int upload_put(struct request *req)
{
        struct fixture *f = app_of(req);

        f->req = request_ref(req);
        f->n_handled++;
        f->n_ended = f->n_aborted = 0;
        f->received = 0;
        f->next_pause = f->pause_every;
        f->is_paused = false;
        buf_done(&f->body);
        f->has_announced = request_body_size(req, &f->announced);
        request_on_cancel(req, on_cancel, f);
        if (f->start == REFUSE_AT_ONCE)
                finish(f, false);
        else if (f->start == READ_AT_ONCE)
                assert_true(request_read_body(req, &body_ops, f));
        return 0;
}

static inline int plain_get(struct request *req)
{
        return request_reply_bytes(req, 200, "text/plain", "plain", 5);
}

static const struct route routes[] = {
        { .method = HTTP_PUT, .path = "/upload", .handler = upload_put, .body = BODY_STREAM },
        { .method = HTTP_GET, .path = "/plain", .handler = plain_get },
};

static char *const origins[] = { (char *)"https://page.example", NULL };

static inline void start(struct fixture *f, struct loop *loop, uint64_t max_upload,
                         uint64_t body_timeout_ms)
{
        struct server_options o = http_options();

        *f = (struct fixture){ .start = READ_AT_ONCE };
        buf_init(&f->body, 0);
        o.max_body = KIB; /* is not for these */
        o.max_upload = max_upload;
        o.cors_origins = origins;
        if (body_timeout_ms > 0)
                o.body_timeout_ms = body_timeout_ms;
        http_start(&f->http, loop, routes, ARRAY_LEN(routes), &o);
}

static inline void stop(struct fixture *f)
{
        if (f->client.fd >= 0) /* it has not left before */
                client_close(&f->client);
        http_stop(&f->http);
        assert_null(f->req);
        buf_done(&f->body);
}

static inline int is_counted(void *arg)
{
        return *(unsigned *)arg > 0;
}

static inline int is_true(void *arg)
{
        return *(bool *)arg;
}

static inline int has_request(void *arg)
{
        return ((struct fixture *)arg)->req != NULL;
}

static inline int has_connection(void *arg)
{
        return ((struct fixture *)arg)->http.metrics.connections > 0;
}

static inline int has_no_connection(void *arg)
{
        return !has_connection(arg);
}

static inline void wait_until(struct fixture *f, int (*condition)(void *arg), void *arg)
{
        assert_true(loop_run_until(f->http.loop, condition, arg, HANG_MS));
}

static inline void go_on(struct fixture *f)
{
        f->is_paused = false;
        request_body_resume(f->req);
}

#define PUT(headers) "PUT /upload HTTP/1.1\r\nHost: a\r\n" headers "\r\n"
#define GET_PLAIN    "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n"

static inline void put(struct fixture *f, const char *request)
{
        client_connect(&f->client, &f->http, 0);
        client_send(&f->client, request);
}

/* Byte @i of every body that is not a text. */
static inline char pattern(uint64_t i)
{
        return (char)(i * 7 + (i >> 10));
}

/* A client that sends @size bytes as fast as they are taken, while the loop runs. */
struct sender {
        struct fixture *f;
        uint64_t size, sent;
        bool is_stuck; /* the server takes nothing */
        bool is_broken;
};

static inline int send_more(void *arg)
{
        struct sender *s = arg;
        char piece[16 * KIB];

        s->is_stuck = false;
        while (s->sent < s->size && !s->is_broken) {
                size_t n = (size_t)MIN(sizeof(piece), s->size - s->sent);
                ssize_t r;

                for (size_t i = 0; i < n; i++)
                        piece[i] = pattern(s->sent + i);
                r = send(s->f->client.fd, piece, n, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (r < 0 && errno == EAGAIN) {
                        s->is_stuck = true;
                        break;
                }
                if (r < 0)
                        s->is_broken = true;
                else
                        s->sent += (uint64_t)r;
        }
        return s->sent == s->size || s->is_broken;
}
