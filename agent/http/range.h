/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which part of a file a client wants, if it does not have it already: Range and the conditional headers (RFC 9110,
 * sections 13 and 14), and the headers of the answer. Pure functions, but for range_copy_conditions. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/macros.h"

struct request;
struct stat;

/* What a request asks; NULL: no such header. Several lines of one are joined by commas. */
struct range_conditions {
        bool is_get; /* Range is for nothing else */
        char *range;
        char *if_range;
        char *if_match;
        char *if_none_match;
        char *if_modified_since;
        char *if_unmodified_since;
};

/* From the request's headers, while its handler runs; the copies may be used later, and by workers. */
void range_copy_conditions(const struct request *req, struct range_conditions *ret);
void range_conditions_done(struct range_conditions *c);

/* What there is. */
struct range_file {
        const char *etag; /* with its quotes; "W/" in front: weak. NULL: none */
        int64_t modified; /* seconds since 1970; INT64_MIN: not known */
        uint64_t size;
        int64_t now; /* seconds since 1970 */
};

struct range_decision {
        unsigned status; /* 200, 206, 304, 412 or 416 */
        uint64_t offset; /* with 200 and 206: what is to be sent. 200: all */
        uint64_t size;
};

/* Anything malformed is ignored, as if it were not there; several ranges get the whole file, as does a range of an
 * empty file (but "bytes=-0" and what begins behind the end get 416). */
void range_decide(const struct range_conditions *c, const struct range_file *f,
                  struct range_decision *ret);

/* The value of Content-Range for 206 ("bytes 0-9/100") and 416 ("bytes *" "/100"). */
#define RANGE_CONTENT_SIZE 80
const char *range_content(const struct range_decision *d, uint64_t file_size,
                          char buf[static RANGE_CONTENT_SIZE]);

/* A strong tag (weak when the file was changed in the last two seconds, as times are coarse) from inode, size and
 * times of modification and change. */
#define RANGE_ETAG_SIZE 96
const char *range_etag(const struct stat *st, int64_t now, char buf[static RANGE_ETAG_SIZE]);

static inline void range_conditions_done_cleanup_(struct range_conditions *c)
{
        range_conditions_done(c);
}
