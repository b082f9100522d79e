/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "agent/http/router.h"

/* The route table: every endpoint, once. */
extern const struct route routes[];
extern const size_t n_routes;

/* One line per route: "POST /execute jwt". */
void routes_print(FILE *out);
