/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Names for programs that Go source becomes, so that the driver (runtimes/go/driver.sh) can keep them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/digest.h"

/* The digest of a completed source, in *ret. False: the program depends on more of the system than a key tells. Safe on
 * any thread. */
bool go_key_source(const char *code, size_t size, uint8_t ret[DIGEST_SIZE]);

/* The name of what the source becomes when it is built in @cwd with @envp: of the source, the toolchain that is found
 * there, and the variables and files that tell it what to do. False: there is no toolchain, or nobody knows which it
 * is, or it would build in a module or workspace, whose packages may change. Looks at a few files. */
bool go_key(const uint8_t source[DIGEST_SIZE], const char *cwd, char *const *envp,
            char ret[DIGEST_HEX_SIZE]);

/* Where the driver keeps the program @name of the user @uid: below the user's cache directory, or where Go's own cache
 * is without a home. A new string, or NULL: nowhere. */
char *go_kept_path(const char *name, char *const *envp, uid_t uid);
/* Whether there is a program at @path that only @uid can have put there, and nobody has written to since. If so it has
 * just been used. */
bool go_is_kept(const char *path, uid_t uid);
