/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The environment of children, in one place. Layers, later wins: a sane base for the user (PATH, HOME, USER,
 * LOGNAME, SHELL, LANG), the agent's own environment without what is the agent's alone (VM_AGENT_*, systemd's
 * NOTIFY_SOCKET, LISTEN_*, CREDENTIALS_DIRECTORY …), the global variables (variables.h), the request's. */

#include <jansson.h>

#include "proc/spawn.h"

/* What callers pass as @extra when they have nothing of their own: variables that every child wants. */
extern const char *const environment_extra_default[];

/* @global and @request (objects of strings, or NULL) are borrowed; @extra is a NULL-terminated array of
 * "NAME=value" that are set only where neither of them set them, or NULL. Returns a new strv (strv_free). -E2BIG: more
 * than LIMIT_ARGV_BYTES. */
int environment_build(const struct credentials *user, json_t *global, json_t *request,
                      const char *const *extra, char ***ret);
/* What a child would get for @name, or NULL; borrowed. */
const char *environment_lookup(json_t *global, json_t *request, const char *name);
/* The value of @name in @envp, or NULL. */
const char *environment_get(char *const *envp, const char *name);
