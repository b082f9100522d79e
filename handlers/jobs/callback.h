/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The callback of a background job: its result, POSTed to the client's URL. */

struct app;
struct job;
struct webhook_state;

/* The job, which has a callback_url, has ended: reads its output, makes the document and queues it, as soon as there is
 * room. Also after a restart, once for each job whose callback has no final state. While the agent stops it does
 * nothing: that is the next agent's. */
void callback_on_end(struct app *app, struct job *job);

/* For webhooks_options: takes the delivery's state over to its job, as {"status","attempts","last_error","last_status",
 * "next_attempt_at","delivered_at","delivery_id"}. @app is a struct app. */
void callback_on_change(void *app, const struct webhook_state *state);
