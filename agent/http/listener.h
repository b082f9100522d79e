/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Accepts connections. The HTTP library could, but when it finds no descriptor for one it listens no more until another
 * of its connections has ended, which may take minutes; or it tries again at once and for ever, if it has none. */

#include <microhttpd.h>

#include "agent/base/error.h"

struct listener;
struct server;

/* Takes @fd, a listening stream socket that does not block, and feeds @mhd, the library of @s. While as many clients
 * are there as the options allow now, others wait in the kernel's queue. */
int listener_new(struct server *s, struct MHD_Daemon *mhd, int fd, struct listener **ret,
                 struct error *err);
/* Closes the socket. Returns NULL; harmless on NULL, as the others are. */
struct listener *listener_free(struct listener *l);

/* The library has a client more, or is about to have one less. */
void listener_client_came(struct listener *l);
void listener_client_left(struct listener *l);
/* To be called now and then: without a descriptor for the next client it waits for that, and nobody tells when there
 * is one again. */
void listener_try_again(struct listener *l);
