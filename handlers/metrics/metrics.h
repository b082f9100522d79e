/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent counts: as JSON, once or again and again, and as text for Prometheus. */

#include <stdint.h>

#include "agent/http/route_doc.h"
#include "agent/json/field.h"

struct request;

struct metrics_stream_args {
        uint64_t interval_ms;
};
extern const struct json_field metrics_stream_args[];

int metrics_snapshot_get(struct request *req);
int metrics_prometheus_get(struct request *req);
int metrics_stream_get(struct request *req);

extern const struct route_doc metrics_snapshot_get_doc;
extern const struct route_doc metrics_prometheus_get_doc;
extern const struct route_doc metrics_stream_get_doc;
