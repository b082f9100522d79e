/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How output is written in lines of JSON, by themselves or as the data of events. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/json/document.h"
#include "handlers/jobs/follower.h"

struct buf;
struct job_status;

/* How many bytes of the piece a line should have: in text no character is cut, unless it ends there for ever. No more
 * than about @budget. */
size_t output_line_size(const struct follower_piece *p, enum document_encoding encoding,
                        uint64_t budget);
/* Appends the object with the first @size bytes of the piece. 0, -ENOMEM or -EFBIG, as the next one. */
int output_line_append(struct buf *b, const struct follower_piece *p, size_t size,
                       enum document_encoding encoding);

struct output_end {
        const char *status;
        const struct job_status *result; /* NULL: it has none yet */
        const uint64_t *offsets;         /* of both streams, where to go on */
        bool is_complete;                /* nothing follows, ever */
};
int output_line_append_end(struct buf *b, const struct output_end *e);
