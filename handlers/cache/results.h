/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Results of executions, by a digest of all that they depend on: those that are kept, within bounds of bytes, number
 * and time, and those that are being made. Only memory and time; who waits for what is in execution/cached.c. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/list.h"

#define RESULTS_KEY 32 /* bytes */

struct loop;
struct results;
struct results_text;

/* A result that is being made, embedded in an object of the caller's, which takes it out with results_end. */
struct results_run {
        struct list link;
        uint8_t key[RESULTS_KEY];
};

struct results_found {
        struct results_text *text; /* a reference */
        uint64_t age_ms;
};

/* Since the start of the agent, but the last two: what is kept now. */
struct results_totals {
        uint64_t hits;   /* found, or shared with a run */
        uint64_t misses; /* neither */
        uint64_t stored;
        uint64_t evicted; /* for want of room; not those whose time was over */
        uint64_t n_entries;
        uint64_t size;
};

/* What has expired is dropped within a minute. */
struct results *results_new(struct loop *l);
/* What is being made may end later: it is not in here any longer. NULL is fine. */
struct results *results_free(struct results *r);

/* The world went on for @ms while we stood still: everything is older by that. */
void results_skip(struct results *r, uint64_t ms);

/* The kept result, if it is not older than @max_age_ms. Nothing is counted. */
bool results_find(struct results *r, const uint8_t key[RESULTS_KEY], uint64_t max_age_ms,
                  struct results_found *ret);

/* Keeps @text (from malloc, @size bytes; takes it) for @ttl_ms, in place of an older result. The least recently used
 * ones make room, so that there are at most @max_size bytes. False: it was too large (results_fits), and is freed. */
bool results_put(struct results *r, const uint8_t key[RESULTS_KEY], char *text, size_t size,
                 uint64_t ttl_ms, uint64_t max_size);
/* No result may take more than an eighth of all. */
bool results_fits(size_t size, uint64_t max_size);

/* So that there are at most @max_size bytes from now on, after that option has changed. */
void results_shrink(struct results *r, uint64_t max_size);

/* The run that will have this result, or NULL. */
struct results_run *results_find_run(const struct results *r, const uint8_t key[RESULTS_KEY]);
void results_begin(struct results *r, struct results_run *run);
/* Harmless when it is out already. Returns whether it was in. */
bool results_end(struct results_run *run);

void results_count(struct results *r, bool is_hit);
void results_total(struct results *r, struct results_totals *ret);

/* Drops everything, and takes the runs out: what they bring would be from before. Large memory is freed by a worker. */
void results_clear(struct results *r, uint64_t *ret_n, uint64_t *ret_size);

const char *results_text_data(const struct results_text *t, size_t *ret_size);
struct results_text *results_text_unref(struct results_text *t); /* returns NULL */
