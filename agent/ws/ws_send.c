/* SPDX-License-Identifier: Apache-2.0 */

/* Sending and closing. ws_schedule notes who has something to do, and ws_flush does it when the loop is between two
 * callbacks: so frames go out without waiting for the socket to be reported as writable, and nobody is called back from
 * inside a call. Only when the library holds a part of a frame that the socket did not take is its writable callback
 * waited for. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/metrics.h"
#include "agent/ws/ws_private.h"

/* How long ws_finish waits for the peer to take the last frame. */
#define FINISH_MS 1000
/* How long a peer that does not read is waited for when it is told to go. */
#define CLOSE_MS 2000

/* See ws_private.h. */
bool ws_has_data(const struct ws *ws)
{
        return !list_is_empty(&ws->queue) || ws->wants_write;
}

/* The moment for the close frame, once all data has gone. */
static bool may_close(const struct ws *ws)
{
        return ws->state == WS_CLOSING && !ws_has_data(ws) && clock_now_ms() >= ws->close_ms;
}

/* See ws_private.h. */
void ws_schedule(struct ws *ws)
{
        uint64_t due_ms;

        if (!ws->wsi || ws->is_cut || ws->has_said_goodbye)
                return;
        due_ms = ws_has_data(ws) ? ws_pause_end_ms(ws) : NEVER;
        if (due_ms > 0)
                ws_arm(ws->server, due_ms);
        if ((due_ms == 0 || ws->owes_ping || may_close(ws)) && list_is_empty(&ws->due_link))
                list_append(&ws->server->due, &ws->due_link);
}

/* See ws_private.h. */
void ws_update_rx(struct ws *ws)
{
        /* Who asks faster than it reads the answers has to wait. At the end messages are dropped, but the peer's own
         * close must be seen, and so must the end of a connection that was cut. */
        bool stop = ws->state != WS_CLOSING && !ws->is_cut &&
                    (ws->is_paused || ws->queued > LIMIT_WS_QUEUE);

        if (!ws->wsi || stop == ws->is_rx_stopped)
                return;
        ws->is_rx_stopped = stop;
        ws->received_ms = clock_now_ms();
        (void)lws_rx_flow_control(ws->wsi, !stop);
        ws_arm(ws->server, ws->received_ms); /* other rules for its silence apply */
}

/* See the header. */
void ws_pause(struct ws *ws, bool pause)
{
        ws->is_paused = pause;
        ws_update_rx(ws);
}

/* See the header. */
void ws_send(struct ws *ws, const char *data, size_t size)
{
        struct frame *f;

        assert(size > 0 && size <= WS_FRAME_SIZE);
        if (ws->state == WS_CLOSING)
                return;
        f = xcalloc(1, sizeof(*f) + LWS_PRE + size);
        f->size = size;
        memcpy(f->data + LWS_PRE, data, size);
        list_append(&ws->queue, &f->link);
        ws->queued += size;
        ws_update_rx(ws);
        ws_schedule(ws);
}

/* See the header. */
void ws_set_burst(struct ws *ws)
{
        ws->may_burst = true;
}

/* See the header. */
void ws_want_write(struct ws *ws)
{
        if (ws->state == WS_CLOSING || ws->wants_write)
                return;
        ws->wants_write = true;
        ws_schedule(ws);
}

/* See the header. */
char *ws_buffer(struct ws *ws)
{
        return ws->server->buffer + LWS_PRE;
}

/* See the header. */
bool ws_was_taken(const struct ws *ws)
{
        return ws->was_taken && list_is_empty(&ws->queue);
}

/* @data has LWS_PRE bytes of room in front. */
static int write_frame(struct ws *ws, char *data, size_t size)
{
        int r = lws_write(ws->wsi, (unsigned char *)data, size, LWS_WRITE_TEXT);

        ws->is_deaf = ws->sent_us > 0 && !ws->has_answered && !ws->is_rx_stopped;
        ws->sent_us = clock_now_us();
        if (ws->sent_us >= ws->burst_us + WS_BURST_US) {
                ws->burst_us = ws->sent_us;
                ws->n_burst = 0;
        }
        ws->n_burst++;
        ws->pinged_ms = ws->sent_us / 1000;
        ws->sent += size;
        ws->server->metrics->websocket_sent += size;
        ws->was_taken = ws->has_spoken = false;
        ws->ping++;
        ws->owes_ping = true;
        return r < 0 ? -EIO : 0;
}

