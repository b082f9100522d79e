/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* GET /system: what machine this is and how it is doing. */

struct request;
struct route_doc;

extern const struct route_doc system_get_doc;
int system_get(struct request *req);
