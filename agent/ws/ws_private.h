/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by ws_server.c (the library, accepting, receiving), ws_send.c (sending and closing) and ws_time.c (pauses,
 * pings, patience); nobody else looks inside.
 *
 * A connection is WAITING for the HTTP side to hand over its socket, then OPEN, then CLOSING (a close was asked for),
 * then gone. */

#include <libwebsockets.h>
#include <uv.h>

#include "agent/base/buf.h"
#include "agent/base/list.h"
#include "agent/ws/ws.h"

#define REASON_SIZE 100
#define NEVER       UINT64_MAX
/* How long ws_finish gives the peer to close by itself once it has taken the last frame. */
#define WS_TAKEN_MS 100
#define WS_BURST_US ((uint64_t)1000)

enum ws_state { WS_WAITING, WS_OPEN, WS_CLOSING };

/* A queued message, with the room in front that the library wants. */
struct frame {
        struct list link;
        size_t size;
        char data[]; /* LWS_PRE bytes, then the message */
};

struct ws {
        struct list link;
        struct list due_link; /* server's due */
        struct ws_server *server;
        struct lws *wsi; /* NULL before it is open, and after its end */
        enum ws_state state;
        const struct ws_ops *ops; /* NULL: on_closed was called */
        void *arg;

        char *request_id;
        const char *route; /* a constant */
        uint64_t started_ms;
        uint64_t received, sent;

        struct buf message;
        bool is_paused;       /* by the owner */
        bool is_rx_stopped;   /* as the library was told */
        uint64_t received_ms; /* when something came last */
        uint64_t pinged_ms;
        uint64_t alive_by_ms; /* something has to come until then; 0: nobody doubts that it lives */

        struct list queue;
        size_t queued;
        bool wants_write;
        bool is_in_writable; /* the owner's callback, and it has not written yet */
        uint64_t sent_us;
        bool may_burst;    /* no pauses */
        uint64_t burst_us; /* when the last frames began to follow each other, */
        unsigned n_burst;  /* and how many they are */
        uint32_t ping;     /* payload of the last ping behind a frame */
        bool owes_ping;    /* send it next */
        bool was_taken;    /* its pong has come */
        bool has_answered; /* some pong has come: the peer answers pings */
        bool is_deaf;      /* none ever came */
        bool has_spoken;   /* the peer, since the last frame */

        bool is_finishing;
        bool is_cut;           /* its end is on the way */
        bool has_said_goodbye; /* the close frame is the library's business now */
        uint64_t close_ms;     /* say it then, */
        uint64_t give_up_ms;   /* or, to a peer that does not read what comes before it, never */
        enum ws_code code;
        char reason[REASON_SIZE];
};

struct ws_server {
        struct ws_options options;
        struct metrics *metrics;
        struct lws_context *context;
        struct lws_vhost *vhost;
        uv_timer_t timer;
        uint64_t timer_ms; /* when it fires; NEVER: it is stopped */
        uv_prepare_t prepare;
        uv_check_t check;
        struct list
                due; /* connections with something to do when the current callbacks have returned */
        uv_loop_t *loop;
        struct list connections;
        uint64_t n_connections;
        bool is_draining;
        uint64_t drain_ms; /* since when */
        void (*on_idle)(void *arg);
        void *on_idle_arg;
        char buffer[LWS_PRE +
                    WS_FRAME_SIZE]; /* whose frame is being made; untouched pages cost nothing */
};

/* ws_server.c */
/* Drops the connection; the library calls back for its end, later. */
void ws_cut(struct ws *ws);

/* ws_send.c */
bool ws_has_data(const struct ws *ws);
/* Notes that there is something to do now, or arms the timer for when there will be. */
void ws_schedule(struct ws *ws);
/* Does what may be done now. Never from inside a callback of the library. */
void ws_flush(struct ws *ws);
/* Tells the library whether to read on. */
void ws_update_rx(struct ws *ws);
void ws_drop_queue(struct ws *ws);

/* ws_time.c */
/* Makes sure that the timer fires at @due_ms at the latest. */
void ws_arm(struct ws_server *s, uint64_t due_ms);
void ws_on_timer(uv_timer_t *timer);
/* When the next frame with data may go; 0: now. */
uint64_t ws_pause_end_ms(const struct ws *ws);
/* The peer has taken the frame before, or has spoken. */
void ws_on_pong(struct ws *ws, const void *data, size_t size);
/* A close frame was sent, or came: the rest is the library's business, but not for ever. */
void ws_said_goodbye(struct ws *ws);
/* How long a peer is waited for that would be given @patience_ms if the agent did not stop. */
uint64_t ws_patience_ms(const struct ws_server *s, uint64_t patience_ms);
/* The agent stops: peers that do not answer or do not read are no longer waited for. */
void ws_begin_drain(struct ws_server *s);
/* The connection is open: from now on the peer has to show that it lives. */
void ws_begin_watch(struct ws *ws);
