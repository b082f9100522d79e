/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Paths: as text, and the two tree operations that everybody needs. */

#include <stdbool.h>

#include "agent/base/error.h"

/* Makes @path absolute (relative ones start at @base, which must be absolute) and removes ".", ".." and
 * repeated slashes by text alone. ".." at the root stays at the root. *ret is a new string.
 * -EINVAL: empty. -ENAMETOOLONG: longer than PATH_MAX, or a component longer than NAME_MAX. */
int path_normalize(const char *base, const char *path, char **ret, struct error *err);

/* True when normalised @path is @root or below it ("/a/bc" is not under "/a/b"). */
bool path_is_under(const char *path, const char *root);

/* mkdir -p with @mode for what is made. 0 also when it exists already; -ENOTDIR when it is something else. */
int path_make_dirs(const char *path, unsigned mode, struct error *err);

/* Removes a directory tree without following links out of it, or emptying what is mounted in it (-EXDEV); a
 * missing one is fine. */
int path_remove_tree(const char *path);
