/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The output of a stream that its client has not taken yet: two byte streams, and the order in which they came. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/ring.h"
#include "proc/process.h"

/* Changes between the two streams that are remembered. */
#define STREAM_OUTPUT_RUNS 64

struct stream_output {
        struct ring rings[2]; /* by enum process_channel */
        size_t held[2];       /* of these, the beginning of a character, behind all runs */
        struct {
                enum process_channel from;
                size_t size;
        } runs[STREAM_OUTPUT_RUNS]; /* a circle */
        unsigned first_run;
        unsigned n_runs;
        bool has_ended;
};

/* What comes next. */
struct stream_piece {
        enum process_channel from;
        uint64_t offset; /* in its stream */
        struct ring_slice slices[2];
        unsigned n_slices;
        bool is_end; /* of its stream: a character that is cut off here stays so */
};

/* Allocates nothing. */
void stream_output_init(struct stream_output *o);
/* Frees the memory and leaves it empty. */
void stream_output_done(struct stream_output *o);

/* Nothing is lost before LIMIT_STREAM_RING bytes of one stream wait (or memory runs out); then the oldest are, and
 * offsets tell. */
void stream_output_append(struct stream_output *o, enum process_channel from, const char *data,
                          size_t size);
/* Nothing will be appended any more. */
void stream_output_end(struct stream_output *o);

/* How many bytes wait. */
size_t stream_output_size(const struct stream_output *o);
/* Bytes that were appended, taken or not. */
uint64_t stream_output_total(const struct stream_output *o, enum process_channel from);

/* False: nothing is to be sent now. The piece is never empty; borrowed until the next change. */
bool stream_output_peek(const struct stream_output *o, struct stream_piece *ret);
/* The first @size bytes of that piece have been sent. 0: it is but the beginning of a character, and waits for what
 * comes next in its stream; what came in between may go first. */
void stream_output_take(struct stream_output *o, size_t size);
