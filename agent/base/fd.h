/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "agent/base/buf.h"
#include "agent/base/error.h"

/* Closes @fd unless it is negative; returns -1. errno is preserved. */
int fd_close(int fd);
DEFINE_CLEANUP(int, fd_close)

int fd_set_cloexec(int fd, bool on);
int fd_set_nonblock(int fd, bool on);

/* Has the kernel ask the peer of a TCP connection every second whether it lives; after five questions without an answer
 * the connection is at its end. Does nothing to other descriptors. */
void fd_keep_alive(int fd);

/* Writes everything, across EINTR and short writes; for blocking descriptors. */
int fd_write_all(int fd, const void *data, size_t size);

/* Appends the regular file @path to @ret. -EFBIG: larger than @max. Opens without following FIFOs into a
 * hang (O_NONBLOCK), and refuses what is no regular file with -EINVAL. */
int fd_read_file(const char *path, size_t max, struct buf *ret, struct error *err);

/* An anonymous file holding @data, read position 0, close-on-exec. Returns the fd or a negative errno. */
int fd_memfd(const char *name, const void *data, size_t size);
