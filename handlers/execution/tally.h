/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counts executions that have ended, in the words of the metrics: those that a client waits for, those that it follows,
 * and background jobs alike. */

#include "agent/metrics_executions.h"

struct app;
struct job;
struct launch;
struct process_result;

/* @mode: not EXECUTION_BACKGROUND. */
void tally_process(struct app *app, const struct launch *launch, enum execution_mode mode,
                   const struct process_result *result);
/* There was no process. */
void tally_refused(struct app *app, const struct launch *launch, enum execution_mode mode);
/* A job that has ended under this agent. */
void tally_job(struct app *app, const struct job *job);
/* It was never started, and will not be. @language: NULL for a command. */
void tally_refused_job(struct app *app, const char *language);
