/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The global variables: the layer of the environment that clients set for all that starts after it, between the agent's
 * own and that of a request. They are kept in a file, so that they outlive the agent.
 *
 * A change is first written, by a worker, and then in force: who was told of it can rely on it. Changes that come while
 * one is being written wait, and are written together, in order; none is lost. Values are never logged. */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/loop/loop.h"

struct variables;

enum variables_verb {
        VARIABLES_REPLACE, /* by the entries */
        VARIABLES_MERGE,   /* the entries into what there is */
        VARIABLES_REMOVE,  /* the names of the entries */
        VARIABLES_CLEAR, /* all; and a time stamp from the future, which would keep out all others, goes as well */
};

/* Positive outcomes. */
#define VARIABLES_E_OLD      1 /* a later one was applied before: nothing was changed */
#define VARIABLES_E_TOO_MANY 2 /* there would be more than LIMIT_ENV_ENTRIES */
#define VARIABLES_E_TOO_BIG  3 /* they would be larger than LIMIT_ENV_BYTES */

struct variables_change {
        enum variables_verb verb;
        json_t *entries; /* a reference, taken: an object of strings that are good for an environment */
        const char *
                masked; /* an entry with this value leaves the variable alone; NULL: there is none */
        int64_t timestamp_us; /* Unix time; what is older than the last one is not applied; 0: always is */
        /* Called once, on the loop, never from inside variables_apply. @result is 0, one of the outcomes, or a negative
         * errno (it could not be written: nothing was changed); @err says why. @n: how many variables there are not any
         * more. */
        void (*done)(void *arg, int result, size_t n, const struct error *err);
        void *arg;
};

/* @dir: where the file is, or will be. One that cannot be read is moved aside, with a warning. If they are not to be
 * kept there is none, nor does one stay that an agent before us has kept. */
struct variables *variables_new(struct loop *l, const char *dir, bool is_kept);
/* Calls who waits, with -ESHUTDOWN; @on_closed(@arg) later, when no worker needs anything any more. */
void variables_close(struct variables *v, void (*on_closed)(void *arg), void *arg);
/* After on_closed. Returns NULL. */
struct variables *variables_free(struct variables *v);

/* The variables in force: an object of strings, never changed, but replaced by each change. Borrowed. */
json_t *variables_get(const struct variables *v);
/* @on_change(@arg) is called on the loop whenever others are in force, before who asked for that is told. One watcher;
 * NULL: none. */
void variables_watch(struct variables *v, void (*on_change)(void *arg), void *arg);
/* -ESHUTDOWN after variables_close: nothing will be called, but the entries are taken all the same. */
int variables_apply(struct variables *v, const struct variables_change *change);
