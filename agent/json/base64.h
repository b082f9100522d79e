/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* Bytes that a client wrote in base64. Padding is required, white space is skipped. May run on any thread. *ret is a
 * new block that a NUL follows; to be freed. -EINVAL: this is no base64. -ENOMEM. */
int base64_to_bytes(const char *text, size_t size, char **ret, size_t *ret_size);
