/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The table of what is collected by Prometheus. */

#include "handlers/metrics/exposition.h"

extern const struct family families[];
