/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From HTTP to WebSocket, as far as HTTP goes: the handshake's headers, the 101, and handing the connection over.
 * The pipeline checks the handshake of routes with ROUTE_UPGRADE before their handler is called. */

#include <stdbool.h>
#include <stddef.h>

struct request;

/* Who gets the connection. Exactly one of the two is called, once. */
struct upgrade_ops {
        /* The client has been told. @fd is the connection, non-blocking; it is closed when this returns, so what is to
         * live on must be a duplicate. @extra is what the client has sent behind its handshake. */
        void (*take)(void *arg, int fd, const char *extra, size_t size);
        /* The client left before. */
        void (*drop)(void *arg);
};

/* The answer to a handshake: 101. As with other answers @ops is not called from inside; if nobody is listening any
 * more, drop is called later. */
int request_reply_upgrade(struct request *req, const struct upgrade_ops *ops, void *arg);
