/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How often which value came, in constant memory: eight buckets between each power of two and the next, so that a
 * quantile is at most an eighth too high. */

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 3
#define HISTOGRAM_MAX_BITS 40 /* larger values count as the largest */
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

/* All zero: empty. */
struct histogram {
        uint64_t count;
        uint64_t sum;
        uint64_t max;
        uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t value);
/* The value that @permille of all are not above, rounded up to its bucket's end; 0 when there is none. */
uint64_t histogram_quantile(const struct histogram *h, unsigned permille);
/* How many are at least two to the power of @from, and less than two to the power of @to: exact. Both are from
 * HISTOGRAM_SUB_BITS to HISTOGRAM_MAX_BITS, but @from may also be 0 for all that are less. */
uint64_t histogram_between(const struct histogram *h, unsigned from, unsigned to);
/* How many are at most @value: exact where @value is the end of a bucket, one less than a power of two for one. */
uint64_t histogram_at_most(const struct histogram *h, uint64_t value);
