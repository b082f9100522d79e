/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of the global variables: the state, and its file. */

#include "proc/variables.h"

struct variables_state {
        json_t *entries;      /* a reference */
        int64_t timestamp_us; /* of the last change that had one */
};

/* What is in the file; nothing when there is none. -EBADMSG: it is no such file. */
int variables_file_read(const char *dir, struct variables_state *ret, struct error *err);
/* Replaces the file, as a whole or not at all, and waits until it is on the disk. For a worker. */
int variables_file_write(const char *dir, const struct variables_state *s, struct error *err);
/* If there is one. */
void variables_file_remove(const char *dir);
/* Moves a bad one out of the way, with its content. */
void variables_file_set_aside(const char *dir);
