/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the registry asks of us (submit_ops): starting a job whose turn it is, and what is to be done at its end. */

struct job;

/* For struct jobs_ops; @app is a struct app. */
void start_job(void *app, struct job *job);
void start_on_end(void *app, struct job *job);
