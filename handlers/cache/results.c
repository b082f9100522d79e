/* SPDX-License-Identifier: Apache-2.0 */

/* A hash table of entries, which are also in the order of their last use. Keys are digests: their first bytes are as
 * good a hash as any. Times of life differ from entry to entry, so the expired ones are looked for: in vain, mostly,
 * but once in a minute, and only as long as there are entries. */

#include "handlers/cache/results.h"

#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"

#define N_BUCKETS 1024
#define SWEEP_MS  60000
#define SHARE     8 /* of all bytes: one result at most */

/* What an entry costs beside its text. */
#define ENTRY_SIZE (sizeof(struct entry) + sizeof(struct results_text))

struct results_text {
        unsigned refs;
        size_t size;
        char *data;
};

struct entry {
        struct list bucket;
        struct list use; /* the least recently used first */
        uint8_t key[RESULTS_KEY];
        uint64_t stored_ms;
        uint64_t ttl_ms;
        struct results_text *text;
};

struct results {
        struct loop *loop;
        struct timer *timer; /* runs while there are entries */
        struct list buckets[N_BUCKETS];
        struct list use;
        struct list runs;
        struct results_totals totals;
        uint64_t skipped_ms; /* that the clock did not count */
};

/* Results get older while we stand still, unlike deadlines. */
static uint64_t now_ms(const struct results *r)
{
        return clock_now_ms() + r->skipped_ms;
}

/* --- texts --- */

/* See the header. */
const char *results_text_data(const struct results_text *t, size_t *ret_size)
{
        *ret_size = t->size;
        return t->data;
}

/* See the header. */
struct results_text *results_text_unref(struct results_text *t)
{
        if (t && --t->refs == 0) {
                free(t->data);
                free(t);
        }
        return NULL;
}

/* --- entries --- */

static struct list *bucket_of(struct results *r, const uint8_t key[RESULTS_KEY])
{
        return &r->buckets[(key[0] | (unsigned)key[1] << 8) % N_BUCKETS];
}

static struct entry *find(struct results *r, const uint8_t key[RESULTS_KEY])
{
        list_for_each(i, bucket_of(r, key)) {
                struct entry *e = list_entry(i, struct entry, bucket);

                if (memcmp(e->key, key, RESULTS_KEY) == 0)
                        return e;
        }
        return NULL;
}

static size_t cost(const struct entry *e)
{
        return ENTRY_SIZE + e->text->size;
}

/* Takes it out; it is the caller's. */
static void take(struct results *r, struct entry *e)
{
        r->totals.size -= cost(e);
        r->totals.n_entries--;
        list_remove(&e->bucket);
        list_remove(&e->use);
}

static void drop(struct results *r, struct entry *e)
{
        take(r, e);
        results_text_unref(e->text);
        free(e);
}

/* Texts that nobody else has; a worker may free them. */
static void free_texts(void *arg)
{
        struct list *garbage = arg;

        while (!list_is_empty(garbage)) {
                struct entry *e = list_entry(garbage->next, struct entry, use);

                list_remove(&e->use);
                results_text_unref(e->text);
                free(e);
        }
        free(garbage);
}

static void on_freed(void *arg)
{
        (void)arg;
}

static struct list *garbage_new(void)
{
        struct list *garbage = xnew(struct list);

        list_init(garbage);
        return garbage;
}

/* Out of the table, for garbage_free. A text that is being sent has a reference, which is not for a worker. */
static void throw_away(struct results *r, struct entry *e, struct list *garbage)
{
        if (e->text->refs > 1) {
                drop(r, e);
                return;
        }
        take(r, e);
        list_append(garbage, &e->use);
}

/* Many megabytes take their time, so a worker frees them. */
static void garbage_free(struct results *r, struct list *garbage)
{
        if (list_is_empty(garbage))
                free(garbage);
        else if (job_run(r->loop, garbage, free_texts, on_freed) < 0)
                free_texts(garbage);
}

static void sweep(struct results *r)
{
        struct list *garbage = garbage_new();
        uint64_t now = now_ms(r);

        list_for_each_safe(i, &r->use) {
                struct entry *e = list_entry(i, struct entry, use);

                if (now - e->stored_ms >= e->ttl_ms)
                        throw_away(r, e, garbage);
        }
        garbage_free(r, garbage);
}

static void on_sweep(void *arg)
{
        struct results *r = arg;

        sweep(r);
        if (r->totals.n_entries > 0)
                timer_start(r->timer, SWEEP_MS);
}

/* See the header. */
struct results *results_new(struct loop *l)
{
        struct results *r = xnew(struct results);

