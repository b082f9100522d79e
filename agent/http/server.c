/* SPDX-License-Identifier: Apache-2.0 */

/* libmicrohttpd inside the libuv loop.
 *
 * MHD runs in external epoll mode and has no thread. Its epoll descriptor is watched by the loop, but neither the
 * watch nor request_wake run it: they only mark it as due, and it runs in the prepare and check phases, between
 * other callbacks and before the loop sleeps. So a completion never runs another request's handler on its stack,
 * and many events cost one turn. In external mode nothing else wakes MHD: whoever resumes a connection must
 * mark it (server_wake). */

#include "agent/http/server.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#define LOG_MODULE "http"
#include "agent/access_log.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/base/log.h"
#include "agent/http/connection.h"
#include "agent/http/idempotency.h"
#include "agent/http/listener.h"
#include "agent/http/rate.h"
#include "agent/http/request_private.h"
#include "agent/http/router.h"
#include "agent/http/server_private.h"
#include "agent/http/stream_private.h"
#include "agent/loop/gate.h"
#include "agent/metrics.h"

#define MAX_RUNS_PER_TURN 8

enum {
        GATE_POLL = 1 << 0,
        GATE_TIMER = 1 << 1,
        GATE_TICK = 1 << 2,
        GATE_PREPARE = 1 << 3,
        GATE_CHECK = 1 << 4,
};

struct server {
        struct server_environment environment;
        struct server_options options;
        struct router *router;
        struct idempotency *idempotency;
        struct rates *rates;
        struct MHD_Daemon *mhd;
        struct listener *listener; /* NULL: drained */
        bool is_due;               /* MHD wants to run */
        bool is_draining;
        bool has_hang_ups;  /* that MHD should be told of */
        uint64_t paused_us; /* clock_paused_us, as the connections know it */
        struct list connections;
        struct list requests;
        uint64_t n_requests;

        uv_poll_t poll;
        uv_timer_t timer; /* MHD's own deadlines */
        uv_timer_t tick;  /* ours: slow clients, heartbeats */
        uv_prepare_t prepare;
        uv_check_t check;
        struct gate gate;

        void (*on_idle)(void *arg);
        void *on_idle_arg;
        void (*on_closed)(void *arg);
        void *on_closed_arg;
};

/* --- what the rest of agent/http asks --- */

/* The options in force. */
const struct server_options *server_options(const struct server *s)
{
        return &s->options;
}

/* What the server was built on. */
const struct server_environment *server_environment(const struct server *s)
{
        return &s->environment;
}

/* The index of the route table. */
const struct router *server_router(const struct server *s)
{
        return s->router;
}

/* What became of requests with an Idempotency-Key. */
struct idempotency *server_idempotency(const struct server *s)
{
        return s->idempotency;
}

/* See server_private.h. */
struct rates *server_rates(const struct server *s)
{
        return s->rates;
}

/* Whether server_drain was called. */
bool server_is_draining(const struct server *s)
{
        return s->is_draining;
}

/* Counts a new request in. */
void server_add_request(struct server *s, struct list *link)
{
        list_append(&s->requests, link);
        s->n_requests++;
        s->environment.metrics->requests_total++;
        s->environment.metrics->requests_live = s->n_requests;
}

/* Counts a request out whose last reference is gone. */
void server_remove_request(struct server *s, struct list *link)
{
        list_remove(link);
        s->n_requests--;
        s->environment.metrics->requests_live = s->n_requests;
}

/* See server_private.h. */
uint64_t server_n_requests(const struct server *s)
{
        return s->n_requests;
}

/* See server_private.h. */
void server_wake(struct server *s)
{
        s->is_due = true;
}

/* --- MHD's callbacks --- */

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
        __attribute__((format(printf, 2, 0)));

static void on_mhd_log(void *cls, const char *fmt, va_list ap)
{
        char line[256];

        (void)cls;
        if (!log_enabled(LOG_LEVEL_DEBUG))
                return;
        vsnprintf(line, sizeof(line), fmt, ap);
        log_debug("library", "text=%s", log_quote(line));
}

static void on_hangup(struct connection *c)
{
        struct server *s = c->owner;

        if (c->request && c->request->is_suspended)
                request_gone(c->request);
        s->has_hang_ups = true;
        server_wake(s);
}

static void on_connection(void *cls, struct MHD_Connection *conn, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
        struct server *s = cls;

        if (code == MHD_CONNECTION_NOTIFY_STARTED) {
                int fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)
                                 ->connect_fd;
                struct connection *c = connection_new(&s->connections, fd);

                listener_client_came(s->listener);
                connection_expect(c, s->options.header_timeout_ms);
                c->owner = s;
                connection_watch(c, &s->environment.loop->uv, on_hangup);
                s->environment.metrics->connections++;
                s->environment.metrics->connections_total++;
                *socket_context = c;
        } else {
                s->environment.metrics->connections--;
                *socket_context = connection_free(*socket_context);
                listener_client_left(s->listener);
        }
}

