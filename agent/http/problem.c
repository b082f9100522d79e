/* SPDX-License-Identifier: Apache-2.0 */

/* The problem table and the one error document.
 *
 * The document is flat because the public clients are: some read only "error", some only "message", some only
 * "code". Both texts are therefore the same sentence. */

#include "agent/http/problem.h"

#include <assert.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/utf8.h"

static const struct {
        unsigned status;
        const char *code;
} problem_table[N_PROBLEMS] = {
#define PROBLEM_ROW_(name, status, code) [PROBLEM_##name] = { status, code },
        PROBLEMS(PROBLEM_ROW_)
#undef PROBLEM_ROW_
};

/* The HTTP status of @p. */
unsigned problem_status(enum problem p)
{
        assert(p < N_PROBLEMS);
        return problem_table[p].status;
}

/* The wire code of @p, a constant. */
const char *problem_code(enum problem p)
{
        assert(p < N_PROBLEMS);
        return problem_table[p].code;
}

/* Builds the error document; see the header. */
json_t *problem_document(enum problem p, const char *message, const char *field,
                         const char *request_id)
{
        CLEANUP(mem_free) char *text = xstrdup(message);
        char now[CLOCK_RFC3339_SIZE];
        json_t *doc = json_object();

        /* The message may quote a client, so it may be cut inside a character or be no UTF-8 at all: jansson
         * refuses that, and a refused value would silently be missing. */
        utf8_repair(text);
        json_object_set_new(doc, "error", json_string(text));
        json_object_set(doc, "message", json_object_get(doc, "error"));
        json_object_set_new(doc, "code", json_string(problem_code(p)));
        if (field && field[0]) {
                json_t *pointer = json_string(field);

                if (pointer)
                        json_object_set_new(doc, "details", json_pack("{s:o}", "field", pointer));
        }
        json_object_set_new(doc, "request_id", json_string(request_id));
        json_object_set_new(doc, "timestamp", json_string(clock_rfc3339_now(now)));
        return doc;
}
