/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory, or a file, as a tar archive that a worker writes bit by bit into a feed. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/macros.h"

struct feed;
struct tar;

/* @feed and @cancel are borrowed. NULL: no memory. */
struct tar *tar_new(bool is_compressed, struct feed *feed, const atomic_bool *cancel);
/* When no worker is at it; it need not be complete, but then this is work for a worker, too. Returns NULL. */
struct tar *tar_free(struct tar *t);

/* What is to be archived, once: @fd (takes it) is a directory or a regular file, open for reading; @name is what it
 * is called in the archive. */
void tar_begin(struct tar *t, int fd, const char *name);
bool tar_has_begun(const struct tar *t);

/* On a worker, in the user's scope. 0: the archive is complete. 1: enough waits in the feed, or others should have
 * their turn: call it once more, later. A negative errno: the archive will never be complete. -ESTALE: a file became
 * shorter while it was read. */
int tar_write(struct tar *t);

/* What is not in the archive, as the user may not read it. */
uint64_t tar_n_unreadable(const struct tar *t);
