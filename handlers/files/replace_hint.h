/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* Why @size bytes at @text do not contain the @old_size bytes at @old, when it is only for white space: the rest of a
 * sentence, or "". Takes time in proportion to the text; for a worker thread. */
const char *replace_hint(const char *text, size_t size, const char *old, size_t old_size);
