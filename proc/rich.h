/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What an execution displays: figures, tables, the value of its last expression. It comes from the language's driver as
 * lines of JSON (driver_protocol.h), and perhaps from user code that has found the descriptor: so nothing in it is
 * trusted. A line is looked at while it comes, and kept as the text that it is; what is no output is dropped without a
 * word, what is too much is dropped and counted. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/json/document.h"
#include "proc/output.h"

struct rich;

/* Members of an answer that hold the data of the last output of a kind. */
enum rich_single {
        RICH_PNG,
        RICH_HTML,
        RICH_JSON, /* of a plotly figure when there is no other */
        RICH_SVG,
        RICH_MARKDOWN,
        RICH_DATAFRAME,
        RICH_RESULT, /* the value of the last expression, as text */
        N_RICH_SINGLES,
};

/* Keeps at most @max_size bytes of lines, and @max_count outputs. */
struct rich *rich_new(size_t max_size, uint64_t max_count, struct output_budget *budget);
struct rich *rich_free(struct rich *r);

/* The next bytes; cut anywhere. Never fails: what does not fit (limits, budget, memory) is dropped and counted. */
void rich_append(struct rich *r, const char *data, size_t size);
/* Nothing more will come: a line that has no end is judged as it is. To be called before what follows. */
void rich_end(struct rich *r);

uint64_t rich_total(const struct rich *r); /* bytes that came */
uint64_t rich_dropped(
        const struct rich *r);           /* outputs that are missing, here or as the driver says */
size_t rich_count(const struct rich *r); /* outputs that were kept */

/* The texts are borrowed, until rich_free; pieces of JSON. */
struct document_piece rich_output(const struct rich *r, size_t i);
/* False: there was none. */
bool rich_single(const struct rich *r, enum rich_single which, struct document_piece *ret);
