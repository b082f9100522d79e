/* SPDX-License-Identifier: Apache-2.0 */

/* Everything about a connection that depends on time goes through one timer, which then looks at all of them: pauses
 * between frames, pings and their absence, the patience at the end. */

#include <poll.h>
#include <string.h>

#define LOG_MODULE "ws"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/log.h"
#include "agent/ws/ws_private.h"

#define PACE_US ((uint64_t)WS_PACE_MS * 1000)
/* How long a pong is waited for: before the peer is asked again or, if it never answers, taken for deaf. */
#define PONG_MS ((uint64_t)1000)
/* For the closing handshake. */
#define GOODBYE_MS 5000
/* When the agent stops, nobody is waited for any longer than this. */
#define DRAIN_MS 1000
/* How often a peer that may not speak is looked at. */
#define LOOK_MS 1000
/* Whoever lives has answered within this time after we were resumed. */
#define PROOF_MS 5000

/* See ws_private.h. */
void ws_arm(struct ws_server *s, uint64_t due_ms)
{
        uint64_t now;

        if (due_ms >= s->timer_ms)
                return;
        now = clock_now_ms();
        s->timer_ms = due_ms;
        uv_update_time(s->loop);
        uv_timer_start(&s->timer, ws_on_timer, due_ms > now ? due_ms - now : 0, 0);
}

/* See ws_private.h. */
uint64_t ws_pause_end_ms(const struct ws *ws)
{
        uint64_t now_us = clock_now_us(), end_us = ws->sent_us + PACE_US;

        if (ws->sent_us == 0 || (ws->was_taken && ws->has_spoken))
                return 0;
        if (ws->may_burst) {
                end_us = ws->burst_us + WS_BURST_US;
                return ws->n_burst < WS_BURST || now_us >= end_us ? 0 : end_us / 1000 + 1;
        }
        /* While we do not read, its pong cannot come. */
        if (!ws->was_taken && !ws->is_rx_stopped && !ws->is_deaf) {
                if (ws->has_answered)
                        return MAX(ws->pinged_ms + PONG_MS, now_us / 1000 + 1);
                end_us = ws->sent_us + PONG_MS * 1000;
        }
        return now_us >= end_us ? 0 : end_us / 1000 + 1;
}

/* A ping may get lost among others: who answers pings is asked again. */
static uint64_t watch_pong(struct ws *ws, uint64_t now)
{
        if (ws->was_taken || !ws->has_answered || ws->is_rx_stopped || !ws_has_data(ws))
                return NEVER;
        if (now >= ws->pinged_ms + PONG_MS) {
                ws->pinged_ms = now;
                ws->owes_ping = true;
                ws_schedule(ws);
        }
        return ws->pinged_ms + PONG_MS;
}

/* See ws_private.h. */
void ws_on_pong(struct ws *ws, const void *data, size_t size)
{
        ws->received_ms = clock_now_ms();
        ws->alive_by_ms = 0;
        if (size != sizeof(ws->ping) || memcmp(data, &ws->ping, size) != 0 || ws->was_taken)
                return;
        ws->was_taken = ws->has_answered = true;
        ws->is_deaf = false;
        if (ws->is_finishing && list_is_empty(&ws->queue)) {
                ws->close_ms = MIN(ws->close_ms, ws->received_ms + WS_TAKEN_MS);
                ws_arm(ws->server, ws->close_ms);
        }
        ws_schedule(ws);
}

/* A third of the silence that is allowed: two pings may be lost. */
static uint64_t ping_interval_ms(const struct ws_server *s)
{
        return MAX(s->options.silence_ms / 3, (uint64_t)1);
}

/* See ws_private.h. */
void ws_begin_watch(struct ws *ws)
{
        ws->received_ms = ws->pinged_ms = clock_now_ms();
        ws_arm(ws->server, ws->received_ms + ping_interval_ms(ws->server));
}

/* See ws_private.h. */
uint64_t ws_patience_ms(const struct ws_server *s, uint64_t patience_ms)
{
        return s->is_draining ? MIN(patience_ms, (uint64_t)DRAIN_MS) : patience_ms;
}

/* The agent stops, and the peer does not read what is left for it. */
static bool is_hopeless(const struct ws *ws, uint64_t now)
{
        const struct ws_server *s = ws->server;

        return s->is_draining && lws_partial_buffered(ws->wsi) &&
               now >= MAX(s->drain_ms, ws->sent_us / 1000) + DRAIN_MS;
}

/* Whose messages we do not read at the moment cannot prove that it lives. We do not see it leave either, when its
 * farewell waits behind what it has sent; but then its side refuses our pings. */
