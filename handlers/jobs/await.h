/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests that wait for the end of a background job. */

#include <stdint.h>

struct job;
struct request;

/* Keeps @req until @job, which runs or is queued, has ended, or @timeout_ms (0: any time) are over, or the agent stops;
 * then @answer has to answer it, from the loop. It is not called when the client has left. */
void job_await(struct request *req, struct job *job, uint64_t timeout_ms,
               void (*answer)(struct request *req, struct job *job));

/* Answers all who wait, and from now on at once: the agent stops, and what they wait for may outlive it. */
void job_waits_end(void);
