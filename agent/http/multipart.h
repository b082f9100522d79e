/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* multipart/form-data as events, from pieces of any size: small fields whole, files as they come. Knows nothing of
 * requests. */

#include <stddef.h>

#include "agent/base/error.h"
#include "agent/base/limits.h"

struct multipart;

/* Of a file part. Strings are UTF-8 as the client sent them, not checked, without NUL; valid during the call only. A
 * filename may be empty, and may contain slashes or anything else. */
struct multipart_file {
        const char *name;     /* of the form's field */
        const char *filename; /* filename* (RFC 8187) when there is one, else filename */
        const char *type;     /* the part's Content-Type, or NULL */
};

/* Each may return a negative errno, which ends the parsing: multipart_feed returns it, with the err as it was set. */
struct multipart_ops {
        /* A part without a filename: @value has @size bytes, a NUL behind them, and perhaps NULs among them. At most
         * LIMIT_MULTIPART_FIELD. */
        int (*on_field)(void *arg, const char *name, const char *value, size_t size,
                        struct error *err);
        /* A file begins, its content comes (pieces point into what was fed, or are a few bytes), it is complete. */
        int (*on_file)(void *arg, const struct multipart_file *file, struct error *err);
        int (*on_data)(void *arg, const char *data, size_t size, struct error *err);
        int (*on_file_end)(void *arg, struct error *err);
};

/* @content_type is the request's header (may be NULL: none). -EINVAL: it is not multipart/form-data with a boundary;
 * the message says so. @ops must outlive the parser. */
int multipart_new(const char *content_type, const struct multipart_ops *ops, void *arg,
                  struct multipart **ret, struct error *err);
struct multipart *multipart_free(struct multipart *m); /* returns NULL */

/* The next piece of the body. -EBADMSG: malformed; -EFBIG: a field, a part's headers, or the number of parts is
 * over its limit; or what one of the ops has returned. After a failure nothing may be fed any more. */
int multipart_feed(struct multipart *m, const char *data, size_t size, struct error *err);

/* The body has come to its end. -EBADMSG: its last boundary has not. */
int multipart_end(struct multipart *m, struct error *err);
