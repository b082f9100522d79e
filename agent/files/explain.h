/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A failure in more words: what exactly is missing or in the way. For those who have failed with a path; nothing is
 * decided by it. Within a scope of the user. Each returns @r, with @err as it was or with a better message. */

#include "agent/base/error.h"
#include "agent/files/roots.h"

/* Something below @path, or @path itself, could not be found or made: names the first directory that is missing on the
 * way. FILES_E_NOT_FOUND becomes FILES_E_NO_DIRECTORY. */
int explain_missing_parent(const struct roots *roots, const char *path, int r, struct error *err);

/* @path was not found: is it a link that leads nowhere? */
int explain_missing(const struct roots *roots, const char *path, int r, struct error *err);

/* @path could not be found as a name that may be removed or moved (PLACE_ENTRY). */
int explain_no_entry(const struct roots *roots, const char *path, int r, struct error *err);
