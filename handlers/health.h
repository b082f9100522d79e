/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;

int root_get(struct request *req);
int ping_get(struct request *req);
int health_get(struct request *req);
