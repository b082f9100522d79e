/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Answers that say how the machine is doing: given when that has been read lately, which is at once for all but the
 * first who ask. */

struct request;

/* Calls @answer(@req), at once or soon, on the loop. Returns what a handler returns. */
int metrics_when_fresh(struct request *req, int (*answer)(struct request *req));
