/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Requests that carry an Idempotency-Key, on routes with ROUTE_IDEMPOTENT. The first one with a key claims an entry of
 * the store; later ones wait for its answer, or get the one that was kept. */

#include <stdbool.h>

struct document;
struct request;

/* Headers are complete: notes the key, or refuses it. */
void idempotency_check(struct request *req);
/* Arguments are complete, and there is a key. True: it is the first, call the handler. False: it has its answer, or
 * will get it. */
bool idempotency_admit(struct request *req);

/* A request with a claim was answered by req->reply: everybody who waits gets the same. */
void idempotency_settle(struct request *req);
/* The same for a large document, which becomes the answer later; takes @body. Returns 0. */
int idempotency_settle_document(struct request *req, unsigned status, struct document *body);
/* The request is being freed: if it had a claim, there will be no answer. */
void idempotency_abandon(struct request *req);
