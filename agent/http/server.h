/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The HTTP server: libmicrohttpd driven by the one loop. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/loop/loop.h"

struct app;
struct auth;
struct metrics;
struct route;
struct server;

struct server_options {
        size_t max_body;
        uint64_t max_upload;      /* of a body that is streamed; 0: no limit */
        uint64_t max_connections; /* read at the start only */
        uint64_t max_requests;
        uint64_t header_timeout_ms;
        uint64_t body_timeout_ms;
        uint64_t idle_timeout_ms; /* read at the start only */
        uint64_t heartbeat_ms;
        uint64_t idempotency_ttl_ms; /* that answers to requests with an Idempotency-Key are kept */
        uint64_t rate_limit;         /* requests of one subject per minute; 0: nobody counts */
        bool public_info;
        char *const *cors_origins; /* borrowed; NULL or empty: off */
};

/* What the server needs from the rest; all borrowed. */
struct server_environment {
        struct loop *loop;
        struct app *app; /* for handlers */
        struct auth *auth;
        struct metrics *metrics;
        const struct route *routes;
        size_t n_routes;
};

/* Serves connections of @listen_fd (a listening stream socket), which it takes. */
int server_new(const struct server_environment *e, const struct server_options *o, int listen_fd,
               struct server **ret, struct error *err);
/* Options may change at run time. */
void server_set_options(struct server *s, const struct server_options *o);

/* Clients may have left while we stood still, unnoticed: closes connections without a request, and has the kernel find
 * out whether the others are still there. */
void server_resumed(struct server *s);

/* Stops listening, closes idle connections, ends streams and answers new requests with 503; calls @on_idle once there
 * is no request left. */
void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg);
/* Ends every request that still waits for its answer, or for clients that do not take it, as if the client had left. */
void server_cancel_requests(struct server *s);
/* Closes everything; only after on_idle was called. @on_closed is called when all handles are closed; the
 * server is freed right before. */
void server_close(struct server *s, void (*on_closed)(void *arg), void *arg);
