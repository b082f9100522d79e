/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the bytes of an upload go: a form, or one file. Knows nothing of requests, and of files only that they are
 * written: on worker threads, one at a time. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/files/roots.h"

struct upload_options {
        const char *path; /* NULL: the form's field says it, or the workspace; copied */
        int mode;         /* or FILE_MODE_KEEP */
        bool overwrite;
        bool extract;         /* the file is an archive, and path a directory to unpack it in */
        uint64_t max_extract; /* bytes that it may unpack to; 0: no limit */
        const atomic_bool *cancel; /* outlives the sink */
};

struct upload_result {
        const char *path; /* of the file, or of the directory that several files were put in */
        uint64_t size;    /* of all files */
        json_t *files;    /* borrowed as well; an array of {name, path, size, created} */

        /* An archive was unpacked: path is where, size that of all files in it, files one row, of the archive. */
        bool is_extracted;
        uint64_t n_files;
        uint64_t n_directories;
        uint64_t n_links;
};

struct upload_sink;

/* For one file, whose path is known. */
struct upload_sink *upload_sink_new_file(const struct roots *roots, const struct upload_options *o);
/* For a form with the header @content_type. -EINVAL: it is none. */
int upload_sink_new_form(const struct roots *roots, const struct upload_options *o,
                         const char *content_type, struct upload_sink **ret, struct error *err);
struct upload_sink *upload_sink_free(
        struct upload_sink *s); /* after finish or abort; returns NULL */

/* These return 0, or an outcome (files/outcome.h); -EINVAL or -EBADMSG: the request is wrong, and err->field may say
 * where; -ENOKEY: it has no file; -EFBIG: something in it is too large; -EUSERS: try again later. After a failure only
 * abort is left. -EAGAIN is none: feed and finish are not through yet, and resume goes on. */
int upload_sink_begin(struct upload_sink *s,
                      struct error *err); /* first, and before the body is asked for */
int upload_sink_feed(struct upload_sink *s, const char *data, size_t size, struct error *err);
int upload_sink_finish(struct upload_sink *s, struct error *err);
int upload_sink_resume(struct upload_sink *s, struct error *err);
/* Removes all that is not complete. Harmless twice. */
void upload_sink_abort(struct upload_sink *s);

/* After finish. */
struct upload_result upload_sink_result(const struct upload_sink *s);
/* The path that a failure is about, or NULL. */
const char *upload_sink_path(const struct upload_sink *s);
