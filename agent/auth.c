/* SPDX-License-Identifier: Apache-2.0 */

/* Who may speak to the agent.
 *
 * libjwt verifies signatures, and nothing else is left to it: it takes the algorithm from the token, accepts
 * "none" when there is no key, and never looks at a time. So a token is taken apart here first: three strict
 * base64url segments, a header that names exactly the pinned algorithm. Then libjwt verifies the signature over
 * that very text, and the claims are read from it here again, where duplicates and wrong types are errors. */

#include "agent/auth.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <jwt.h>

#include "agent/auth_cache.h"
#include "agent/auth_jose.h"
#include "agent/auth_key.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"

#define BEARER "bearer"
/* Beyond this, real numbers are no longer exact seconds, and sums could overflow. */
#define MAX_SECONDS ((int64_t)1 << 53)

struct auth {
        struct auth_key key;
        char *audience; /* NULL: not checked; the same for the next two */
        char *issuer;
        char *subject;
        int64_t leeway_s;
        struct auth_cache *cache;
};

static char *copy_optional(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

/* Reads the key at once: what is wrong with it shows at start. */
int auth_new(const struct auth_options *o, struct auth **ret, struct error *err)
{
        CLEANUP(auth_free) struct auth *a = xnew(struct auth);
        int r;

        r = auth_key_load(o->secret_file, o->algorithm, AUTH_KEY_VERIFY, &a->key, err);
        if (r < 0)
                return r;

        a->audience = copy_optional(o->audience);
        a->issuer = copy_optional(o->issuer);
        a->subject = copy_optional(o->subject);
        a->leeway_s = (int64_t)((o->leeway_ms + 999) / 1000);
        a->cache = auth_cache_new();
        *ret = STEAL(a);
        return 0;
}

/* The key and the cached tokens are wiped. */
struct auth *auth_free(struct auth *a)
{
        if (!a)
                return NULL;
        auth_key_done(&a->key);
        free(a->audience);
        free(a->issuer);
        free(a->subject);
        auth_cache_free(a->cache);
        free(a);
        return NULL;
}

/* A fresh object changes places with the old content, whose cache goes with it. */
int auth_reload(struct auth *a, const struct auth_options *o, struct error *err)
{
        CLEANUP(auth_free) struct auth *fresh = NULL;
        struct auth old;
        int r;

        r = auth_new(o, &fresh, err);
        if (r < 0)
                return r;

        old = *a;
        *a = *fresh;
        *fresh = old;
        return 0;
}

/* The functions below return what is wrong, or NULL. */

static const char *check_header(const struct auth *a, const struct jose_segment *s)
{
        json_auto_t *header = jose_decode_object(s);

        if (!header)
                return "malformed header";
        if (!str_equal(json_string_value(json_object_get(header, "alg")), a->key.algorithm))
                return "wrong algorithm";
        /* "You must understand these extensions": we understand none. */
        if (json_object_get(header, "crit"))
                return "unknown critical extension";
        return NULL;
}

static const char *check_signature(const struct auth *a, const char *token)
{
        jwt_t *jwt = NULL;
        jwt_alg_t alg;

        if (jwt_decode(&jwt, token, a->key.data, (int)a->key.size) != 0)
                return "bad signature";
        alg = jwt_get_alg(jwt);
        jwt_free(jwt);
        /* check_header has seen to it; but should the two ever read a header differently, this decides. */
        if (alg == JWT_ALG_NONE || !str_equal(jwt_alg_str(alg), a->key.algorithm))
                return "wrong algorithm";
        return NULL;
}

/* A time claim in whole seconds; *ret stays as it is when there is none. */
static int read_time(const json_t *claims, const char *name, int64_t *ret)
{
        const json_t *value = json_object_get(claims, name);
        double real;

        if (!value)
                return 0;
        if (!json_is_number(value))
                return -EINVAL;

        /* Clamped as a real number, where nothing overflows. */
        real = json_number_value(value);
        if (real >= (double)MAX_SECONDS)
                *ret = MAX_SECONDS;
        else if (real <= -(double)MAX_SECONDS)
                *ret = -MAX_SECONDS;
        else
                *ret = (int64_t)real;
        return 0;
}

static const char *check_time_claims(const json_t *claims, struct token_facts *ret)
{
        int64_t nbf = 0;
        int64_t iat = 0;

        if (!json_object_get(claims, "exp"))
                return "no exp claim";
        if (read_time(claims, "exp", &ret->principal.expires_s) < 0)
                return "malformed exp claim";
        if (read_time(claims, "nbf", &nbf) < 0)
                return "malformed nbf claim";
        if (read_time(claims, "iat", &iat) < 0)
                return "malformed iat claim";
        ret->not_before_s = MAX(nbf, iat);
        return NULL;
}

static bool claim_equals(const json_t *claims, const char *name, const char *expected)
{
        return str_equal(json_string_value(json_object_get(claims, name)), expected);
}

static bool names_audience(const json_t *claims, const char *expected)
{
        const json_t *aud = json_object_get(claims, "aud");

        for (size_t i = 0; i < json_array_size(aud); i++) /* 0 for what is no array */
                if (str_equal(json_string_value(json_array_get(aud, i)), expected))
                        return true;
        return claim_equals(claims, "aud", expected);
}

static bool is_bound_to(const json_t *claims, const char *subject)
{
        return claim_equals(claims, "sub", subject) ||
               claim_equals(claims, "sandbox_id", subject) ||
               claim_equals(claims, "vm_id", subject);
}

static const char *check_identity(const struct auth *a, const json_t *claims, struct principal *ret)
{
        const json_t *sub = json_object_get(claims, "sub");

        if (a->audience && !names_audience(claims, a->audience))
                return "wrong audience";
        if (a->issuer && !claim_equals(claims, "iss", a->issuer))
                return "wrong issuer";
        if (a->subject && !is_bound_to(claims, a->subject))
                return "wrong subject";

        /* Cut short, it would be somebody else's name. */
        if (sub && (!json_is_string(sub) || json_string_length(sub) >= sizeof(ret->subject)))
                return "malformed sub claim";
        memset(ret->subject, 0, sizeof(ret->subject));
        if (sub)
                memcpy(ret->subject, json_string_value(sub), json_string_length(sub));
        return NULL;
}

/* Everything about a token that does not change with time. */
static const char *verify(const struct auth *a, const char *token, struct token_facts *ret)
{
        json_auto_t *claims = NULL;
        struct jose_segment segments[3];
        const char *why;

        if (jose_split(token, segments) < 0)
                return "malformed token";
        why = check_header(a, &segments[0]);
        if (why)
                return why;
        if (!jose_is_base64url(&segments[2]))
                return "malformed signature";
        why = check_signature(a, token);
        if (why)
                return why;

        claims = jose_decode_object(&segments[1]);
        if (!claims)
                return "malformed claims";
        why = check_time_claims(claims, ret);
        return why ? why : check_identity(a, claims, &ret->principal);
}

static enum auth_result check_times(const struct auth *a, const struct token_facts *facts,
                                    int64_t now_s, const char **why)
{
        if (now_s >= facts->principal.expires_s) {
                *why = "expired";
                return AUTH_EXPIRED;
        }
        if (facts->not_before_s > now_s + a->leeway_s) {
                *why = "not yet valid";
                return AUTH_INVALID;
        }
        return AUTH_OK;
}

/* The token in "Bearer TOKEN", or NULL. Schemes are case-insensitive (RFC 9110, 11.1). */
static const char *find_token(const char *authorization, size_t *ret_size, const char **why)
{
        static const char space[] = " \t";
        size_t scheme;
        size_t size;

        if (!authorization) {
                *why = "no Authorization header";
                return NULL;
        }
        authorization += strspn(authorization, space);
        scheme = strcspn(authorization, space);
        if (scheme != strlen(BEARER) || strncasecmp(authorization, BEARER, scheme) != 0) {
                *why = "not the Bearer scheme";
                return NULL;
        }

        authorization += scheme;
        authorization += strspn(authorization, space);
        size = strlen(authorization);
        while (size > 0 && strchr(space, authorization[size - 1]))
                size--;
        if (size == 0) {
                *why = "no token";
                return NULL;
        }
        *ret_size = size;
        return authorization;
}

static enum auth_result check_token(struct auth *a, const char *token, int64_t now_s,
                                    struct principal *ret, const char **why)
{
        const struct token_facts *cached = auth_cache_find(a->cache, token);
        struct token_facts facts = { 0 };
        enum auth_result result;

        if (cached) {
                facts = *cached;
        } else {
                *why = verify(a, token, &facts);
                if (*why)
                        return AUTH_INVALID;
        }

        result = check_times(a, &facts, now_s, why);
        if (result == AUTH_OK && !cached)
                auth_cache_add(a->cache, token, &facts);
        else if (result == AUTH_EXPIRED && cached)
                auth_cache_remove(a->cache, token);
        if (result == AUTH_OK)
                *ret = facts.principal;
        return result;
}

/* Costs a hash and a comparison for a token that was seen before, cryptography for a new one. *why is NULL on
 * AUTH_OK. */
enum auth_result auth_check(struct auth *a, const char *authorization, int64_t now_s,
                            struct principal *ret, const char **why)
{
        char token[LIMIT_TOKEN_BYTES + 1];
        const char *start;
        size_t size;

        *why = NULL;
        start = find_token(authorization, &size, why);
        if (!start)
                return AUTH_MISSING;
        if (size > LIMIT_TOKEN_BYTES) {
                *why = "token too long";
                return AUTH_INVALID;
        }

        memcpy(token, start, size);
        token[size] = '\0';
        return check_token(a, token, now_s, ret, why);
}

/* A positive errno, as libjwt returns them. */
static int add_claims(jwt_t *jwt, const struct auth_options *o, const char *subject, int64_t ttl_s)
{
        int64_t now_s = clock_realtime_s();
        int r;

        r = jwt_add_grant_int(jwt, "iat", (long)now_s);
        if (r == 0)
                r = jwt_add_grant_int(jwt, "exp", (long)(now_s + ttl_s));
        if (r == 0 && subject)
                r = jwt_add_grant(jwt, "sub", subject);
        if (r == 0 && o->audience)
                r = jwt_add_grant(jwt, "aud", o->audience);
        if (r == 0 && o->issuer)
                r = jwt_add_grant(jwt, "iss", o->issuer);
        return r;
}

static int sign(jwt_t *jwt, const struct auth_key *key, const struct auth_options *o,
                const char *subject, int64_t ttl_s, char **ret)
{
        char *text;
        int r;

        r = jwt_set_alg(jwt, jwt_str_alg(key->algorithm), key->data, (int)key->size);
        if (r == 0)
                r = add_claims(jwt, o, subject, ttl_s);
        if (r != 0)
                return -r;

        errno = EINVAL; /* libjwt sets errno most of the time */
        text = jwt_encode_str(jwt);
        if (!text)
                return errno > 0 ? -errno : -EINVAL;
        *ret = text; /* from malloc */
        return 0;
}

/* With the audience and issuer of @o, so that an agent with the same options accepts the token; without a
 * @subject, that of @o. -EINVAL also for a @ttl_s that is not positive. */
int auth_mint(const struct auth_options *o, const char *subject, int64_t ttl_s, char **ret,
              struct error *err)
{
        struct auth_key key = { 0 };
        jwt_t *jwt = NULL;
        int r;

        if (ttl_s <= 0 || ttl_s > MAX_SECONDS / 2)
                return error_set_field(err, -EINVAL, "", "ttl: must be a positive time");

        r = auth_key_load(o->secret_file, o->algorithm, AUTH_KEY_SIGN, &key, err);
        if (r < 0)
                return r;

        r = -jwt_new(&jwt);
        if (r == 0)
                r = sign(jwt, &key, o, subject ? subject : o->subject, ttl_s, ret);
        jwt_free(jwt);
        auth_key_done(&key);
        return r < 0 ? error_set(err, r, "sign token") : 0;
}
