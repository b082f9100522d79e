/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

struct request;
struct route_doc;

int jupyter_sessions_get(struct request *req);
extern const struct route_doc jupyter_sessions_get_doc;
