/* SPDX-License-Identifier: Apache-2.0 */

/* The life of a request: who holds it, what state it is in, when it sleeps, and how it learns that its client
 * has left. What is done with it is in pipeline.c; what is sent is in response.c.
 *
 * MHD holds one reference, dropped in request_completed (R2). Every asynchronous operation holds one (R3). So a
 * late completion always finds memory, finds conn NULL or the state GONE, and its answer is thrown away (R4). */

#include "agent/http/request_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "http"
#include "agent/access_log.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/id.h"
#include "agent/base/log.h"
#include "agent/http/body_private.h"
#include "agent/http/connection.h"
#include "agent/http/file_private.h"
#include "agent/http/idempotency_request.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/http/stream_private.h"
#include "agent/http/upgrade_private.h"
#include "agent/metrics.h"
#include "agent/metrics_routes.h"

#define STATUS_CLIENT_LEFT 499

static const char *const state_names[] = {
        [REQUEST_HEADERS] = "headers",   [REQUEST_BODY] = "body",
        [REQUEST_RUNNING] = "running",   [REQUEST_REPLYING] = "replying",
        [REQUEST_UPGRADED] = "upgraded", [REQUEST_GONE] = "gone",
        [REQUEST_DONE] = "done",
};

#define TO(state) (1u << (state))
static const unsigned allowed_edges[] = {
        [REQUEST_HEADERS] = TO(REQUEST_BODY) | TO(REQUEST_REPLYING) | TO(REQUEST_DONE),
        [REQUEST_BODY] = TO(REQUEST_RUNNING) | TO(REQUEST_REPLYING) | TO(REQUEST_GONE) |
                         TO(REQUEST_DONE),
        [REQUEST_RUNNING] = TO(REQUEST_REPLYING) | TO(REQUEST_GONE),
        [REQUEST_REPLYING] = TO(REQUEST_UPGRADED) | TO(REQUEST_DONE),
        [REQUEST_UPGRADED] = TO(REQUEST_DONE),
        [REQUEST_GONE] = TO(REQUEST_DONE),
        [REQUEST_DONE] = 0,
};

/* The only place where the state changes (R6). */
void request_set_state(struct request *req, enum request_state state)
{
        assert(allowed_edges[req->state] & TO(state));
        log_debug("request", "id=%s from=%s to=%s", req->id, state_names[req->state],
                  state_names[state]);
        req->state = state;
}

/* Made when the request line was read; the first reference is MHD's. */
struct request *request_new(struct server *s, struct MHD_Connection *conn,
                            struct connection *connection, const char *raw_target)
{
        struct request *req = xnew(struct request);
        size_t path_size = strcspn(raw_target, "?");

        req->refs = 1;
        req->state = REQUEST_HEADERS;
        req->server = s;
        req->conn = conn;
        req->connection = connection;
        req->started_us = clock_now_us();
        req->is_target_long = strlen(raw_target) > LIMIT_URI_BYTES;
        /* The library hands out the decoded path as a C string: a NUL in it would hide the rest. */
        req->is_target_bad = memmem(raw_target, path_size, "%00", 3) != NULL;
        (void)id_new(req->id, "req_");
        buf_init(&req->body, 0);
        list_init(&req->waiter);
        server_add_request(s, &req->link);
        return req;
}

static void request_free(struct request *req)
{
        assert(req->state == REQUEST_DONE);

        idempotency_abandon(req);
        server_remove_request(req->server, &req->link);
        reply_done(&req->reply);
        buf_done(&req->body);
        json_decref(req->json);
        free(req->args);
        for (unsigned i = 0; i < ROUTE_MAX_PARAMETERS; i++)
                free(req->parameters[i]);
        free(req->upload);
        free(req->method);
        free(req->path);
        free(req);
}

/* See the header. */
struct request *request_ref(struct request *req)
{
        req->refs++;
        return req;
}

/* See the header. */
struct request *request_unref(struct request *req)
{
        if (req && --req->refs == 0)
                request_free(req);
        return NULL;
}

/* See request_private.h. */
void request_suspend(struct request *req)
{
        assert(!req->is_suspended && req->conn);
        req->is_suspended = true;
        MHD_suspend_connection(req->conn);
        if (req->connection->is_hung_up) /* nobody waits for it */
                request_gone(req);
}

/* Lets MHD go on with the connection. */
void request_wake(struct request *req)
{
        if (!req->is_suspended)
                return;
        req->is_suspended = false;
        MHD_resume_connection(req->conn);
        server_wake(req->server);
}

