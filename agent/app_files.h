/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the agent itself does with files: the directories it needs, and the journal of unfinished ones. */

#include "agent/base/error.h"

struct app_files;
struct config;
struct loop;
struct roots;

/* Makes the workspace, which is the run-as user's if it is new, and the agent's own directories. */
int app_make_dirs(const struct config *config, struct error *err);

/* Begins to note what is being made, and has a worker remove what the last agent did not finish. Once the state
 * directory is locked. Without a journal the agent works all the same, so this only logs what is wrong. Until
 * the loop has ended @roots has to stay. */
struct app_files *app_files_new(struct loop *loop, const struct config *config,
                                const struct roots *roots);
/* The rest is for the next agent. Harmless on NULL. */
void app_files_stop(struct app_files *f);
/* When the loop has ended. Returns NULL; harmless on NULL. */
struct app_files *app_files_free(struct app_files *f);
