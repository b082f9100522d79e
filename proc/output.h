/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is kept of one output stream: everything up to a limit; beyond it the head and the tail (or the head
 * alone), with the number of bytes dropped in between. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared by all outputs: how much memory they may hold together. */
struct output_budget {
        uint64_t used;
        uint64_t max;
};

struct output;

struct output_slices {
        struct {
                const char *data;
                size_t size;
        } slice[4]; /* head, marker, older tail, newer tail; some may be empty */
        unsigned n;
};

/* @max bytes at most are kept (excluding the marker); half of them as a tail if @keep_tail. */
struct output *output_new(size_t max, bool keep_tail, struct output_budget *budget);
struct output *output_free(struct output *o);

/* Appends; never fails: what does not fit (limit, budget, memory) is dropped and counted. */
void output_append(struct output *o, const char *data, size_t size);

uint64_t output_total(const struct output *o);   /* bytes written by the program */
uint64_t output_dropped(const struct output *o); /* of these, not kept */
static inline bool output_is_truncated(const struct output *o)
{
        return output_dropped(o) > 0;
}

/* What was kept, in order, with "\n[… N bytes of output dropped …]\n" where bytes are missing. Borrowed,
 * valid until the next append or output_free. */
void output_slices(struct output *o, struct output_slices *ret);
