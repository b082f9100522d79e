/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;
struct route_doc;

int root_get(struct request *req);
extern const struct route_doc root_get_doc;
int ping_get(struct request *req);
extern const struct route_doc ping_get_doc;
int health_get(struct request *req);
extern const struct route_doc health_get_doc;
