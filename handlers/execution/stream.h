/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Live executions over a WebSocket: one for each connection. */

struct request;

/* Code: messages as of POST /execute. */
int execute_stream_get(struct request *req);
/* Commands: messages as of POST /commands/run. */
int commands_stream_get(struct request *req);
