/* SPDX-License-Identifier: Apache-2.0 */

/* The load generator and the spawn floor must compute a percentile in the same way, or their ratio
 * would compare the arithmetic; so they share it. */

#include "tests/bench/samples.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Room for @size durations; ends the program when there is none. */
void samples_init(struct samples *s, size_t size)
{
        *s = (struct samples){ .ns = calloc(size, sizeof(*s->ns)), .size = size };
        if (!s->ns) {
                fprintf(stderr, "no memory for %zu samples\n", size);
                exit(1);
        }
}

/* Frees the durations. */
void samples_done(struct samples *s)
{
        free(s->ns);
        *s = (struct samples){ 0 };
}

/* Keeps one duration; there must be room. */
void samples_add(struct samples *s, uint64_t ns)
{
        assert(s->n < s->size);
        s->ns[s->n++] = ns;
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a;
        uint64_t y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

/* The @percent-th percentile in microseconds (nearest rank); sorts. There must be at least one. */
double samples_percentile_us(struct samples *s, unsigned percent)
{
        size_t rank = (s->n * percent + 99) / 100;

        assert(s->n > 0 && percent > 0 && percent <= 100);
        qsort(s->ns, s->n, sizeof(*s->ns), compare);
        return (double)s->ns[rank - 1] / 1e3;
}

/* The monotonic clock. */
uint64_t now_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}
