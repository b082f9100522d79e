/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "agent/files/roots.h"

#define DIRECTORY_MODE_DEFAULT -1 /* 0777 under the agent's umask */

/* Makes the directory @path and, with @make_parents, those that are missing above it (with the default mode). One that
 * is there already is fine, and keeps its mode: *ret_is_created, which may be NULL, tells. */
int directory_make(const struct roots *roots, const char *path, int mode, bool make_parents,
                   bool *ret_is_created, struct error *err);
