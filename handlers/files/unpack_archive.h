/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An archive as a sequence of entries, whatever its format. Reads bytes where it is told to, and knows nothing of
 * where they go. Functions return what those of unpack.h do, or a negative errno. */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "handlers/files/unpack.h"

struct archive_entry;
struct unpack_archive;

/* Uses max_size, read, step and arg of @o. NULL: no memory. */
struct unpack_archive *unpack_archive_new(const struct unpack_options *o);
/* Returns NULL; harmless on NULL. */
struct unpack_archive *unpack_archive_free(struct unpack_archive *archive);

/* Finds out what it is. One that cannot be read as it comes is put into a file without a name in the directory @dir. */
int unpack_archive_open(struct unpack_archive *archive, int dir, struct error *err);
/* 1: there is one more, *ret until the next call. 0: that was all. */
int unpack_archive_next(struct unpack_archive *archive, struct archive_entry **ret,
                        struct error *err);
/* 1: some content of that entry, which is at *ret_at in the file. 0: that was all. */
int unpack_archive_read(struct unpack_archive *archive, const void **ret, size_t *ret_size,
                        uint64_t *ret_at, struct error *err);
