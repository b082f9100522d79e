/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Pseudo-terminals. */

#include "agent/base/error.h"
#include "proc/spawn.h"

struct pty_size {
        unsigned columns; /* 1 … PTY_MAX_SIZE */
        unsigned rows;
};

#define PTY_MAX_SIZE 4096

/* Opens a terminal of @size that belongs to @user (NULL: to us). Both descriptors are close-on-exec; the master is
 * non-blocking. Line settings are the kernel's, plus IUTF8: the erase key takes whole characters. */
int pty_open(const struct pty_size *size, const struct credentials *user, int *ret_master,
             int *ret_slave, struct error *err);
/* Tells the foreground program (SIGWINCH) when it is a new one. -EINVAL: no sane size. */
int pty_resize(int master_fd, const struct pty_size *size);
/* The character that is the end of the input at the start of a line: ^D unless the program has chosen another. */
char pty_end_of_file(int master_fd);
