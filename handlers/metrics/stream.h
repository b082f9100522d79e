/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

/* Clients that follow the metrics. */
uint64_t metrics_streams_count(void);
