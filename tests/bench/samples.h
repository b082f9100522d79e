/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Durations of single events, kept until the end because a percentile needs them all. */

#include <stddef.h>
#include <stdint.h>

struct samples {
        uint64_t *ns;
        size_t n;
        size_t size;
};

/* Room for @size durations; ends the program when there is none. */
void samples_init(struct samples *s, size_t size);
void samples_done(struct samples *s);

/* Keeps one duration; there must be room. */
void samples_add(struct samples *s, uint64_t ns);

/* The @percent-th percentile in microseconds (nearest rank); sorts. There must be at least one. */
double samples_percentile_us(struct samples *s, unsigned percent);

uint64_t now_ns(void);
