/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Tokens whose signature and identity have been verified, so that the next request with the same token costs
 * no cryptography. Times are not part of that verdict: whoever takes an entry out must look at them again. */

#include <stdint.h>

#include "agent/auth.h"

struct auth_cache;

/* What is remembered of a verified token. */
struct token_facts {
        struct principal
                principal;    /* its expires_s: the first second in which the token is invalid */
        int64_t not_before_s; /* the later of nbf and iat; 0: neither */
};

struct auth_cache *auth_cache_new(void);
/* Wipes and frees; NULL is fine. */
struct auth_cache *auth_cache_free(struct auth_cache *c);

/* Forgets everything: for a new key. */
void auth_cache_clear(struct auth_cache *c);

/* NULL: not in the cache. Borrowed, valid until the next call. */
const struct token_facts *auth_cache_find(struct auth_cache *c, const char *token);
/* Only for verified tokens. May displace another one. */
void auth_cache_add(struct auth_cache *c, const char *token, const struct token_facts *facts);
void auth_cache_remove(struct auth_cache *c, const char *token);
unsigned auth_cache_count(const struct auth_cache *c);
