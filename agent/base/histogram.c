/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/base/histogram.h"

#include "agent/base/macros.h"

#define SUB ((uint64_t)1 << HISTOGRAM_SUB_BITS)

/* Small values have a bucket each; above, the position of the highest bit and the bits behind it say which. */
static unsigned bucket_of(uint64_t value)
{
        unsigned highest;

        value = MIN(value, ((uint64_t)1 << HISTOGRAM_MAX_BITS) - 1);
        if (value < SUB)
                return (unsigned)value;
        highest = 63 - (unsigned)__builtin_clzll(value);
        return (unsigned)(((uint64_t)(highest - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS) +
                          (value >> (highest - HISTOGRAM_SUB_BITS)));
}

/* The largest value of a bucket. */
static uint64_t end_of(unsigned bucket)
{
        unsigned octave = bucket >> HISTOGRAM_SUB_BITS;
        unsigned shift = octave > 0 ? octave - 1 : 0;
        uint64_t first = octave > 0 ? SUB + (bucket & (SUB - 1)) : bucket;

        return ((first + 1) << shift) - 1;
}

/* See the header. */
void histogram_record(struct histogram *h, uint64_t value)
{
        h->count++;
        h->sum += value;
        h->max = MAX(h->max, value);
        h->buckets[bucket_of(value)]++;
}

/* See the header. */
uint64_t histogram_quantile(const struct histogram *h, unsigned permille)
{
        uint64_t wanted = (h->count * permille + 999) / 1000;
        uint64_t seen = 0;

        for (unsigned i = 0; i < HISTOGRAM_BUCKETS && wanted > 0; i++) {
                seen += h->buckets[i];
                if (seen >= wanted)
                        return MIN(end_of(i), h->max);
        }
        return h->max;
}

/* See the header. */
uint64_t histogram_at_most(const struct histogram *h, uint64_t value)
{
        uint64_t n = 0;

        for (unsigned i = 0; i < HISTOGRAM_BUCKETS && end_of(i) <= value; i++)
                n += h->buckets[i];
        return n;
}

/* See the header. */
uint64_t histogram_between(const struct histogram *h, unsigned from, unsigned to)
{
        unsigned end = bucket_of(((uint64_t)1 << to) - 1) + 1;
        uint64_t n = 0;

        for (unsigned i = from > 0 ? bucket_of((uint64_t)1 << from) : 0; i < end; i++)
                n += h->buckets[i];
        return n;
}