static bool has_hung_up(const struct ws *ws)
{
        struct pollfd p = { .fd = lws_get_socket_fd(ws->wsi), .events = POLLRDHUP };

        return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Did it leave while we stood still? Where a frame is stuck in front of our ping the peer was slow before, and cannot
 * prove anything. */
static bool is_lost(struct ws *ws, uint64_t now)
{
        if (ws->alive_by_ms == 0 || now < ws->alive_by_ms)
                return false;
        ws->alive_by_ms = 0;
        return !lws_partial_buffered(ws->wsi);
}

static uint64_t watch_peer(struct ws *ws, uint64_t now)
{
        uint64_t silence_ms = ws->server->options.silence_ms;
        uint64_t interval_ms = ping_interval_ms(ws->server);
        uint64_t next;

        if (is_hopeless(ws, now)) {
                ws_cut(ws);
                return NEVER;
        }
        if (ws->is_rx_stopped) {
                ws->received_ms = now;
                if (has_hung_up(ws)) {
                        ws_cut(ws);
                } else if (now >= ws->pinged_ms + LOOK_MS) {
                        ws->pinged_ms = now;
                        ws->owes_ping = true;
                        ws_schedule(ws);
                }
                return now + LOOK_MS;
        }
        if (now >= ws->received_ms + silence_ms || is_lost(ws, now)) {
                log_debug("websocket silent", "id=%s", log_quote(ws->request_id));
                ws_cut(ws);
                return NEVER;
        }
        if (now >= MAX(ws->received_ms, ws->pinged_ms) + interval_ms) {
                ws->pinged_ms = now;
                ws->owes_ping = true;
                ws_schedule(ws);
        }
        next = MIN(MAX(ws->received_ms, ws->pinged_ms) + interval_ms, ws->received_ms + silence_ms);
        if (now < ws->alive_by_ms)
                next = MIN(next, ws->alive_by_ms);
        return ws->server->is_draining ? MIN(next, now + DRAIN_MS) : next;
}

/* See ws_private.h. */
void ws_said_goodbye(struct ws *ws)
{
        ws->state = WS_CLOSING;
        ws->has_said_goodbye = true;
        ws->give_up_ms = clock_now_ms() + ws_patience_ms(ws->server, GOODBYE_MS);
        ws_arm(ws->server, ws->give_up_ms);
}

static uint64_t watch_end(struct ws *ws, uint64_t now)
{
        if (now >= ws->give_up_ms) {
                ws_cut(ws);
                return NEVER;
        }
        if (ws->has_said_goodbye)
                return ws->give_up_ms;
        ws_schedule(ws);
        return now < ws->close_ms ? MIN(ws->close_ms, ws->give_up_ms) : ws->give_up_ms;
}

/* See ws_private.h. */
void ws_begin_drain(struct ws_server *s)
{
        s->is_draining = true;
        s->drain_ms = clock_now_ms();
        list_for_each(pos, &s->connections) {
                struct ws *ws = list_entry(pos, struct ws, link);

                if (ws->state == WS_CLOSING)
                        ws->give_up_ms = MIN(ws->give_up_ms, s->drain_ms + DRAIN_MS);
        }
        ws_arm(s, s->drain_ms + DRAIN_MS);
}

/* See ws.h. */
void ws_server_resumed(struct ws_server *s)
{
        uint64_t now = clock_now_ms();

        list_for_each_safe(pos, &s->connections) {
                struct ws *ws = list_entry(pos, struct ws, link);

                if (!ws->wsi || ws->is_cut)
                        continue;
                fd_keep_alive(lws_get_socket_fd(ws->wsi));
                if (ws->state != WS_OPEN || ws->is_rx_stopped)
                        continue;
                ws->alive_by_ms = now + PROOF_MS;
                ws->pinged_ms = now;
                ws->owes_ping = true;
                ws_schedule(ws);
        }
        ws_arm(s, now + PROOF_MS);
}

/* Does what is due, and returns when to look again. */
static uint64_t check(struct ws *ws, uint64_t now)
{
        if (!ws->wsi)
                return NEVER;
        if (ws_has_data(ws))
                ws_schedule(ws); /* arms the timer if it is too early */
        return MIN(watch_pong(ws, now),
                   ws->state == WS_CLOSING ? watch_end(ws, now) : watch_peer(ws, now));
}

/* See ws_private.h. */
void ws_on_timer(uv_timer_t *timer)
{
        struct ws_server *s = timer->data;
        uint64_t now = clock_now_ms();

        s->timer_ms = NEVER;
        list_for_each_safe(pos, &s->connections) {
                ws_arm(s, check(list_entry(pos, struct ws, link), now));
        }
}
