/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The key that tokens are checked or signed with. Private to agent/auth*.c. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"

struct auth_key {
        const char *algorithm; /* a constant: "HS256" … "ES512" */
        unsigned char *data;   /* the HMAC secret, or PEM text; never empty */
        size_t size;
};

enum auth_key_use { AUTH_KEY_VERIFY, AUTH_KEY_SIGN };

/* Reads @file and makes sure that its content can serve @algorithm; for RS* and ES*, AUTH_KEY_VERIFY wants the
 * public key and AUTH_KEY_SIGN the private one. -EINVAL: it cannot. Other errors: it cannot be read. */
int auth_key_load(const char *file, const char *algorithm, enum auth_key_use use,
                  struct auth_key *ret, struct error *err);
/* Wipes and frees. */
void auth_key_done(struct auth_key *k);
