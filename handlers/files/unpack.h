/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Unpacking an archive (tar, plain or packed by gzip, bzip2, xz or zstd; zip) into a directory: all of it, or
 * nothing. It is unpacked into a temporary directory and then merged into its place (unpack_merge.h).
 *
 * The archive is not trusted. Entries have to stay in the directory (unpack_name.h), are resolved without links
 * (unpack_tree.h), and are files, directories and links only. They belong to the user, without set-ID and sticky bits.
 *
 * What comes here has been called on one thread, within a scope of the user. Functions return 0 or an outcome
 * (files/outcome.h); -EBADMSG: there is something wrong with the archive; -EFBIG: it exceeds a limit; -ECANCELED. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/error.h"
#include "agent/files/roots.h"

struct unpack_options {
        const struct roots *roots;
        const char *path;  /* of the directory; NULL: not known yet */
        uint64_t max_size; /* of all files together; 0: no limit */

        /* The next bytes of the archive, which stay until the next call. Returns how many, 0 at the end, or
         * -ECANCELED. */
        ssize_t (*read)(void *arg, const void **ret);
        /* Called now and then, and may take its time. 0 or -ECANCELED. */
        int (*step)(void *arg);
        void *arg;
};

struct unpack_result {
        uint64_t n_files;
        uint64_t n_directories;
        uint64_t n_links; /* of both kinds */
        uint64_t size;    /* of all files */
        bool is_created;  /* the directory was not there */
};

struct unpack;

/* Makes the directory, unless it is there, and the temporary one in it (or in the workspace). */
int unpack_new(const struct unpack_options *o, struct unpack **ret, struct error *err);
/* Reads the archive to its end. */
int unpack_read(struct unpack *u, struct error *err);
/* Moves what was read into the directory @path. Without @overwrite no file may be in the way: FILES_E_EXISTS, and
 * nothing is moved. */
int unpack_commit(struct unpack *u, const char *path, bool overwrite, struct unpack_result *ret,
                  struct error *err);
/* Removes what was not moved, and the directory if it was made for this and nothing is in it (those above it stay).
 * Returns NULL; harmless on NULL. */
struct unpack *unpack_free(struct unpack *u);
