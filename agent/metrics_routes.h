/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What became of the requests of each route. */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/histogram.h"

/* By the first digit of their status; requests whose clients left before their answer have none. */
enum outcome {
        OUTCOME_LEFT,
        OUTCOME_1XX,
        OUTCOME_2XX,
        OUTCOME_3XX,
        OUTCOME_4XX,
        OUTCOME_5XX,
        N_OUTCOMES
};

struct route_metrics {
        uint64_t outcomes[N_OUTCOMES];
        uint64_t received; /* bytes of bodies */
        uint64_t sent;
        struct histogram duration; /* us, until the end of the answer; not of WebSockets */
};

struct route_table_metrics;

/* For a table of @n routes, and for requests that fit none. */
struct route_table_metrics *route_table_metrics_new(size_t n);
struct route_table_metrics *route_table_metrics_free(struct route_table_metrics *t);

/* Those of row @index, to be changed; @index = n: of no route. */
struct route_metrics *route_table_metrics_at(struct route_table_metrics *t, size_t index);
/* The same, to be read; NULL: there were no requests. */
const struct route_metrics *route_table_metrics_find(const struct route_table_metrics *t,
                                                     size_t index);
