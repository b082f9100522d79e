/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A client connection, as far as the HTTP library does not see it: time and hang-ups.
 *
 * The library only knows inactivity, so a client that sends one byte now and then (slow loris) would keep its
 * connection for ever; here every phase in which the client owes us something has a deadline. And it does not notice
 * that the client leaves while a connection is suspended, or right behind a part of a request. */

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "agent/base/list.h"

struct request;
struct server;

struct connection {
        struct list link;
        int fd;
        uint64_t deadline_ms;    /* monotonic; 0: the client owes nothing */
        struct request *request; /* being received or answered, or NULL */
        uv_poll_t *watch;        /* for the client's end of the stream; NULL: seen already */
        int unsent; /* bytes in the socket that the client had not taken at the last look */
        bool is_hung_up;
        struct server *owner;
        void (*on_hangup)(struct connection *c);
};

struct connection *connection_new(struct list *all, int fd);
/* Before the descriptor is closed. */
struct connection *connection_free(struct connection *c);

/* Calls @on_hangup(@c), once, when the client has closed its side: it is gone, or has nothing more to say. */
void connection_watch(struct connection *c, uv_loop_t *loop,
                      void (*on_hangup)(struct connection *c));

/* MHD's edge-triggered watch misses an end that came together with data. So once it has read the data (after a turn)
 * those of @all whose client has hung up get a new edge. What the client has sent can still be answered: only this
 * direction is closed. */
void connection_tell_hang_ups(struct list *all);

/* The client has @timeout_ms from now to finish the current phase. 0: no deadline. */
void connection_expect(struct connection *c, uint64_t timeout_ms);

/* To the HTTP library a client is idle when its socket takes nothing more. But a socket may have room for megabytes,
 * which a slow client needs minutes for. So for those of @all that have taken something since the last call the time
 * that they may be idle begins anew. */
void connection_note_progress(struct list *all);

/* To the HTTP library clients are idle while we stand still. So when clock_paused_us is no longer *paused_us, which it
 * is made to be, the time in which those of @all with a request may be idle begins anew. */
void connection_forgive_pause(struct list *all, uint64_t *paused_us);

/* After a time in which clients could leave without our notice: cuts those of @all without a request, and has the
 * kernel ask the clients of the others whether they live. One that does not answer has hung up within seconds. */
void connection_check_all(struct list *all);

/* The HTTP library sees the end of the stream and closes the connection in its own time. */
void connection_cut(struct connection *c);
/* Cuts those of @all whose deadline has passed; returns how many. Those who owe a body are told why. */
unsigned connection_cut_expired(struct list *all);
/* Cuts those without a request, or with one whose headers have not arrived. */
void connection_cut_idle(struct list *all);