/* The request line was read. What is returned becomes the request's context; MHD reports its end even when
 * the headers behind it never come. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *conn)
{
        struct server *s = cls;
        struct connection *c =
                MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

        c->request = request_new(s, conn, c, target ? target : "");
        return c->request;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **context)
{
        (void)cls, (void)conn;
        return request_access(*context, method, url, version, data, size);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **context,
                         enum MHD_RequestTerminationCode code)
{
        struct server *s = cls;
        struct request *req = *context;

        (void)conn;
        (void)code;
        if (!req)
                return;
        *context = NULL;
        req->connection->request = NULL;
        connection_expect(req->connection, s->options.header_timeout_ms);
        request_completed(req);
}

/* --- the loop --- */

static void on_timer(uv_timer_t *timer)
{
        server_wake(timer->data);
}

/* Runs MHD until it has nothing more to do at once, and arms the timer for when it will have. */
static void turn(struct server *s)
{
        unsigned long long timeout_ms = 0;
        bool has_timeout = false;

        for (unsigned i = 0; i < MAX_RUNS_PER_TURN; i++) {
                s->is_due = false;
                MHD_run(s->mhd);
                has_timeout = MHD_get_timeout(s->mhd, &timeout_ms) == MHD_YES;
                if (!s->is_due && !(has_timeout && timeout_ms == 0))
                        break;
        }
        if (s->is_due)
                uv_timer_start(&s->timer, on_timer, 0, 0);
        else if (has_timeout)
                uv_timer_start(&s->timer, on_timer, timeout_ms, 0);
        else
                uv_timer_stop(&s->timer);
}

static void check_idle(struct server *s)
{
        void (*on_idle)(void *arg);

        if (!s->is_draining || s->n_requests > 0)
                return;
        on_idle = STEAL(s->on_idle);
        if (on_idle)
                on_idle(s->on_idle_arg);
}

static void run_if_due(struct server *s)
{
        if (s->is_due && s->mhd) {
                connection_forgive_pause(&s->connections, &s->paused_us);
                turn(s);
                if (s->has_hang_ups)
                        connection_tell_hang_ups(&s->connections);
                s->has_hang_ups = false;
        }
        check_idle(s);
}

static void on_prepare(uv_prepare_t *prepare)
{
        run_if_due(prepare->data);
        access_log_flush();
}

