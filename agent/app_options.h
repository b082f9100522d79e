/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The configuration in the words of the agent's parts. All strings are the configuration's, or constants. @max_files is
 * the limit of open files that the agent was started with, for its children. */

#include <stdint.h>

#include "agent/auth.h"
#include "agent/http/server.h"
#include "agent/webhook/webhook.h"
#include "agent/ws/ws.h"
#include "proc/jobs.h"
#include "proc/supervisor.h"
#include "proc/warm.h"

struct config;
struct error;
struct roots;

struct auth_options app_auth_options(const struct config *c);
struct server_options app_server_options(const struct config *c);
struct ws_options app_ws_options(const struct config *c);
struct supervisor_options app_supervisor_options(const struct config *c, uint64_t max_files);
struct warm_options app_warm_options(const struct config *c, const char *driver_dir);
struct jobs_options app_jobs_options(const struct config *c, uint64_t max_files);
struct webhooks_options app_webhooks_options(const struct config *c);

/* The policy of files, for the user that children run as. -ENOENT: there is no such user. */
int app_roots_new(const struct config *c, struct roots **ret, struct error *err);
