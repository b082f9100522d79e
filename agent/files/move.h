/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/files/copy.h"

/* Renames @from to the very place @to. A link is moved itself, and so is a special file. To another file system it is
 * copied (as by file_copy) and then removed. What cannot be removed, and special files below a directory, are found
 * first, and then nothing happens; if others interfere later, both may be there. Replaces as file_copy does. */
int file_move(const struct roots *roots, const char *from, const char *to,
              const struct file_copy_options *o, struct file_copied *ret, struct error *err);