        r->loop = l;
        r->timer = timer_new(l, on_sweep, r);
        for (size_t i = 0; i < N_BUCKETS; i++)
                list_init(&r->buckets[i]);
        list_init(&r->use);
        list_init(&r->runs);
        return r;
}

static void end_runs(struct results *r)
{
        while (!list_is_empty(&r->runs))
                list_remove(r->runs.next);
}

/* See the header. */
struct results *results_free(struct results *r)
{
        if (!r)
                return NULL;
        while (!list_is_empty(&r->use))
                drop(r, list_entry(r->use.next, struct entry, use));
        end_runs(r);
        timer_free(r->timer);
        free(r);
        return NULL;
}

/* See the header. */
void results_skip(struct results *r, uint64_t ms)
{
        r->skipped_ms += ms;
}

/* See the header. */
bool results_find(struct results *r, const uint8_t key[RESULTS_KEY], uint64_t max_age_ms,
                  struct results_found *ret)
{
        struct entry *e = find(r, key);
        uint64_t age_ms;

        if (!e)
                return false;
        age_ms = now_ms(r) - e->stored_ms;
        if (age_ms >= e->ttl_ms) {
                drop(r, e);
                return false;
        }
        if (age_ms >= max_age_ms)
                return false;
        list_remove(&e->use);
        list_append(&r->use, &e->use);
        e->text->refs++;
        *ret = (struct results_found){ .text = e->text, .age_ms = age_ms };
        return true;
}

/* See the header. */
bool results_fits(size_t size, uint64_t max_size)
{
        return ENTRY_SIZE + size <= max_size / SHARE;
}

static void make_room(struct results *r, size_t size, uint64_t max_size)
{
        struct list *garbage = garbage_new();

        while (r->totals.n_entries > 0 &&
               (r->totals.size + size > max_size || r->totals.n_entries >= LIMIT_CACHE_ENTRIES)) {
                throw_away(r, list_entry(r->use.next, struct entry, use), garbage);
                r->totals.evicted++;
        }
        garbage_free(r, garbage);
}

/* See the header. */
void results_shrink(struct results *r, uint64_t max_size)
{
        if (r->totals.size > max_size)
                make_room(r, 0, max_size);
}

/* See the header. */
bool results_put(struct results *r, const uint8_t key[RESULTS_KEY], char *text, size_t size,
                 uint64_t ttl_ms, uint64_t max_size)
{
        struct entry *e = find(r, key);

        if (!results_fits(size, max_size)) {
                free(text);
                return false;
        }
        if (e)
                drop(r, e);
        if (r->totals.n_entries > 0)
                make_room(r, ENTRY_SIZE + size, max_size);
        else
                timer_start(r->timer, SWEEP_MS);

        e = xnew(struct entry);
        memcpy(e->key, key, RESULTS_KEY);
        e->stored_ms = now_ms(r);
        e->ttl_ms = ttl_ms;
        e->text = xnew(struct results_text);
        *e->text = (struct results_text){ .refs = 1, .size = size, .data = text };
        list_append(bucket_of(r, key), &e->bucket);
        list_append(&r->use, &e->use);
        r->totals.n_entries++;
        r->totals.size += cost(e);
        r->totals.stored++;
        return true;
}

/* --- runs --- */

/* See the header. They are as few as there are executions. */
struct results_run *results_find_run(const struct results *r, const uint8_t key[RESULTS_KEY])
{
        list_for_each(i, &r->runs) {
                struct results_run *run = list_entry(i, struct results_run, link);

                if (memcmp(run->key, key, RESULTS_KEY) == 0)
                        return run;
        }
        return NULL;
}

/* See the header. */
void results_begin(struct results *r, struct results_run *run)
{
        list_append(&r->runs, &run->link);
}

/* See the header. */
bool results_end(struct results_run *run)
{
        bool was_in = !list_is_empty(&run->link);

        list_remove(&run->link);
        return was_in;
}

/* --- the whole --- */

/* See the header. */
void results_count(struct results *r, bool is_hit)
{
        if (is_hit)
                r->totals.hits++;
        else
                r->totals.misses++;
}

/* See the header. What has expired is not there any more, whether it was noticed or not. */
void results_total(struct results *r, struct results_totals *ret)
{
        sweep(r);
        *ret = r->totals;
}

/* See the header. */
void results_clear(struct results *r, uint64_t *ret_n, uint64_t *ret_size)
{
        struct list *garbage = garbage_new();

        sweep(r);
        *ret_n = r->totals.n_entries;
        *ret_size = r->totals.size;
        end_runs(r);
        while (!list_is_empty(&r->use))
                throw_away(r, list_entry(r->use.next, struct entry, use), garbage);
        garbage_free(r, garbage);
}
