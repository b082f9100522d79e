/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Listening addresses: "ADDR:PORT", "[ADDR6]:PORT" or "unix:PATH". Addresses are numeric, because a name
 * that resolves differently tomorrow has no place in front of an agent that runs code. */

#include <sys/socket.h>

#include "agent/base/error.h"

/* -EINVAL: no such address; the message does not repeat the option's name. */
int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                 struct error *err);

/* Opens a listening stream socket, non-blocking and close-on-exec. *ret_fd is owned by the caller. A unix
 * socket that nobody listens on any more is replaced. -EADDRINUSE, -EACCES …: as bind(2). */
int listen_open(const char *text, int *ret_fd, struct error *err);

/* The address that @fd is bound to, as listen_parse reads it; "?" when the kernel does not say. Returns @dst. */
#define LISTEN_NAME_SIZE 128
const char *listen_name(int fd, char dst[LISTEN_NAME_SIZE]);
