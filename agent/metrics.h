/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counters and gauges of the agent itself. One instance (struct app owns it), touched on the loop only. */

#include <stdint.h>

struct execution_metrics;
struct route_table_metrics;

struct metrics {
        struct route_table_metrics *routes; /* in the order of the route table */
        struct execution_metrics *executions;
        uint64_t started_ms;         /* monotonic */
        int64_t started_realtime_ms; /* by the wall clock of then */
        uint64_t connections;        /* open */
        uint64_t connections_total;
        uint64_t connections_cut; /* closed because a request did not arrive in time */
        uint64_t requests_live;   /* request objects in memory */
        uint64_t requests_total;
        uint64_t errors_client; /* answers 4xx */
        uint64_t errors_server; /* answers 5xx */
        uint64_t websockets;    /* open, or about to be */
        uint64_t websockets_total;
        uint64_t websocket_received; /* bytes of messages, as the next one */
        uint64_t websocket_sent;
        uint64_t terminals_total;
        uint64_t hangups;        /* clients that left before their answer */
        uint64_t refused_tokens; /* requests with a token that is none, or with none */
        uint64_t refused_rate;   /* requests beyond the option rate-limit */
        uint64_t webhooks_delivered;
        uint64_t webhooks_failed;
        uint64_t webhooks_refused;
        uint64_t resumes_total; /* how often we have stood still, or the wall clock was set */
        uint64_t paused_us_total;
        struct {
                const char *kind; /* a constant; NULL: there was none */
                int64_t at_ms;    /* Unix time, when it was noticed */
                uint64_t paused_us;
                int64_t wall_us; /* by how much the wall clock was set */
        } last_resume;
};
