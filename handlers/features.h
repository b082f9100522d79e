/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What /health and /info both tell. */

#include <stdint.h>

#include <jansson.h>

#include "agent/json/shape.h"

struct app;

#define AGENT_NAME "vm-agent"

/* What this agent can do: true is only what works. A new reference. */
json_t *features_describe(void);

/* Of features_describe. */
extern const struct shape features_shape[];

uint64_t features_uptime_s(const struct app *app);
