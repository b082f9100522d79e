/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Token buckets, one for each subject: so many requests a minute, and at once no more than that. */

#include <stdbool.h>
#include <stdint.h>

struct rates;

/* What a client is told of its bucket. */
struct rate {
        uint64_t limit;     /* requests per minute, and the size of the bucket; 0: nobody counts */
        uint64_t remaining; /* requests that may come at once now */
        int64_t reset_s;    /* Unix time from which on there are @limit of them */
        uint64_t retry_s;   /* seconds after which one more is allowed, at least 1; 0: it is now */
};

struct rates *rates_new(void);
/* NULL is fine. */
struct rates *rates_free(struct rates *r);

/* Takes one token from the bucket of @subject, with the limit of today. False: there is none. Who is not among the last
 * LIMIT_RATE_SUBJECTS begins with a full bucket. */
bool rates_take(struct rates *r, const char *subject, uint64_t limit, struct rate *ret);
