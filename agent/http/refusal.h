/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Refusals for which libmicrohttpd has no way to send an answer of ours. */

#include <microhttpd.h>

#include "agent/http/problem.h"

struct request;

/* Writes a complete error answer to the connection and remembers its status for the access log. The caller must
 * make MHD close the connection right after (MHD_NO from the access handler). */
void refusal_send(struct request *req, enum problem p, const char *message);

/* Writes the request's answer (small, and ready) to the connection. The caller must see to it that MHD sends
 * nothing more on it. */
void refusal_send_reply(struct request *req);

/* MHD_queue_response for answers of the agent. */
enum MHD_Result refusal_queue_response(struct MHD_Connection *conn, unsigned status,
                                       struct MHD_Response *response);
