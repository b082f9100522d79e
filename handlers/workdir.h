/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where what clients start runs. */

#include "agent/base/error.h"

struct config;

/* @workdir as the client wrote it (NULL: the workspace; base/workspace.h tells what "/workspace" may mean) → a
 * normalised absolute path in *ret, a new string. -EINVAL and others as path_normalize. */
int workdir_resolve(const struct config *config, const char *workdir, char **ret,
                    struct error *err);
