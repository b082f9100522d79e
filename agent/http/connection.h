/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A client connection, as far as time is concerned. The HTTP library only knows inactivity, so a client that
 * sends one byte now and then (slow loris) would keep its connection for ever; here every phase in which the
 * client owes us something has a deadline. */

#include <stdint.h>

#include "agent/base/list.h"

struct request;

struct connection {
        struct list link;
        int fd;
        uint64_t deadline_ms;    /* monotonic; 0: the client owes nothing */
        struct request *request; /* being received or answered, or NULL */
};

struct connection *connection_new(struct list *all, int fd);
struct connection *connection_free(struct connection *c);

/* The client has @timeout_ms from now to finish the current phase. 0: no deadline. */
void connection_expect(struct connection *c, uint64_t timeout_ms);

/* The HTTP library sees the end of the stream and closes the connection in its own time. */
void connection_cut(struct connection *c);
/* Cuts those of @all whose deadline has passed; returns how many. */
unsigned connection_cut_expired(struct list *all);
/* Cuts those without a request. */
void connection_cut_idle(struct list *all);
