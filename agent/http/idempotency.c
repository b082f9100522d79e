/* SPDX-License-Identifier: Apache-2.0 */

/* A hash table of entries, and a list of those that have ended, which is in the order of time by itself.
 *
 * Whatever a client puts together to name its request is reduced to a digest, so an entry has a fixed size, and its
 * first bytes are as good a hash as any. */

#include "agent/http/idempotency.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"

#define N_BUCKETS 1024

static_assert(IDEMPOTENCY_DIGEST == SHA256_DIGEST_SIZE, "the digest is SHA-256");
static_assert(LIMIT_IDEMPOTENCY_ANSWER + LIMIT_IDEMPOTENCY_FACTS <= LIMIT_IDEMPOTENCY_TOTAL,
              "every answer fits once all others are gone");

struct idempotency {
        struct list buckets[N_BUCKETS];
        struct list ended; /* by their age, the oldest first */
        size_t n_entries;
        size_t size;
};

/* See the header. */
struct idempotency *idempotency_new(void)
{
        struct idempotency *i = xnew(struct idempotency);

        for (size_t k = 0; k < N_BUCKETS; k++)
                list_init(&i->buckets[k]);
        list_init(&i->ended);
        return i;
}

static struct idempotency_entry *oldest(struct idempotency *i)
{
        return list_is_empty(&i->ended) ? NULL
                                        : list_entry(i->ended.next, struct idempotency_entry, age);
}

/* See the header. */
struct idempotency *idempotency_free(struct idempotency *i)
{
        if (!i)
                return NULL;
        while (!list_is_empty(&i->ended))
                idempotency_drop(i, oldest(i));
        assert(i->n_entries == 0);
        free(i);
        return NULL;
}

/* See the header. */
void idempotency_digest(const void *data, size_t size, uint8_t ret[IDEMPOTENCY_DIGEST])
{
        struct sha256_ctx sha;

        sha256_init(&sha);
        if (size > 0)
                sha256_update(&sha, size, data);
        sha256_digest(&sha, IDEMPOTENCY_DIGEST, ret);
}

/* See the header. The terminators are part of it, so that the strings cannot be cut in another way. */
void idempotency_id(const char *const *parts, size_t n, uint8_t ret[IDEMPOTENCY_DIGEST])
{
        struct sha256_ctx sha;

        sha256_init(&sha);
        for (size_t k = 0; k < n; k++)
                sha256_update(&sha, strlen(parts[k]) + 1, (const uint8_t *)parts[k]);
        sha256_digest(&sha, IDEMPOTENCY_DIGEST, ret);
}

static struct list *bucket_of(struct idempotency *i, const uint8_t id[IDEMPOTENCY_DIGEST])
{
        return &i->buckets[(id[0] | (size_t)id[1] << 8) % N_BUCKETS];
}

/* See the header. */
struct idempotency_entry *idempotency_find(struct idempotency *i,
                                           const uint8_t id[IDEMPOTENCY_DIGEST])
{
        list_for_each(pos, bucket_of(i, id)) {
                struct idempotency_entry *e = list_entry(pos, struct idempotency_entry, bucket);

                if (memcmp(e->id, id, IDEMPOTENCY_DIGEST) == 0)
                        return e;
        }
        return NULL;
}

/* See the header. */
struct idempotency_entry *idempotency_add(struct idempotency *i,
                                          const uint8_t id[IDEMPOTENCY_DIGEST],
                                          const uint8_t body[IDEMPOTENCY_DIGEST])
{
        struct idempotency_entry *e;

        if (i->n_entries >= LIMIT_IDEMPOTENCY_ENTRIES) {
                if (!oldest(i))
                        return NULL;
                idempotency_drop(i, oldest(i));
        }
        e = xnew(struct idempotency_entry);
        memcpy(e->id, id, IDEMPOTENCY_DIGEST);
        memcpy(e->body, body, IDEMPOTENCY_DIGEST);
        list_init(&e->age);
        list_init(&e->waiters);
        list_append(bucket_of(i, id), &e->bucket);
        i->n_entries++;
        return e;
}

/* See the header. */
void idempotency_drop(struct idempotency *i, struct idempotency_entry *e)
{
        assert(list_is_empty(&e->waiters));

        list_remove(&e->bucket);
        list_remove(&e->age);
        i->n_entries--;
        i->size -= e->size;
        reply_done(&e->reply);
        json_decref(e->facts);
        free(e);
}

static void end(struct idempotency *i, struct idempotency_entry *e, size_t size, uint64_t now_ms)
{
        assert(!e->has_ended);

        while (i->size + size > LIMIT_IDEMPOTENCY_TOTAL)
                idempotency_drop(i, oldest(i));
        i->size += size;
        e->size = size;
        e->has_ended = true;
        e->ended_ms = now_ms;
        list_append(&i->ended, &e->age);
}

/* See the header. */
void idempotency_keep(struct idempotency *i, struct idempotency_entry *e, struct reply *reply,
                      uint64_t now_ms)
{
        assert(reply->size <= LIMIT_IDEMPOTENCY_ANSWER);

        end(i, e, reply->size, now_ms);
        reply_share(reply, &e->reply);
}

/* Where the last complete member of an object that begins like this ends. */
static size_t complete_size(const char *s, size_t size)
{
        size_t complete = 0;
        bool is_string = false;
        unsigned depth = 0;

        for (size_t k = 0; k < size; k++) {
                if (is_string && s[k] == '\\')
                        k++;
                else if (s[k] == '"')
                        is_string = !is_string;
                else if (is_string)
                        continue;
                else if (s[k] == '{' || s[k] == '[')
                        depth++;
                else if (s[k] == '}' || s[k] == ']')
                        depth--;
                else if (s[k] == ',' && depth == 1)
                        complete = k;
        }
        return complete;
}

static json_t *parse_facts(const char *head, size_t size)
{
        char text[LIMIT_IDEMPOTENCY_FACTS + 1];
        size_t n = complete_size(head, MIN(size, LIMIT_IDEMPOTENCY_FACTS));
        json_t *facts;

        if (n == 0)
                return json_object();
        memcpy(text, head, n);
        text[n] = '}';
        facts = json_loadb(text, n + 1, 0, NULL);
        return facts ? facts : json_object(); /* an answer of another kind */
}

/* See the header. */
void idempotency_keep_facts(struct idempotency *i, struct idempotency_entry *e, const char *head,
                            size_t size, uint64_t now_ms)
{
        end(i, e, LIMIT_IDEMPOTENCY_FACTS, now_ms);
        e->facts = parse_facts(head, size);
}

/* See the header. */
void idempotency_expire(struct idempotency *i, uint64_t now_ms, uint64_t ttl_ms)
{
        struct idempotency_entry *e;

        while ((e = oldest(i)) && now_ms - e->ended_ms >= ttl_ms)
                idempotency_drop(i, e);
}

/* See the header. */
size_t idempotency_n_entries(const struct idempotency *i)
{
        return i->n_entries;
}

/* See the header. */
size_t idempotency_size(const struct idempotency *i)
{
        return i->size;
}