static void on_check(uv_check_t *check)
{
        run_if_due(check->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
        (void)status;
        (void)events;
        server_wake(poll->data);
}

static void on_tick(uv_timer_t *tick)
{
        struct server *s = tick->data;
        uint64_t now = clock_now_ms();

        s->environment.metrics->connections_cut += connection_cut_expired(&s->connections);
        connection_note_progress(&s->connections);
        listener_try_again(s->listener);
        /* Again, should MHD have had more to read than one turn allows. */
        connection_tell_hang_ups(&s->connections);
        list_for_each_safe(pos, &s->requests) {
                request_heartbeat(list_entry(pos, struct request, link), now);
        }
        idempotency_expire(s->idempotency, now, s->options.idempotency_ttl_ms);
}

/* Often enough for the shortest of the times that it watches. */
static uint64_t tick_interval(const struct server_options *o)
{
        uint64_t shortest = MIN(o->header_timeout_ms, o->body_timeout_ms);

        shortest = MIN(o->idle_timeout_ms, shortest);
        shortest = MIN(o->heartbeat_ms, shortest) / 4;
        return shortest < 10 ? 10 : MIN(shortest, (uint64_t)1000);
}

/* --- start and stop --- */

static int start_mhd(struct server *s, struct error *err)
{
        struct MHD_OptionItem options[] = {
                { MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_mhd_log, s },
                { MHD_OPTION_CONNECTION_LIMIT, (intptr_t)s->options.max_connections, NULL },
                { MHD_OPTION_CONNECTION_MEMORY_LIMIT, LIMIT_CONNECTION_MEMORY, NULL },
                { MHD_OPTION_CONNECTION_TIMEOUT,
                  (intptr_t)((s->options.idle_timeout_ms + 999) / 1000), NULL },
                { MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, s },
                { MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s },
                { MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s },
                /* Else MHD does not use sendfile, which knows no MSG_NOSIGNAL. */
                { MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL },
                { MHD_OPTION_END, 0, NULL },
        };

        s->mhd = MHD_start_daemon(
                MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                        MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
                0, NULL, NULL, on_access, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
        if (!s->mhd)
                return error_set(err, errno > 0 ? -errno : -EIO, "start the HTTP server");
        return 0;
}

static void free_tables(struct server *s)
{
        router_free(s->router);
        idempotency_free(s->idempotency);
        rates_free(s->rates);
}

static void on_gate_empty(struct gate *gate)
{
        struct server *s = container_of(gate, struct server, gate);
        void (*on_closed)(void *arg) = s->on_closed;
        void *arg = s->on_closed_arg;

        free_tables(s);
        free(s);
        if (on_closed)
                on_closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
        struct server *s = h->data;

        gate_done(&s->gate, h == (uv_handle_t *)&s->poll      ? GATE_POLL
                            : h == (uv_handle_t *)&s->timer   ? GATE_TIMER
                            : h == (uv_handle_t *)&s->tick    ? GATE_TICK
                            : h == (uv_handle_t *)&s->prepare ? GATE_PREPARE
                                                              : GATE_CHECK);
}

static int start_handles(struct server *s, struct error *err)
{
        uv_loop_t *loop = &s->environment.loop->uv;
        int epoll_fd = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
        int r;

        r = uv_poll_init(loop, &s->poll, epoll_fd);
        if (r < 0)
                return error_set(err, r, "watch the HTTP server");
        uv_timer_init(loop, &s->timer);
        uv_timer_init(loop, &s->tick);
        uv_prepare_init(loop, &s->prepare);
        uv_check_init(loop, &s->check);
        s->poll.data = s->timer.data = s->tick.data = s->prepare.data = s->check.data = s;
        gate_expect(&s->gate, GATE_POLL | GATE_TIMER | GATE_TICK | GATE_PREPARE | GATE_CHECK);

        uv_poll_start(&s->poll, UV_READABLE, on_readable);
        uv_timer_start(&s->tick, on_tick, tick_interval(&s->options), tick_interval(&s->options));
        uv_prepare_start(&s->prepare, on_prepare);
        uv_check_start(&s->check, on_check);
        server_wake(s);
        return 0;
}

/* See the header. */
int server_new(const struct server_environment *e, const struct server_options *o, int listen_fd,
               struct server **ret, struct error *err)
{
        struct server *s = xnew(struct server);
        int r;

        s->environment = *e;
        s->options = *o;
        list_init(&s->connections);
        list_init(&s->requests);
        s->idempotency = idempotency_new();
        s->rates = rates_new();
        gate_init(&s->gate, on_gate_empty);

        r = router_new(e->routes, e->n_routes, &s->router, err);
        if (r == 0)
                r = start_mhd(s, err);
        if (r == 0)
                r = listener_new(s, s->mhd, STEAL_FD(listen_fd), &s->listener, err);
        if (r == 0)
                r = start_handles(s, err);
        if (r < 0) {
                listener_free(s->listener);
                MHD_stop_daemon(s->mhd); /* harmless on NULL */
                fd_close(listen_fd);
                free_tables(s);
                free(s);
                return r;
        }
        *ret = s;
        return 0;
}

/* See the header. */
void server_set_options(struct server *s, const struct server_options *o)
{
        s->options = *o;
        uv_timer_start(&s->tick, on_tick, tick_interval(o), tick_interval(o));
}

/* See the header. */
void server_resumed(struct server *s)
{
        connection_check_all(&s->connections);
        server_wake(s);
}

/* See the header. */
void server_drain(struct server *s, void (*on_idle)(void *arg), void *arg)
{
        assert(!s->is_draining);
        s->is_draining = true;
        s->on_idle = on_idle;
        s->on_idle_arg = arg;
        s->listener = listener_free(s->listener);
        connection_cut_idle(&s->connections);
        stream_end_all(&s->requests);
        server_wake(s);
}

/* See the header. */
void server_cancel_requests(struct server *s)
{
        list_for_each_safe(pos, &s->requests) {
                request_cancel(list_entry(pos, struct request, link));
        }
        /* What is still being sent, or still arriving, ends with its connection. */
        list_for_each(pos, &s->connections) {
                connection_cut(list_entry(pos, struct connection, link));
        }
        server_wake(s);
}

/* See the header. */
void server_close(struct server *s, void (*on_closed)(void *arg), void *arg)
{
        s->on_closed = on_closed;
        s->on_closed_arg = arg;

        uv_close((uv_handle_t *)&s->poll, on_handle_closed);
        uv_close((uv_handle_t *)&s->timer, on_handle_closed);
        uv_close((uv_handle_t *)&s->tick, on_handle_closed);
        uv_close((uv_handle_t *)&s->prepare, on_handle_closed);
        uv_close((uv_handle_t *)&s->check, on_handle_closed);
        /* After uv_close: it closes the epoll descriptor. It would abort the program if a connection were still
         * suspended; none is, because a draining server refuses requests before they reach a handler. What a cut
         * connection had in its receive buffer may at most have become such a refusal. */
        MHD_stop_daemon(s->mhd);
        s->mhd = NULL;
        access_log_flush();
}
