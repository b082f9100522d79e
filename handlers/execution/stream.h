/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Live executions over a WebSocket: one for each connection. */

struct request;
struct route_doc;

/* Code: messages as of POST /execute. */
int execute_stream_get(struct request *req);
extern const struct route_doc execute_stream_get_doc;
/* Commands: messages as of POST /commands/run. */
int commands_stream_get(struct request *req);
extern const struct route_doc commands_stream_get_doc;