/* See the header. */
void ws_write(struct ws *ws, size_t size)
{
        assert(ws->is_in_writable && size > 0 && size <= WS_FRAME_SIZE);
        ws->is_in_writable = false; /* once */
        if (write_frame(ws, ws_buffer(ws), size) < 0)
                ws_cut(ws);
}

static uint64_t finish_ms(const struct ws *ws)
{
        return ws->server->is_draining ? FINISH_MS / 4 : FINISH_MS;
}

static int write_queued(struct ws *ws)
{
        struct frame *f = list_entry(ws->queue.next, struct frame, link);
        int r;

        list_remove(&f->link);
        ws->queued -= f->size;
        r = write_frame(ws, f->data + LWS_PRE, f->size);
        free(f);
        if (ws->is_finishing && list_is_empty(&ws->queue)) {
                ws->close_ms = clock_now_ms() + finish_ms(ws);
                ws_arm(ws->server, ws->close_ms);
        }
        return r;
}

static void let_owner_write(struct ws *ws)
{
        ws->wants_write = false;
        if (!ws->ops)
                return;
        ws->is_in_writable = true;
        ws->ops->on_writable(ws->arg);
        ws->is_in_writable = false;
}

static int write_ping(struct ws *ws)
{
        unsigned char data[LWS_PRE + sizeof(ws->ping)];

        ws->owes_ping = false;
        memcpy(data + LWS_PRE, &ws->ping, sizeof(ws->ping));
        return lws_write(ws->wsi, data + LWS_PRE, sizeof(ws->ping), LWS_WRITE_PING) < 0 ? -EIO : 0;
}

/* Does the next thing that may be done now; false: there is none, or it failed. */
static bool step(struct ws *ws)
{
        int r = 0;

        if (ws->owes_ping) {
                r = write_ping(ws);
        } else if (ws_has_data(ws) && ws_pause_end_ms(ws) == 0) {
                if (!list_is_empty(&ws->queue))
                        r = write_queued(ws);
                else
                        let_owner_write(ws);
                ws_update_rx(ws);
        } else if (may_close(ws)) {
                ws_said_goodbye(ws);
                lws_close_reason(ws->wsi, (enum lws_close_status)ws->code,
                                 (unsigned char *)ws->reason, strlen(ws->reason));
                lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
                return false;
        } else {
                return false;
        }
        if (r < 0)
                ws_cut(ws);
        return r == 0;
}

/* See ws_private.h. */
void ws_flush(struct ws *ws)
{
        bool is_busy = true;

        while (is_busy && ws->wsi && !ws->is_cut && !ws->has_said_goodbye &&
               !lws_partial_buffered(ws->wsi))
                is_busy = step(ws);
        if (ws->wsi && lws_partial_buffered(ws->wsi))
                lws_callback_on_writable(ws->wsi); /* when the peer has read some of it */
        else
                ws_schedule(ws);
}

/* See ws_private.h. */
void ws_drop_queue(struct ws *ws)
{
        list_for_each_safe(pos, &ws->queue) {
                list_remove(pos);
                free(list_entry(pos, struct frame, link));
        }
        ws->queued = 0;
}

static void begin_close(struct ws *ws, enum ws_code code, const char *reason, uint64_t wait_ms,
                        uint64_t patience_ms)
{
        uint64_t now = clock_now_ms();

        ws->state = WS_CLOSING;
        ws->code = code;
        (void)snprintf(ws->reason, sizeof(ws->reason), "%s", reason);
        ws->close_ms = now + wait_ms;
        ws->give_up_ms = now + ws_patience_ms(ws->server, patience_ms);
        ws->wants_write = false;
        ws_update_rx(ws);
        ws_schedule(ws);
        ws_arm(ws->server, MIN(ws->close_ms, ws->give_up_ms));
}

/* See the header. */
void ws_close(struct ws *ws, enum ws_code code, const char *reason)
{
        if (ws->state != WS_CLOSING)
                begin_close(ws, code, reason, 0,
                            code == WS_TOO_SLOW ? ws->server->options.silence_ms : CLOSE_MS);
}

/* See the header. */
void ws_finish(struct ws *ws, enum ws_code code)
{
        if (ws->state == WS_CLOSING)
                return;
        if (ws->server->is_draining)
                code = WS_GOING_AWAY;
        ws->is_finishing = true;
        begin_close(ws, code, "",
                    list_is_empty(&ws->queue) && ws->was_taken ? WS_TAKEN_MS : finish_ms(ws),
                    ws->server->options.silence_ms);
}
