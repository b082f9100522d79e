/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The environment of children, in one place. Layers, later wins: a sane base for the user (PATH, HOME, USER,
 * LOGNAME, SHELL, LANG), the agent's own environment without what is the agent's alone (VM_AGENT_*, systemd's
 * NOTIFY_SOCKET, LISTEN_*, CREDENTIALS_DIRECTORY …), the request's. */

#include <jansson.h>

#include "proc/spawn.h"

/* What callers pass as @extra when they have nothing of their own: variables that every child wants. */
extern const char *const environment_extra_default[];

/* @request (an object of strings, or NULL) is borrowed; @extra is a NULL-terminated array of "NAME=value" that
 * are set only where the request did not set them, or NULL. Returns a new strv (strv_free). -E2BIG: more than
 * LIMIT_ARGV_BYTES. */
int environment_build(const struct credentials *user, const json_t *request,
                      const char *const *extra, char ***ret);
/* The value of @name in @envp, or NULL. */
const char *environment_get(char *const *envp, const char *name);
