/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Small files as the kernel writes them. All may be called on any thread. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/buf.h"

/* The whole file @root@path into @ret, which is emptied first; no more than a few MiB. 0 or a negative errno. */
int host_text_read(const char *root, const char *path, struct buf *ret);
/* The number that the file @dir/@name consists of; "max" is UINT64_MAX, as is -1. 0 or a negative errno. */
int host_text_number(const char *dir, const char *name, uint64_t *ret);
/* The number behind @key at the start of a line of @text: "MemTotal:   4096 kB" for "MemTotal:". False: none. */
bool host_text_find(const char *text, const char *key, uint64_t *ret);
/* Cuts the next line off *@text, and ends it there. NULL: no more. */
char *host_text_line(char **text);
/* Skips blanks, and reads a number without a sign. False, and *@text stays: there is none. */
bool host_text_next(const char **text, uint64_t *ret);
