/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Executions whose results are kept, for requests that ask for it (field "cache", or option cache). */

#include <stdbool.h>

struct request;
struct run_spec;

/* Arranges the answer to @req: a kept result, that of the same execution which runs already, or of a new one. What is
 * pointed to must live as long as the request. False: no kept result is wanted, or this cannot be executed at all;
 * nothing was done. */
bool cached_start(struct request *req, const struct run_spec *spec, const char *label_name,
                  const char *label);
