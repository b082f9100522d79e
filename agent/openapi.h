/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The OpenAPI 3.1 document of a route table: what clients may ask, and all that they may be answered. Nothing in it
 * depends on the machine or on options, so that it can be committed and compared. */

#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include "agent/http/route_doc.h"
#include "agent/http/router.h"

/* A new reference. Takes some milliseconds and megabytes; may be called on any thread. */
json_t *openapi_document(const struct route *table, size_t n);

/* That of the agent's routes, for `vm-agent openapi`: for people, two columns for each level. */
void openapi_print(FILE *out);

/* GET /openapi.json: the same without white space, with an ETag. */
int openapi_get(struct request *req);
extern const struct route_doc openapi_get_doc;
