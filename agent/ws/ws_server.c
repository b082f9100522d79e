/* SPDX-License-Identifier: Apache-2.0 */

/* libwebsockets behind ws.h: framing, masking and the closing handshake are its business; whole messages, pacing,
 * pings and limits are ours. Here: the library itself, accepting, receiving, and the end. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LOG_MODULE "ws"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/base/utf8.h"
#include "agent/http/request.h"
#include "agent/http/router.h"
#include "agent/http/upgrade.h"
#include "agent/loop/loop.h"
#include "agent/metrics.h"
#include "agent/ws/handshake.h"
#include "agent/ws/ws_private.h"

#define READ_SIZE     4096
#define ABNORMAL_CODE ((enum ws_code)1006) /* the connection ended without a close frame */

/* --- the end of a connection --- */

static void tell_closed(struct ws *ws)
{
        const struct ws_ops *ops = STEAL(ws->ops);

        if (ops)
                ops->on_closed(ws->arg);
}

static void check_idle(struct ws_server *s)
{
        void (*on_idle)(void *arg);

        if (!s->is_draining || s->n_connections > 0)
                return;
        on_idle = STEAL(s->on_idle);
        if (on_idle)
                on_idle(s->on_idle_arg);
}

static void ws_free(struct ws *ws)
{
        struct ws_server *s = ws->server;

        log_info("websocket closed",
                 "id=%s route=%s code=%d duration_ms=%llu received=%llu sent=%llu",
                 log_quote(ws->request_id), ws->route, (int)ws->code,
                 (unsigned long long)(clock_now_ms() - ws->started_ms),
                 (unsigned long long)ws->received, (unsigned long long)ws->sent);
        tell_closed(ws);
        ws_drop_queue(ws);
        buf_done(&ws->message);
        list_remove(&ws->link);
        list_remove(&ws->due_link);
        s->metrics->websockets = --s->n_connections;
        free(ws->request_id);
        free(ws);
        check_idle(s);
}

/* See ws_private.h. */
void ws_cut(struct ws *ws)
{
        if (!ws->wsi || ws->is_cut)
                return;
        ws->is_cut = true;
        /* The library finds out by itself, provided that it looks: it may be waiting for nothing at the moment, and
         * once a write has failed it no longer waits for the socket to be writable. */
        (void)shutdown(lws_get_socket_fd(ws->wsi), SHUT_RDWR);
        ws_update_rx(ws);
        lws_callback_on_writable(ws->wsi);
}

/* --- receiving --- */

/* Ends the connection because of what the peer sent; for the library's callbacks to return. */
static int refuse(struct ws *ws, enum ws_code code, char *reason)
{
        ws->code = code;
        ws_said_goodbye(ws);
        lws_close_reason(ws->wsi, (enum lws_close_status)code, (unsigned char *)reason,
                         strlen(reason));
        return -1;
}

static int take_message(struct ws *ws, struct buf *message)
{
        static char bad_text[] = "text is not UTF-8";
        bool is_text = !lws_frame_is_binary(ws->wsi);

        if (message->size == 0)
                return 0;
        if (is_text && !utf8_is_valid(message->data, message->size))
                return refuse(ws, WS_INVALID_DATA, bad_text);
        ws->has_spoken = true;
        if (ws->ops)
                ws->ops->on_message(ws->arg, message->data, message->size, is_text);
        ws_schedule(ws);
        return 0;
}

static int on_receive(struct ws *ws, const char *data, size_t size)
{
        static char too_big[] = "message too big";
        CLEANUP(buf_done) struct buf message = { 0 };

        if (ws->is_cut)
                return -1;
        ws->received_ms = clock_now_ms();
        ws->alive_by_ms = 0;
        ws->received += size;
        ws->server->metrics->websocket_received += size;
        if (ws->state != WS_OPEN)
                return 0;
        ws->message.max = ws->server->options.max_message;
        if (size > 0 && buf_append(&ws->message, data, size) < 0)
                return refuse(ws, WS_TOO_BIG, too_big);
        if (!lws_is_final_fragment(ws->wsi))
                return 0;

        message = ws->message;
        buf_init(&ws->message, 0);
        return take_message(ws, &message);
}

