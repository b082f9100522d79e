/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* One HTTP request, as handlers see it: refcounted, so that it may safely outlive its client, and with exactly
 * one answer. The states and invariants are drawn in docs/ARCHITECTURE.md. */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "agent/auth.h"
#include "agent/base/error.h"
#include "agent/http/problem.h"

struct app;
struct document;
struct request;
struct route;

/* Every asynchronous operation that stores the pointer holds a reference. */
struct request *request_ref(struct request *req);
struct request *request_unref(struct request *req); /* returns NULL */

/* The decoded arguments of the route's field table; valid as long as the request. */
const void *request_args(const struct request *req);
/* The body they were decoded from, an object; NULL on routes that take none. Valid as long as the request, and with a
 * reference of one's own for longer; it may be read on any thread, but not changed. */
const json_t *request_body(const struct request *req);
/* Did the request bring a token that is good, or would none be needed anywhere? Also tells for routes that are open to
 * all. Only while the handler runs. */
bool request_has_token(const struct request *req);
struct app *request_app(const struct request *req);
const char *request_id(const struct request *req);
const struct route *request_route(const struct request *req);
/* The value of the request's header @name (the first, if there are several), or NULL when it has none. Only while the
 * handler runs: afterwards the client may have left, and its headers with it. */
const char *request_header(const struct request *req, const char *name);

/* Which requests are one and the same to their clients: those with the same id, and the same body if they are meant. */
struct request_repeat {
        char id[65]; /* a digest of endpoint, token's subject and Idempotency-Key, in hexadecimal */
        char body[65]; /* one of the body */
};

/* False: the request has no Idempotency-Key (see ROUTE_IDEMPOTENT). For handlers whose work outlives the kept answer:
 * only while the handler runs. What it answers to a repeat, with the header Idempotency-Replayed, is not kept. */
bool request_repeat(const struct request *req, struct request_repeat *ret);
/* Fails a repeat that has another body than the first one with its id had. */
int request_fail_reused(struct request *req);

/* @fn(@arg) is called at most once: when the client leaves, or the agent shuts down, before the answer. It must
 * make the operation end soon; an answer given after it is swallowed. When the request has an Idempotency-Key (see
 * ROUTE_IDEMPOTENT) the client may leave without it: it may come back for the answer. */
void request_on_cancel(struct request *req, void (*fn)(void *arg), void *arg);

/* The answer: exactly one of these, once. All return 0, so that a handler can `return request_fail(…)`. After the
 * client has gone they free what they took and do nothing. */
int request_reply_json(struct request *req, unsigned status, json_t *body); /* takes body */
int request_reply_document(struct request *req, unsigned status,
                           struct document *body); /* takes body */
int request_reply_bytes(struct request *req, unsigned status, const char *type, const void *data,
                        size_t size);
/* Takes @data (from malloc; may be NULL when @size is 0). */
int request_reply_text(struct request *req, unsigned status, const char *type, char *data,
                       size_t size);
int request_fail(struct request *req, enum problem p, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* As request_fail, and blames the input field @field, a JSON pointer. */
int request_fail_field(struct request *req, enum problem p, const char *field, const char *fmt, ...)
        PRINTF_LIKE(4, 5);

/* Adds a header to the answer that has not been given yet. @name is a constant; @value is copied. */
void request_set_header(struct request *req, const char *name, const char *value);
