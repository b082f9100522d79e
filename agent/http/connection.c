/* SPDX-License-Identifier: Apache-2.0 */

/* Deadlines are checked by the server's tick, in a walk over all connections (their number is bounded): a timer
 * for each would cost every request two heap operations for something that hardly ever fires. */

#include "agent/http/connection.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/http/body_private.h"
#include "agent/http/refusal.h"
#include "agent/http/request_private.h"

/* Registers a connection in @all. @fd stays the HTTP library's. */
struct connection *connection_new(struct list *all, int fd)
{
        struct connection *c = xnew(struct connection);

        c->fd = fd;
        list_append(all, &c->link);
        return c;
}

static void on_watch_closed(uv_handle_t *h)
{
        free(h);
}

static void stop_watch(struct connection *c)
{
        uv_poll_t *watch = STEAL(c->watch);

        if (!watch)
                return;
        uv_poll_stop(watch);
        uv_close((uv_handle_t *)watch, on_watch_closed);
}

static void on_disconnect(uv_poll_t *watch, int status, int events)
{
        struct connection *c = watch->data;

        (void)status; /* an error on the socket is an end as well */
        (void)events;
        stop_watch(c); /* the condition lasts */
        c->is_hung_up = true;
        c->on_hangup(c);
}

/* See the header. */
void connection_watch(struct connection *c, uv_loop_t *loop,
                      void (*on_hangup)(struct connection *c))
{
        uv_poll_t *watch = xnew(uv_poll_t);
        int r;

        r = uv_poll_init(loop, watch, c->fd);
        if (r < 0) {
                /* Without it a client's early end is noticed when the answer is sent. */
                log_warning("no hang-up watch", "error=%s", uv_strerror(r));
                free(watch);
                return;
        }
        watch->data = c;
        c->watch = watch;
        c->on_hangup = on_hangup;
        uv_poll_start(watch, UV_DISCONNECT, on_disconnect);
}

/* Forgets a connection that is about to be closed. */
struct connection *connection_free(struct connection *c)
{
        if (!c)
                return NULL;
        stop_watch(c);
        list_remove(&c->link);
        free(c);
        return NULL;
}

/* Sets or clears the deadline of the current phase. */
void connection_expect(struct connection *c, uint64_t timeout_ms)
{
        c->deadline_ms = timeout_ms > 0 ? clock_now_ms() + timeout_ms : 0;
}

/* The library has no function for it, but when a timeout is switched off and on again, its time begins anew. */
static void restart_idle_timeout(struct MHD_Connection *conn)
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                conn, MHD_CONNECTION_INFO_CONNECTION_TIMEOUT);
        unsigned timeout = info ? info->connection_timeout : 0;

        if (timeout == 0)
                return;
        MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
        MHD_set_connection_option(conn, MHD_CONNECTION_OPTION_TIMEOUT, timeout);
}

/* See the header. */
void connection_note_progress(struct list *all)
{
        list_for_each(pos, all) {
                struct connection *c = list_entry(pos, struct connection, link);
                const struct request *req = c->request;
                int unsent;

                if (!req || req->state != REQUEST_REPLYING || !req->is_queued ||
                    req->is_suspended || ioctl(c->fd, SIOCOUTQ, &unsent) < 0)
                        continue;
                if (unsent < c->unsent)
                        restart_idle_timeout(req->conn);
                c->unsent = unsent;
        }
}

/* See the header. */
void connection_forgive_pause(struct list *all, uint64_t *paused_us)
{
        uint64_t now_us = clock_paused_us();

        if (now_us == *paused_us)
                return;
        *paused_us = now_us;
        list_for_each(pos, all) {
                const struct request *req = list_entry(pos, struct connection, link)->request;

                /* Nobody's time runs while it is suspended. */
                if (req && !req->is_suspended)
                        restart_idle_timeout(req->conn);
        }
}

static bool has_something_to_read(const struct connection *c)
{
        int n = 0;

        return ioctl(c->fd, FIONREAD, &n) == 0 && n > 0;
}

/* See the header. */
void connection_check_all(struct list *all)
{
        list_for_each(pos, all) {
                struct connection *c = list_entry(pos, struct connection, link);

                if (c->request || has_something_to_read(c))
                        fd_keep_alive(c->fd);
                else
                        connection_cut(c);
        }
}

/* Ends the connection as if the client had closed it. */
void connection_cut(struct connection *c)
{
        /* Fails only when the peer closed it already. */
        (void)shutdown(c->fd, SHUT_RDWR);
        c->deadline_ms = 0;
}

/* Is it a body that the client owes? Then nothing of an answer was sent. */
static bool awaits_body(const struct request *req)
{
        const struct body *b = req->upload;

        if (req->is_suspended || req->refused_status > 0)
                return false;
        return b ? req->state == REQUEST_RUNNING && b->is_expected && !b->is_over
                 : req->state == REQUEST_BODY && !req->is_dispatched;
}

/* See the header. */
unsigned connection_cut_expired(struct list *all)
{
        uint64_t now = clock_now_ms();
        unsigned n = 0;

        list_for_each(pos, all) {
                struct connection *c = list_entry(pos, struct connection, link);

                if (c->deadline_ms == 0 || c->deadline_ms > now)
                        continue;
                if (c->request && awaits_body(c->request))
                        refusal_send(c->request, PROBLEM_REQUEST_TIMEOUT,
                                     "the body did not arrive in time (option body-timeout)");
                connection_cut(c);
                n++;
        }
        return n;
}

/* See the header. */
void connection_cut_idle(struct list *all)
{
        list_for_each(pos, all) {
                struct connection *c = list_entry(pos, struct connection, link);

                /* What has not arrived yet would only be refused. */
                if (!c->request || c->request->state == REQUEST_HEADERS)
                        connection_cut(c);
        }
}

/* See the header. */
void connection_tell_hang_ups(struct list *all)
{
        list_for_each(pos, all) {
                struct connection *c = list_entry(pos, struct connection, link);

                if (c->is_hung_up && !(c->request && c->request->is_suspended))
                        (void)shutdown(c->fd, SHUT_RD);
        }
}
