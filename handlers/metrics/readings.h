/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All numbers of one moment, for the documents that are made of them. */

#include <stddef.h>
#include <stdint.h>

#include "agent/metrics.h"
#include "agent/watch/watch.h"
#include "handlers/cache/results.h"
#include "handlers/metrics/self.h"
#include "proc/supervisor.h"

struct app;
struct host_sample;

struct readings {
        const struct app *app;
        const struct host_sample
                *host;          /* the host's own: as long as control is not back in the loop */
        struct metrics metrics; /* a copy */
        struct self self;
        struct supervisor_counts processes;
        struct results_totals cache;
        struct watch_totals watches;
        uint64_t uptime_ms;
        uint64_t executions;
        uint64_t executions_failed;
        uint64_t executions_active; /* background jobs included */
        uint64_t errors;            /* answers 4xx and 5xx */
        uint64_t received;          /* bytes of all requests' bodies */
        uint64_t sent;
        uint64_t terminals;
        uint64_t jobs_queued;
        uint64_t jobs_known;
        uint64_t callbacks;
        uint64_t webhooks_queued;
        uint64_t worker_jobs;
        uint64_t lag_ms;
        uint64_t lag_max_ms;
        uint64_t metrics_streams;
};

void readings_take(struct app *app, struct readings *ret);

/* A number that has a name in a document, or a help text. */
static inline uint64_t readings_at(const struct readings *r, size_t offset)
{
        return *(const uint64_t *)((const char *)r + offset);
}
