/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* All that the result of an execution depends on, as far as it is known, in one digest: what was asked for, the
 * environment, the interpreter, and the content of the files that the request names. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "agent/base/error.h"
#include "agent/http/problem.h"
#include "handlers/cache/results.h"

struct app;
struct request;
struct run_spec;

struct result_key {
        /* The outcome, for @done: 0, or the request cannot be answered, and why. */
        int result;
        enum problem problem;
        char field[32]; /* a JSON pointer */
        struct error error;
        uint8_t digest[RESULTS_KEY];

        /* Private. */
        const struct app *app;
        const struct run_spec *spec;
        const json_t *body;
        const char *path; /* of the route */
        char *cwd;
        char **envp;
        uint64_t timeout_ms;
        uint8_t stamp[RESULTS_KEY]; /* of the files as they were */
        atomic_bool is_cancelled;
};

/* Collects what is needed. What @req and @spec point to must live until result_key_done. False: this cannot be
 * executed at all; who tries will find out why. */
bool result_key_init(struct result_key *k, const struct request *req, const struct run_spec *spec);
void result_key_done(struct result_key *k);

/* Computes the digest. Reads files: for a worker. */
void result_key_compute(struct result_key *k);
/* Nobody wants it any longer: it ends soon, with any outcome. Safe on any thread. */
void result_key_cancel(struct result_key *k);
/* Whether the files and the interpreter are still the same as then. For a worker. */
bool result_key_is_current(const struct result_key *k);
