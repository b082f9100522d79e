/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The endpoints of the result cache. */

struct request;
struct route_doc;

int cache_get(struct request *req);
extern const struct route_doc cache_get_doc;
int cache_stats_get(struct request *req);
extern const struct route_doc cache_stats_get_doc;
int cache_clear_post(struct request *req);
extern const struct route_doc cache_clear_post_doc;
