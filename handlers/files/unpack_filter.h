/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an archive is packed by: gzip, bzip2, xz, zstd, or nothing. Turns the packed bytes into the archive's own, and
 * needs no more than LIMIT_EXTRACT_WINDOW for it. */

#include <stddef.h>
#include <sys/types.h>

#include "agent/base/buf.h"
#include "agent/base/error.h"

struct unpack_filter;

/* @head are the first bytes, for a look. @read gives all bytes, from the first on, as unpack_options.read does. NULL:
 * no memory. */
struct unpack_filter *unpack_filter_new(const struct buf *head,
                                        ssize_t (*read)(void *arg, const void **ret), void *arg);
/* Returns NULL; harmless on NULL. */
struct unpack_filter *unpack_filter_free(struct unpack_filter *f);

/* The next bytes, some ten KiB, which stay until the next call. Returns how many, or 0 at the end. -EBADMSG: the reason
 * is half a sentence in @err. -EFBIG: they need too much memory, which is said in @err. Or what @read failed with. */
ssize_t unpack_filter_read(struct unpack_filter *f, const void **ret, struct error *err);