static void run_cancel_hook(struct request *req)
{
        void (*cancel)(void *arg) = STEAL(req->cancel);

        if (cancel)
                cancel(req->cancel_arg);
}

/* See request_private.h. */
void request_gone(struct request *req)
{
        if (req->state != REQUEST_RUNNING && req->state != REQUEST_BODY) {
                /* The answer is on its way; MHD will find out about the socket itself. It does not when there is
                 * nothing to send, and of a stream nothing may come for ever. */
                if (req->file && file_is_awaited(req->file))
                        return; /* it will, when there is something to send */
                if (req->stream)
                        stream_lose(req->stream);
                request_wake(req);
                return;
        }
        request_ref(req);
        server_environment(req->server)->metrics->hangups++;
        request_set_state(req, REQUEST_GONE);
        request_wake(req);
        if (!body_abort(req, server_is_draining(req->server) ? BODY_STOPPED : BODY_CLIENT_LEFT) &&
            !req->claim)
                run_cancel_hook(req);
        request_unref(req);
}

/* See request_private.h. */
void request_cancel(struct request *req)
{
        request_ref(req);
        request_gone(req);
        run_cancel_hook(req); /* after its answer there is none */
        request_unref(req);
}

static unsigned final_status(const struct request *req)
{
        if (req->refused_status > 0)
                return req->refused_status;
        if (req->upgrade || !req->is_queued || req->state == REQUEST_GONE)
                return STATUS_CLIENT_LEFT;
        return req->reply.status;
}

static uint64_t received_bytes(const struct request *req)
{
        return req->upload ? req->upload->received : req->body.size + req->discarded;
}

static void count(const struct request *req, unsigned status, uint64_t duration_us)
{
        const struct server_environment *e = server_environment(req->server);
        struct metrics *metrics = e->metrics;
        size_t route = req->match.route ? (size_t)(req->match.route - e->routes) : e->n_routes;
        struct route_metrics *m = route_table_metrics_at(metrics->routes, route);

        if (status >= 500)
                metrics->errors_server++;
        else if (status >= 400 && status != STATUS_CLIENT_LEFT)
                metrics->errors_client++;
        m->outcomes[status == STATUS_CLIENT_LEFT ? OUTCOME_LEFT : status / 100]++;
        m->received += received_bytes(req);
        m->sent += req->sent;
        if (!req->upgrade)
                histogram_record(&m->duration, duration_us);
}

/* See request_private.h. */
void request_completed(struct request *req)
{
        uint64_t duration_us = clock_now_us() - req->started_us;
        unsigned status;

        /* MHD has looked at what is behind the piece of the body that it was suspended for, and found it malformed. It
         * only lets go of connections that are not suspended. */
        request_wake(req);
        if (req->state ==
            REQUEST_RUNNING) /* MHD gave up on a connection that sent its header early */
                request_gone(req);

        status = final_status(req);
        count(req, status, duration_us);
        access_log(&(struct access_log_line){
                .request_id = req->id,
                .method = req->method ? req->method : "-",
                .route = req->match.route ? req->match.route->path : NULL,
                .path = req->path ? req->path : "-",
                .status = status,
                .duration_us = duration_us,
                .received = received_bytes(req),
                .sent = req->sent,
                .subject = req->principal.subject,
        });

        upgrade_forget(req);
        req->stream = stream_close(req->stream);
        req->file = file_close(req->file);
        request_set_state(req, REQUEST_DONE);
        req->conn = NULL;
        req->connection = NULL;
        request_unref(req);
}

/* See the header. */
const void *request_args(const struct request *req)
{
        return req->args;
}

/* See the header. */
const json_t *request_body(const struct request *req)
{
        return req->json;
}

/* See the header. */
struct app *request_app(const struct request *req)
{
        return server_environment(req->server)->app;
}

/* See the header. */
const char *request_id(const struct request *req)
{
        return req->id;
}

/* See the header. */
const struct route *request_route(const struct request *req)
{
        return req->match.route;
}

/* See the header. */
const char *request_header(const struct request *req, const char *name)
{
        return req->conn ? MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name) : NULL;
}

/* See the header. */
void request_on_cancel(struct request *req, void (*fn)(void *arg), void *arg)
{
        assert(req->state == REQUEST_RUNNING);
        req->cancel = fn;
        req->cancel_arg = arg;
}
