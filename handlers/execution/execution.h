/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An execution that a request waits for: one run, its output, and one answer. */

#include <stdbool.h>

#include <jansson.h>

#include "agent/http/problem.h"

struct document;
struct execution;
struct process;
struct request;
struct run_spec;

/* Starts it and arranges the answer, of which "@label_name": "@label" is one member. What is pointed to lives in the
 * request's arguments, or is a constant. Returns what a handler returns. */
int execution_start(struct request *req, const struct run_spec *spec, const char *label_name,
                    const char *label);

/* For those who give the answer themselves, as to several requests: exactly one of these is called, once. */
struct execution_ops {
        /* As in struct run_ops. The execution is gone. */
        void (*on_failed)(void *arg, enum problem p, const char *field, const char *message);
        /* It stays until execution_free. */
        void (*on_end)(void *arg, struct execution *ex);
};

/* The same, but nothing is answered to @req, whose arguments are used, and when its client leaves nothing happens.
 * *ret is set before anything can be called. */
void execution_start_for(struct request *req, const struct run_spec *spec, const char *label_name,
                         const char *label, const struct execution_ops *ops, void *arg,
                         struct execution **ret);
/* Makes it end soon. */
void execution_cancel(struct execution *ex);
/* After on_end. Returns NULL. */
struct execution *execution_free(struct execution *ex);

/* The following are for one that has ended. */

/* A new answer. @marks (an object; takes it; may be NULL) replace the time stamp. */
struct document *execution_document(const struct execution *ex, json_t *marks);
/* It was a success, and all of its output is in the answer. */
bool execution_is_complete(const struct execution *ex);
