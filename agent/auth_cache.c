/* SPDX-License-Identifier: Apache-2.0 */

/* A bounded, set-associative cache: the hash of a token chooses one of the sets, and the few entries of a set
 * are kept in order of use, the last one being displaced. No lists, no growing, no eviction pass.
 *
 * Only holders of the key can put something in, so that the hash need not resist an attacker who looks for
 * collisions; the seed is random all the same. The whole token is compared, never the hash alone. */

#include "agent/auth_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"

#define N_WAYS 8
#define N_SETS (LIMIT_TOKEN_CACHE / N_WAYS)

struct entry {
        char *token; /* NULL: empty; then so are all that follow in the set */
        uint64_t hash;
        struct token_facts facts;
};

struct auth_cache {
        uint64_t seed;
        struct entry sets[N_SETS][N_WAYS];
};

/* An empty cache: the table at once (about 160 KiB, untouched pages cost nothing), tokens as they come. */
struct auth_cache *auth_cache_new(void)
{
        struct auth_cache *c = xnew(struct auth_cache);

        /* Without entropy the seed stays 0, which costs nothing but the precaution. */
        (void)!getrandom(&c->seed, sizeof(c->seed), GRND_NONBLOCK);
        return c;
}

static void entry_clear(struct entry *e)
{
        if (e->token)
                explicit_bzero(e->token, strlen(e->token));
        free(e->token);
        *e = (struct entry){ 0 };
}

/* NULL-safe. */
struct auth_cache *auth_cache_free(struct auth_cache *c)
{
        if (!c)
                return NULL;
        auth_cache_clear(c);
        free(c);
        return NULL;
}

/* Wipes the tokens too: they are credentials. */
void auth_cache_clear(struct auth_cache *c)
{
        for (size_t i = 0; i < N_SETS; i++)
                for (size_t j = 0; j < N_WAYS; j++)
                        entry_clear(&c->sets[i][j]);
}

/* FNV-1a, and a last mix: tokens begin alike and end in base64, which FNV alone spreads badly. */
static uint64_t hash_token(const struct auth_cache *c, const char *token)
{
        uint64_t hash = 0xcbf29ce484222325u ^ c->seed;

        for (; *token; token++)
                hash = (hash ^ (unsigned char)*token) * 0x100000001b3u;
        hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
        return hash ^ hash >> 33;
}

static struct entry *set_of(struct auth_cache *c, uint64_t hash)
{
        return c->sets[hash % N_SETS];
}

static struct entry *find(struct entry *set, uint64_t hash, const char *token)
{
        for (size_t i = 0; i < N_WAYS && set[i].token; i++)
                if (set[i].hash == hash && strcmp(set[i].token, token) == 0)
                        return &set[i];
        return NULL;
}

/* Makes @e the first of its set and moves those before it one place back. */
static void move_to_front(struct entry *set, struct entry *e)
{
        struct entry copy = *e;

        memmove(set + 1, set, (size_t)(e - set) * sizeof(*set));
        set[0] = copy;
}

/* A hit makes the entry the last one to be displaced. */
const struct token_facts *auth_cache_find(struct auth_cache *c, const char *token)
{
        uint64_t hash = hash_token(c, token);
        struct entry *set = set_of(c, hash);
        struct entry *e = find(set, hash, token);

        if (!e)
                return NULL;
        if (e != set)
                move_to_front(set, e);
        return &set[0].facts;
}

/* Adding the same token again replaces its facts. */
void auth_cache_add(struct auth_cache *c, const char *token, const struct token_facts *facts)
{
        uint64_t hash = hash_token(c, token);
        struct entry *set = set_of(c, hash);
        struct entry *e = find(set, hash, token);

        if (!e)
                e = &set[N_WAYS - 1];
        entry_clear(e);
        *e = (struct entry){ .token = xstrdup(token), .hash = hash, .facts = *facts };
        move_to_front(set, e);
}

/* Closes the gap, so that empty entries stay last. */
void auth_cache_remove(struct auth_cache *c, const char *token)
{
        uint64_t hash = hash_token(c, token);
        struct entry *set = set_of(c, hash);
        struct entry *e = find(set, hash, token);

        if (!e)
                return;
        entry_clear(e);
        memmove(e, e + 1, (size_t)(set + N_WAYS - 1 - e) * sizeof(*e));
        set[N_WAYS - 1] = (struct entry){ 0 };
}

/* For tests and the debug log. */
unsigned auth_cache_count(const struct auth_cache *c)
{
        unsigned n = 0;

        for (size_t i = 0; i < N_SETS; i++)
                for (size_t j = 0; j < N_WAYS; j++)
                        n += c->sets[i][j].token != NULL;
        return n;
}
