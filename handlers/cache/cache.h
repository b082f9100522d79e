/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The endpoints of the result cache. */

struct request;

int cache_get(struct request *req);
int cache_stats_get(struct request *req);
int cache_clear_post(struct request *req);
