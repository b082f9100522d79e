/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A job whose client waits for the answer: from the moment it is offered to the registry until it runs, waits for its
 * turn, or could not be started. */

#include <stdbool.h>

#include <jansson.h>

struct job;
struct job_new;
struct request;

/* Offers the job, and arranges the answer. Takes @program, a document as of program.h, which becomes that of @spec.
 * @is_async: the answer is that of an asynchronous execution. Returns what a handler returns. */
int submission_start(struct request *req, struct job_new *spec, json_t *program, bool is_async);

/* @job has failed to start, and its client will be told so by the answer: as if it had never been accepted. */
bool submission_tells_failure(const struct job *job);