/* The peer's close frame: a code and a reason, or nothing. */
static int on_peer_close(struct ws *ws, const unsigned char *data, size_t size)
{
        static char cut_off[] = "close code cut off", bad_reason[] = "close reason is not UTF-8";

        if (size == 1)
                return refuse(ws, WS_PROTOCOL_ERROR, cut_off);
        if (size > 2 && !utf8_is_valid((const char *)data + 2, size - 2))
                return refuse(ws, WS_INVALID_DATA, bad_reason);
        /* Who closes by itself when it has been told the end need not answer our ping any more. */
        ws->was_taken |= ws->is_finishing && list_is_empty(&ws->queue);
        ws_said_goodbye(ws);
        ws->code = size >= 2 ? (enum ws_code)(data[0] << 8 | data[1]) : WS_NORMAL;
        return 0;
}

static void on_destroy(struct ws *ws)
{
        lws_set_opaque_user_data(ws->wsi, NULL);
        ws->wsi = NULL;
        ws_free(ws);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t size)
{
        struct ws *ws = lws_get_opaque_user_data(wsi);

        (void)user;
        if (!ws) /* its handshake is being made up, or it is one of the library's own */
                return 0;
        switch (reason) {
        case LWS_CALLBACK_RECEIVE:
                return on_receive(ws, in, size);
        case LWS_CALLBACK_RECEIVE_PONG:
                ws_on_pong(ws, in, size);
                return 0;
        case LWS_CALLBACK_SERVER_WRITEABLE:
                ws_schedule(ws);
                return ws->is_cut ? -1 : 0;
        case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
                return on_peer_close(ws, in, size);
        case LWS_CALLBACK_CLOSED:
                tell_closed(ws);
                return 0;
        case LWS_CALLBACK_WSI_DESTROY:
                on_destroy(ws);
                return 0;
        default:
                return 0;
        }
}

/* --- accepting --- */

/* See the header. */
bool ws_admit(struct ws_server *s, struct request *req)
{
        if (s->n_connections < s->options.max_connections)
                return true;
        request_set_header(req, "Retry-After", "1");
        request_fail(req, PROBLEM_LIMIT_REACHED,
                     "max-websockets reached: %llu are open; try again when one has been closed",
                     (unsigned long long)s->n_connections);
        return false;
}

static void on_take(void *arg, int fd, const char *extra, size_t size)
{
        struct ws *ws = arg;

        ws->wsi = handshake_adopt(ws->server->vhost, fd, extra, size);
        if (!ws->wsi) {
                log_error("websocket not accepted", "id=%s", log_quote(ws->request_id));
                ws_free(ws);
                return;
        }
        lws_set_opaque_user_data(ws->wsi, ws);
        if (ws->state == WS_WAITING)
                ws->state = WS_OPEN;
        ws_begin_watch(ws);
        ws_update_rx(ws);
        ws_schedule(ws);
}

static void on_drop(void *arg)
{
        ws_free(arg);
}

/* See the header. */
struct ws *ws_accept(struct ws_server *s, struct request *req, const struct ws_ops *ops, void *arg)
{
        static const struct upgrade_ops upgrade = { .take = on_take, .drop = on_drop };
        struct ws *ws = xnew(struct ws);

        ws->server = s;
        ws->ops = ops;
        ws->arg = arg;
        ws->code = ABNORMAL_CODE;
        ws->request_id = xstrdup(request_id(req));
        ws->route = request_route(req)->path;
        ws->started_ms = clock_now_ms();
        buf_init(&ws->message, 0);
        list_init(&ws->queue);
        list_init(&ws->due_link);
        list_append(&s->connections, &ws->link);
        s->metrics->websockets = ++s->n_connections;
        s->metrics->websockets_total++;
        request_reply_upgrade(req, &upgrade, ws);
        return ws;
}

/* --- the server --- */

static void flush_due(struct ws_server *s)
{
        while (!list_is_empty(&s->due)) {
                struct ws *ws = list_entry(s->due.next, struct ws, due_link);

                list_remove(&ws->due_link);
                ws_flush(ws);
        }
}

static void on_prepare(uv_prepare_t *prepare)
{
        flush_due(prepare->data);
}

