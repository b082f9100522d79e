/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A server in the test's loop, with a route table of the test, and clients of it: plain sockets that never block. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/http/router.h"
#include "agent/http/server.h"
#include "agent/metrics.h"
#include "agent/metrics_routes.h"
#include "tests/lib/loop_fixture.h"

#define HANG_MS 10000

struct http {
        struct loop *loop;
        uv_timer_t
                pulse; /* the clients' sockets are not in the loop: it looks up from time to time */
        struct server *server;
        struct metrics metrics;
        struct sockaddr_in address;
        bool is_draining;
        bool is_idle;
        bool is_closed;
};

struct client {
        int fd;
        struct buf in;
        bool is_eof;
        bool is_reset;
};

static inline void http_on_pulse_(uv_timer_t *timer)
{
        (void)timer;
}

static inline void http_on_pulse_closed_(uv_handle_t *pulse)
{
        pulse->data = NULL;
}

static inline struct server_options http_options(void)
{
        return (struct server_options){
                .max_body = MIB,
                .max_connections = 100,
                .max_requests = 100,
                .header_timeout_ms = 60000,
                .body_timeout_ms = 60000,
                .idle_timeout_ms = 60000,
                .heartbeat_ms = 60000,
        };
}

static inline void http_start(struct http *h, struct loop *loop, const struct route *routes,
                              size_t n_routes, const struct server_options *o)
{
        struct server_environment e = {
                .loop = loop,
                .app = (struct app *)h, /* handlers cast it back */
                .metrics = &h->metrics,
                .routes = routes,
                .n_routes = n_routes,
        };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        socklen_t size = sizeof(h->address);
        struct error err = ERROR_INIT;

        *h = (struct http){ .loop = loop };
        h->metrics.routes = route_table_metrics_new(n_routes);
        log_set_level(LOG_LEVEL_ERROR);
        h->address.sin_family = AF_INET;
        h->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(bind(fd, (struct sockaddr *)&h->address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&h->address, &size), 0);
        assert_int_equal(listen(fd, 16), 0);
        if (server_new(&e, o, fd, &h->server, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(uv_timer_init(&loop->uv, &h->pulse), 0);
        h->pulse.data = h;
        assert_int_equal(uv_timer_start(&h->pulse, http_on_pulse_, 1, 1), 0);
}

static inline void http_on_idle_(void *arg)
{
        ((struct http *)arg)->is_idle = true;
}

static inline void http_on_closed_(void *arg)
{
        ((struct http *)arg)->is_closed = true;
}

static inline int http_is_idle_(void *arg)
{
        return ((struct http *)arg)->is_idle;
}

static inline int http_is_closed_(void *arg)
{
        return ((struct http *)arg)->is_closed;
}

static inline void http_drain(struct http *h)
{
        server_drain(h->server, http_on_idle_, h);
        h->is_draining = true;
}

/* Whatever happened before, the server can stop, and nothing is left of any request. */
static inline void http_stop(struct http *h)
{
        if (!h->is_draining)
                http_drain(h);
        server_cancel_requests(h->server);
        assert_true(loop_run_until(h->loop, http_is_idle_, h, HANG_MS));
        assert_int_equal(h->metrics.requests_live, 0);
        server_close(h->server, http_on_closed_, h);
        assert_true(loop_run_until(h->loop, http_is_closed_, h, HANG_MS));
        assert_int_equal(h->metrics.connections, 0);
        h->metrics.routes = route_table_metrics_free(h->metrics.routes);
        uv_close((uv_handle_t *)&h->pulse, http_on_pulse_closed_);
        while (h->pulse.data) /* it is in the test's frame */
                (void)uv_run(&h->loop->uv, UV_RUN_NOWAIT);
}

/* --- clients --- */

/* With a receive buffer of about @window bytes; 0: as the kernel likes. */
static inline void client_connect(struct client *c, struct http *h, int window)
{
        *c = (struct client){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
        if (window > 0)
                assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window)),
                                 0);
        assert_int_equal(connect(c->fd, (struct sockaddr *)&h->address, sizeof(h->address)), 0);
        buf_init(&c->in, 0);
}

static inline void client_close(struct client *c)
{
        close(c->fd);
        buf_done(&c->in);
}

/* As a client that crashed: the server gets an RST. */
static inline void client_abort(struct client *c)
{
        struct linger linger = { .l_onoff = 1 };

        assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
        client_close(c);
}

static inline void client_send(struct client *c, const char *text)
{
        assert_int_equal(send(c->fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Takes what has come. */
static inline void client_read(struct client *c)
{
        static char piece[256 * KIB];
        ssize_t n;

        while ((n = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
                assert_int_equal(buf_append(&c->in, piece, (size_t)n), 0);
        c->is_eof = c->is_eof || n == 0;
        c->is_reset = c->is_reset || (n < 0 && errno == ECONNRESET);
}

struct client_wait_ {
        struct client *c;
        const char *text;
        size_t searched;
};

static inline int client_has_(void *arg)
{
        struct client_wait_ *w = arg;
        const struct buf *in = &w->c->in;
        size_t text_size = strlen(w->text);
        bool is_there;

        client_read(w->c);
        if (in->size < text_size)
                return false;
        is_there = memmem(in->data + w->searched, in->size - w->searched, w->text, text_size);
        if (!is_there)
                w->searched = in->size - text_size + 1;
        return is_there;
}

static inline int client_has_ended_(void *arg)
{
        client_read(arg);
        return ((struct client *)arg)->is_eof || ((struct client *)arg)->is_reset;
}

/* Until @text has come. */
static inline void client_expect(struct http *h, struct client *c, const char *text)
{
        struct client_wait_ w = { c, text, 0 };

        if (!loop_run_until(h->loop, client_has_, &w, HANG_MS))
                fail_msg("no \"%s\" in \"%s\"", text, c->in.data ? c->in.data : "");
}

/* Until the server has closed the connection. */
static inline void client_expect_end(struct http *h, struct client *c)
{
        assert_true(loop_run_until(h->loop, client_has_ended_, c, HANG_MS));
}

/* What stands behind the header. */
static inline const char *client_body(const struct client *c)
{
        const char *body = c->in.data ? strstr(c->in.data, "\r\n\r\n") : NULL;

        assert_non_null(body);
        return body + 4;
}

/* The content of the chunks that have come whole; true when the last one has. */
static inline bool client_dechunk(const struct client *c, struct buf *ret)
{
        const char *p = client_body(c), *end = c->in.data + c->in.size;

        for (;;) {
                const char *line_end = memmem(p, (size_t)(end - p), "\r\n", 2);
                size_t size = line_end ? strtoul(p, NULL, 16) : 0;

                if (!line_end || (size_t)(end - line_end) < size + 4)
                        return false;
                p = line_end + 2 + size;
                assert_memory_equal(p, "\r\n", 2);
                if (size == 0)
                        return true;
                assert_int_equal(buf_append(ret, line_end + 2, size), 0);
                p += 2;
        }
}
