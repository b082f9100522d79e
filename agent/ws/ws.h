/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* WebSocket connections: whole messages in, paced frames out. What the messages say is not known here (channel.h).
 *
 * One widely used client loses frames that it reads together. So a frame is followed by a ping, and the next one
 * leaves when the pong has come, which proves that the peer has read it, and not before WS_PACE_MS have passed; unless
 * the peer has also spoken since: then it is answering, and gets its answer at once. Peers that never answer pings get
 * their frames by time alone. Meanwhile the owner lets its output grow together, so that fewer and larger frames lose
 * no throughput, and the first frame after a pause leaves at once. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"

struct loop;
struct metrics;
struct request;
struct ws;
struct ws_server;

#define WS_PACE_MS 5
/* To peers that are known to lose nothing: so many frames may follow each other, and the next ones a millisecond
 * later. What limits them is only how fast they read. */
#define WS_BURST 32
/* The largest frame that a client has to expect: half of what Python's client accepts by default. */
#define WS_FRAME_SIZE (512 * KIB)

/* Close codes: RFC 6455's, and ours. */
enum ws_code {
        WS_NORMAL = 1000,
        WS_GOING_AWAY = 1001, /* the agent stops */
        WS_PROTOCOL_ERROR = 1002,
        WS_INVALID_DATA = 1007,
        WS_TOO_BIG = 1009,
        WS_INTERNAL = 1011,
        WS_TOO_SLOW = 4008, /* output was dropped that this client had not read */
};

struct ws_options {
        size_t max_message;
        uint64_t max_connections;
        uint64_t
                silence_ms; /* a peer from which nothing has come for so long, not even a pong, is gone */
};

struct ws_ops {
        /* One message. @data may be changed and is followed by a NUL; text is valid UTF-8. */
        void (*on_message)(void *arg, char *data, size_t size, bool is_text);
        /* A frame may be sent, as asked for by ws_want_write: the callee may call ws_write, once. */
        void (*on_writable)(void *arg);
        /* The agent stops. What cannot end by itself should ws_close. */
        void (*on_shutdown)(void *arg);
        /* The last call. */
        void (*on_closed)(void *arg);
};

int ws_server_new(struct loop *l, const struct ws_options *o, struct metrics *m,
                  struct ws_server **ret, struct error *err);
void ws_server_set_options(struct ws_server *s, const struct ws_options *o);
/* Peers may have left while we stood still, unnoticed: all are pinged, and those from which nothing comes within a few
 * seconds are dropped. */
void ws_server_resumed(struct ws_server *s);
/* Tells every connection that the agent stops, and calls @on_idle once there is none left. */
void ws_server_drain(struct ws_server *s, void (*on_idle)(void *arg), void *arg);
/* Drops every connection, without waiting for anybody. */
void ws_server_cut(struct ws_server *s);
/* Closes the handles; only after on_idle, or when nothing was ever accepted. */
void ws_server_close(struct ws_server *s);
/* After the loop has ended. */
struct ws_server *ws_server_free(struct ws_server *s);

/* Whether there is room for one more; if not, the request has been failed. */
bool ws_admit(struct ws_server *s, struct request *req);
/* Answers the handshake. From here on the connection counts; @ops->on_closed is called once, at its end, whatever
 * becomes of it, never from inside. The pointer is good until then. */
struct ws *ws_accept(struct ws_server *s, struct request *req, const struct ws_ops *ops, void *arg);

/* Queues a text message of at most WS_FRAME_SIZE bytes; never empty. It is copied. Nothing happens after ws_close. */
void ws_send(struct ws *ws, const char *data, size_t size);
/* The peer takes frames that come together. */
void ws_set_burst(struct ws *ws);
/* Asks for on_writable, once: when what is queued has gone, the peer reads, and the pause is over. */
void ws_want_write(struct ws *ws);
/* In on_writable only: where to put a frame of up to WS_FRAME_SIZE bytes, and sending it. @size > 0. */
char *ws_buffer(struct ws *ws);
void ws_write(struct ws *ws, size_t size);
/* While paused no messages come (and no pings are answered): back-pressure for the peer. */
void ws_pause(struct ws *ws, bool pause);

/* Whether the peer has proved that it got everything that was sent. */
bool ws_was_taken(const struct ws *ws);

/* Closes when everything queued has gone. */
void ws_close(struct ws *ws, enum ws_code code, const char *reason);
/* The same, but gives the peer time to take the last frame and to close by itself: clients lose what is followed at
 * once by the end. */
void ws_finish(struct ws *ws, enum ws_code code);
