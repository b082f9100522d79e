/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counters and gauges of the agent itself. One instance (struct app owns it), touched on the loop only. */

#include <stdint.h>

struct route_table_metrics;

struct metrics {
        struct route_table_metrics *routes; /* in the order of the route table */
        uint64_t started_ms;                /* monotonic */
        uint64_t connections;
        uint64_t connections_cut; /* closed because a request did not arrive in time */
        uint64_t requests_live;   /* request objects in memory */
        uint64_t requests_total;
        uint64_t errors_client; /* answers 4xx */
        uint64_t errors_server; /* answers 5xx */
        uint64_t websockets;    /* open, or about to be */
        uint64_t hangups;       /* clients that left before their answer */
        uint64_t executions_total;
        uint64_t executions_failed; /* ended with anything but exit 0 */
};
