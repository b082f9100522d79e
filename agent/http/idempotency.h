/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What became of requests that carry an Idempotency-Key: an entry for each that runs, and for as long as its answer is
 * kept. Only memory and time; who waits for whom is in idempotency_request.c. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/list.h"
#include "agent/http/reply.h"

#define IDEMPOTENCY_DIGEST 32 /* SHA-256 */

struct idempotency;

struct idempotency_entry {
        struct list bucket;
        struct list age; /* of those that have ended, the oldest first; on no list while it runs */
        uint8_t id[IDEMPOTENCY_DIGEST];
        uint8_t body[IDEMPOTENCY_DIGEST];

        struct list waiters; /* while it runs: the caller's, for requests that came later */
        unsigned n_waiters;

        bool has_ended;
        uint64_t ended_ms;
        size_t size;        /* that its answer costs */
        struct reply reply; /* not set: it was too large */
        json_t *facts;      /* what is known of a too large one, an object; else NULL */
};

struct idempotency *idempotency_new(void);
/* Entries that still run must have been dropped. NULL is fine. */
struct idempotency *idempotency_free(struct idempotency *i);

/* Safe on any thread. */
void idempotency_digest(const void *data, size_t size, uint8_t ret[IDEMPOTENCY_DIGEST]);
/* The id of what @n strings say together. */
void idempotency_id(const char *const *parts, size_t n, uint8_t ret[IDEMPOTENCY_DIGEST]);

/* The entry, which stays the store's, or NULL. */
struct idempotency_entry *idempotency_find(struct idempotency *i,
                                           const uint8_t id[IDEMPOTENCY_DIGEST]);
/* A new entry that runs; there must be none with this id. The oldest that has ended makes room for it. NULL: all of
 * LIMIT_IDEMPOTENCY_ENTRIES run. */
struct idempotency_entry *idempotency_add(struct idempotency *i,
                                          const uint8_t id[IDEMPOTENCY_DIGEST],
                                          const uint8_t body[IDEMPOTENCY_DIGEST]);
/* Forgets the entry: its key is as good as new. Nobody may wait for it. */
void idempotency_drop(struct idempotency *i, struct idempotency_entry *e);

/* It has ended with @reply, of at most LIMIT_IDEMPOTENCY_ANSWER bytes, which is shared with it. The oldest others that
 * have ended make room. */
void idempotency_keep(struct idempotency *i, struct idempotency_entry *e, struct reply *reply,
                      uint64_t now_ms);
/* It has ended with an answer that is too large. @head is how its JSON began: all members that are complete in the
 * first LIMIT_IDEMPOTENCY_FACTS bytes of it are kept. */
void idempotency_keep_facts(struct idempotency *i, struct idempotency_entry *e, const char *head,
                            size_t size, uint64_t now_ms);

/* Drops what ended @ttl_ms ago, or earlier. */
void idempotency_expire(struct idempotency *i, uint64_t now_ms, uint64_t ttl_ms);

size_t idempotency_n_entries(const struct idempotency *i);
/* Bytes of all answers that are kept. */
size_t idempotency_size(const struct idempotency *i);
