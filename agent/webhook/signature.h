/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The signature by which a receiver knows that a delivery comes from somebody who has the secret. */

#include <stddef.h>
#include <stdint.h>

#include "agent/webhook/webhook.h"

#define SIGNATURE_SIZE 72 /* "sha256=", 64 digits, NUL */

/* HMAC-SHA256 of @body, or of @timestamp_s in decimal directly followed by @body. May run on any thread: bodies are
 * large. Returns @dst. */
char *signature_make(char dst[SIGNATURE_SIZE], enum webhook_signature form, const char *secret,
                     int64_t timestamp_s, const void *body, size_t size);
