/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading a small file on the loop, when there is nothing to wait for: then handing it to a worker and back costs more
 * than reading it. All of this is for the loop's thread, but for cached_look. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/base/buf.h"
#include "agent/files/roots.h"

enum cached_kind {
        CACHED_NEVER,  /* its files are not read on the loop */
        CACHED_PAGES,  /* what is in the page cache can be told from what is not */
        CACHED_MEMORY, /* there is nothing else */
};

/* What is known about one mounted file system. */
struct cached_mount {
        uint64_t id; /* 0: nothing */
        uint64_t device;
        enum cached_kind kind;
        bool keeps_times; /* reading a file does not write when that was */
};

/* The whole of the regular file @path, if it has up to @max bytes, is allowed, and neither the disk nor anybody else
 * is needed for it. *ret_st is what fstat says about it. -EAGAIN: it is not, whatever the reason; a worker does it,
 * and finds out. -ENODEV: the same, and what cached_look says about the file should be remembered. */
int cached_read(const struct roots *roots, const char *path, size_t max, struct buf *ret,
                struct stat *ret_st);

/* For a worker: asks the file system that the open file @fd is on. */
void cached_look(int fd, struct cached_mount *ret);

/* Takes effect for a short time: what is mounted may change. Harmless on nothing. */
void cached_remember(const struct cached_mount *m);
