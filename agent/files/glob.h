/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Patterns for names and relative paths.
 *
 *     *       any characters but a slash          [a-z]   one of these, [!a-z] or [^a-z] any other, but a slash
 *     ?       one character but a slash           {a,b}   one of these, which may be patterns; may be nested
 *     **      between slashes: any number of directories ("**" at the end: everything below; alone: everything)
 *     \x      x itself
 *
 * A leading dot is nothing special. Characters are those of UTF-8; a byte that is none is a character of its own. The
 * time for a match is at most proportional to the product of both lengths, whatever the pattern. */

#include <stdbool.h>

#include "agent/base/error.h"
#include "agent/base/limits.h"
#include "agent/base/macros.h"

struct glob;

/* -EINVAL: malformed, and the message says what. -E2BIG: too long. */
int glob_new(const char *pattern, struct glob **ret, struct error *err);
/* The same for the entries of a tree: "x/" fits what "x" fits, but only if *ret_only_directories. */
int glob_new_for_entries(const char *pattern, struct glob **ret, bool *ret_only_directories,
                         struct error *err);
struct glob *glob_free(struct glob *g);
DEFINE_CLEANUP(struct glob *, glob_free)

/* Does the whole of @text fit? A pattern has memory for one match at a time: it belongs to one thread. */
bool glob_match(struct glob *g, const char *text);

/* True when the pattern speaks of directories, so that it wants a path rather than a name. */
bool glob_has_slash(const struct glob *g);
