/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Writing a file so that at any moment, whatever fails, its name stands for the whole old content or the whole new
 * one.
 *
 * The new file takes the old one's place: it keeps the old one's mode, and its owner and group as far as the user may
 * give files away (else it is the user's, without set-user-ID bits). Other hard links keep the old content. What the
 * user may not write to is not replaced either, although the directory would allow it. A link is written through, to
 * where it leads. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/files/roots.h"

#define FILE_MODE_KEEP -1 /* the old file's; of a new one 0666 under the agent's umask */

struct file_write_options {
        int mode;          /* permissions, or FILE_MODE_KEEP */
        bool overwrite;    /* else FILES_E_EXISTS */
        bool make_parents; /* else FILES_E_NO_DIRECTORY */
        bool is_synced;    /* to the disk, before the writer says that it is done */
        bool append;       /* to the old content, in place: not atomic, but undone when it fails */
};

struct file_written {
        uint64_t size;   /* bytes written */
        bool is_created; /* there was no such file */
};

/* A file that comes in pieces. One thread at a time, but not always the same one. */
struct file_writer;

/* @roots has to outlive the writer. */
int file_writer_open(const struct roots *roots, const char *path,
                     const struct file_write_options *o, struct file_writer **ret,
                     struct error *err);
/* After a failure only abort is left. */
int file_writer_write(struct file_writer *w, const void *data, size_t size, struct error *err);
/* Gives the file its name. Ends the writer, like abort, whatever is returned. @ret may be NULL. */
int file_writer_commit(struct file_writer *w, struct file_written *ret, struct error *err);
/* Will both have the same name in the same directory, however their paths were spelt? */
bool file_writer_is_same(const struct file_writer *a, const struct file_writer *b);
/* As if nothing had been written. Parents that were made stay. Returns NULL; harmless on NULL. */
struct file_writer *file_writer_abort(struct file_writer *w);
DEFINE_CLEANUP(struct file_writer *, file_writer_abort)

/* All of it at once. */
int file_write(const struct roots *roots, const char *path, const void *data, size_t size,
               const struct file_write_options *o, struct file_written *ret, struct error *err);
