/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

struct lws;
struct lws_vhost;

/* Makes the connection @fd, on which the handshake has been answered, a WebSocket of the library's. @extra is what the
 * peer has sent since; it is read in the loop's next turn. The library gets a duplicate of @fd. NULL: it could not be
 * done. */
struct lws *handshake_adopt(struct lws_vhost *vhost, int fd, const char *extra, size_t size);
