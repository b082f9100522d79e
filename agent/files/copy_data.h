/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Copies the content of the regular file @from to the empty file @to: shared blocks where the file system can do that,
 * else within the kernel, else by hand; holes stay holes. Returns a negative errno (-ECANCELED); *ret is the size.
 * @cancel may be NULL. */
int copy_data(int from, int to, const atomic_bool *cancel, uint64_t *ret);