static void on_check(uv_check_t *check)
{
        flush_due(check->data);
}

static void start_handles(struct ws_server *s)
{
        uv_timer_init(s->loop, &s->timer);
        uv_prepare_init(s->loop, &s->prepare);
        uv_check_init(s->loop, &s->check);
        s->timer.data = s->prepare.data = s->check.data = s;
        uv_prepare_start(&s->prepare, on_prepare);
        uv_check_start(&s->check, on_check);
}

static void on_library_log(int level, const char *line)
{
        (void)level;
        log_debug("library", "text=%s", log_quote(line));
}

static int open_library(struct ws_server *s, struct error *err)
{
        static const struct lws_protocols protocols[] = {
                { "agent", on_event, 0, READ_SIZE, 0, NULL, WS_FRAME_SIZE + LWS_PRE },
                { NULL, NULL, 0, 0, 0, NULL, 0 },
        };
        /* Its own pings, and their deadline of 310 s, know nothing of peers that we do not read from. */
        static const lws_retry_bo_t no_keepalive = { .secs_since_valid_hangup = 0 };
        void *loops[] = { s->loop };
        struct lws_context_creation_info info = {
                .foreign_loops = loops,
                .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
                .port = CONTEXT_PORT_NO_LISTEN_SERVER,
                .protocols = protocols,
                .retry_and_idle_policy = &no_keepalive,
                .gid = (gid_t)-1,
                .uid = (uid_t)-1,
                /* Otherwise the process's limit sizes its tables: megabytes. */
                .fd_limit_per_thread = (unsigned)s->options.max_connections + LIMIT_WS_CLOSING,
        };

        lws_set_log_level(LLL_ERR | LLL_WARN, on_library_log);
        s->context = lws_create_context(&info);
        if (!s->context)
                return error_set_field(err, -ENOENT, "",
                                       "libwebsockets does not start; is its libuv plugin (Debian: "
                                       "libwebsockets-evlib-uv) installed?");
        s->vhost = lws_create_vhost(s->context, &info);
        return s->vhost ? 0 : error_set(err, -ENOMEM, "libwebsockets");
}

/* See the header. */
int ws_server_new(struct loop *l, const struct ws_options *o, struct metrics *m,
                  struct ws_server **ret, struct error *err)
{
        struct ws_server *s = xnew(struct ws_server);
        int r;

        s->options = *o;
        s->metrics = m;
        s->loop = &l->uv;
        s->timer_ms = NEVER;
        list_init(&s->connections);
        list_init(&s->due);
        r = open_library(s, err);
        if (r < 0) {
                lws_context_destroy(s->context);
                free(s);
                return r;
        }
        start_handles(s);
        *ret = s;
        return 0;
}

/* See the header. The library's tables cannot grow, so the number of connections stays. */
void ws_server_set_options(struct ws_server *s, const struct ws_options *o)
{
        uint64_t max_connections = s->options.max_connections;

        s->options = *o;
        s->options.max_connections = max_connections;
}

/* See the header. */
void ws_server_drain(struct ws_server *s, void (*on_idle)(void *arg), void *arg)
{
        s->on_idle = on_idle;
        s->on_idle_arg = arg;
        ws_begin_drain(s);
        list_for_each_safe(pos, &s->connections) {
                struct ws *ws = list_entry(pos, struct ws, link);

                if (ws->ops)
                        ws->ops->on_shutdown(ws->arg);
        }
        check_idle(s);
}

/* See the header. */
void ws_server_cut(struct ws_server *s)
{
        list_for_each_safe(pos, &s->connections) {
                ws_cut(list_entry(pos, struct ws, link));
        }
}

/* See the header. */
void ws_server_close(struct ws_server *s)
{
        uv_close((uv_handle_t *)&s->timer, NULL);
        uv_close((uv_handle_t *)&s->prepare, NULL);
        uv_close((uv_handle_t *)&s->check, NULL);
        lws_context_destroy(s->context); /* begins: the loop has to close the library's handles */
}

/* See the header. */
struct ws_server *ws_server_free(struct ws_server *s)
{
        if (!s)
                return NULL;
        lws_context_destroy(s->context); /* ends */
        free(s);
        return NULL;
}
