/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of streamed answers share: a server whose handlers open a stream, and one client. */

#include "agent/http/request.h"
#include "agent/http/stream.h"
#include "tests/unit/http_fixture.h"

struct fixture {
        struct http http; /* first: also the app */
        struct client client;
        struct stream_ops ops;
        struct request *late; /* a reference: its handler has not answered */

        struct stream *stream;
        void (*on_start)(struct fixture *f);
        uint64_t produced;
        uint64_t total; /* to be produced */
        unsigned n_writable;
        unsigned n_closed;
};

static inline struct fixture *app_of(struct request *req)
{
        return (struct fixture *)request_app(req);
}

static inline void on_closed(void *arg)
{
        struct fixture *f = arg;

        f->n_closed++;
        assert_false(stream_is_open(f->stream));
        f->stream = NULL;
}

static inline int stream_get(struct request *req)
{
        struct fixture *f = app_of(req);

        request_set_header(req, "X-Test", "yes");
        f->stream = request_reply_stream(req, 200, STREAM_TYPE_NDJSON, &f->ops, f);
        assert_non_null(f->stream);
        assert_true(stream_is_open(f->stream));
        if (f->on_start)
                f->on_start(f);
        return 0;
}

static inline int late_get(struct request *req)
{
        app_of(req)->late = request_ref(req);
        return 0;
}

static inline int plain_get(struct request *req)
{
        return request_reply_bytes(req, 200, "text/plain", "plain", 5);
}

static const struct route routes[] = {
        { .method = HTTP_GET, .path = "/stream", .handler = stream_get },
        { .method = HTTP_GET, .path = "/late", .handler = late_get },
        { .method = HTTP_GET, .path = "/plain", .handler = plain_get },
};

static char *const origins[] = { (char *)"https://page.example", NULL };

static inline void start(struct fixture *f, struct loop *loop, uint64_t heartbeat_ms)
{
        struct server_options o = http_options();

        *f = (struct fixture){ .ops = { .on_closed = on_closed } };
        o.heartbeat_ms = heartbeat_ms;
        o.cors_origins = origins;
        http_start(&f->http, loop, routes, ARRAY_LEN(routes), &o);
}

static inline int is_true(void *arg)
{
        return *(bool *)arg;
}

static inline int is_counted(void *arg)
{
        return *(unsigned *)arg > 0;
}

static inline int is_counted_64(void *arg)
{
        return *(uint64_t *)arg > 0;
}

static inline int has_stream(void *arg)
{
        return ((struct fixture *)arg)->stream != NULL;
}

static inline int has_late(void *arg)
{
        return ((struct fixture *)arg)->late != NULL;
}

static inline void wait_until(struct fixture *f, int (*condition)(void *arg), void *arg)
{
        assert_true(loop_run_until(f->http.loop, condition, arg, HANG_MS));
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static inline void get(struct fixture *f, const char *request, int window)
{
        client_connect(&f->client, &f->http, window);
        client_send(&f->client, request);
}

static inline void open_stream(struct fixture *f)
{
        get(f, GET("/stream"), 0);
        wait_until(f, has_stream, f);
}

static inline void expect_body(struct fixture *f, const char *text, bool is_complete)
{
        CLEANUP(buf_done) struct buf body;

        buf_init(&body, 0);
        assert_int_equal(client_dechunk(&f->client, &body), is_complete);
        assert_string_equal(body.data ? body.data : "", text);
}

static inline int write_text(struct fixture *f, const char *text)
{
        return stream_write(f->stream, text, strlen(text));
}
