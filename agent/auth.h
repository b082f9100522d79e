/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* JSON Web Tokens. The only file that knows libjwt is auth.c; it never trusts that library with the choice of
 * the algorithm, an empty key, or time. */

#include <stddef.h>
#include <stdint.h>

#include "agent/base/error.h"
#include "agent/base/macros.h"

struct auth;

struct auth_options {
        const char
                *secret_file;  /* HMAC secret (one trailing newline is dropped) or PEM public key */
        const char *algorithm; /* pinned */
        const char *audience;  /* NULL: not checked */
        const char *issuer;
        const char *subject; /* must equal one of the claims sub, sandbox_id, vm_id */
        uint64_t leeway_ms;
};

/* Who speaks. */
struct principal {
        char subject[128]; /* the sub claim, or "" */
        int64_t expires_s;
};

enum auth_result {
        AUTH_OK,
        AUTH_MISSING, /* no Authorization header, or not the Bearer scheme */
        AUTH_INVALID, /* forged, malformed, wrong algorithm, not yet valid, wrong audience … */
        AUTH_EXPIRED,
};

/* -EINVAL: unknown algorithm, a secret shorter than MIN_SECRET_BYTES, a key that is no PEM, or one whose
 * kind does not fit the algorithm; other errors: the file cannot be read. */
int auth_new(const struct auth_options *o, struct auth **ret, struct error *err);
struct auth *auth_free(struct auth *a);
DEFINE_CLEANUP(struct auth *, auth_free)

/* Reads the secret again; all cached tokens are dropped. On failure the old key stays. */
int auth_reload(struct auth *a, const struct auth_options *o, struct error *err);

/* Checks the value of an Authorization header (NULL when there was none) at wall-clock time @now_s. *ret is
 * filled on AUTH_OK. @why says what was wrong, for the log; never any part of the token. */
enum auth_result auth_check(struct auth *a, const char *authorization, int64_t now_s,
                            struct principal *ret, const char **why);

/* Signs a token that is valid from now for @ttl_s. @algorithm must be an HMAC one, or the file a PEM private
 * key. *ret is a new string. */
int auth_mint(const struct auth_options *o, const char *subject, int64_t ttl_s, char **ret,
              struct error *err);
