/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Upgrades from inside agent/http. */

#include <stdbool.h>

#include <microhttpd.h>

struct request;

/* Fails the request when its headers are not a WebSocket handshake. */
void upgrade_check(struct request *req);
/* The token that a browser sends as a subprotocol, because it cannot set Authorization: "Bearer TOKEN" in a new
 * string, or NULL. */
char *upgrade_bearer(const struct request *req);
/* Whether the page that the handshake comes from may use the agent; no Origin: it comes from no page. */
bool upgrade_is_origin_allowed(const struct request *req);
/* The response that makes MHD call the upgrade's take. */
struct MHD_Response *upgrade_response(struct request *req);
/* Calls drop if take was not called. */
void upgrade_forget(struct request *req);
