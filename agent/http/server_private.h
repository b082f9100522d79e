/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The server as the rest of agent/http sees it. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/list.h"

struct idempotency;
struct rates;
struct router;
struct server;
struct server_environment;
struct server_options;

const struct server_options *server_options(const struct server *s);
const struct server_environment *server_environment(const struct server *s);
const struct router *server_router(const struct server *s);
struct idempotency *server_idempotency(const struct server *s);
struct rates *server_rates(const struct server *s);
bool server_is_draining(const struct server *s);
void server_add_request(struct server *s, struct list *link);
void server_remove_request(struct server *s, struct list *link);
/* Request objects in memory. */
uint64_t server_n_requests(const struct server *s);
/* MHD has something to do: it is run before the loop waits again. */
void server_wake(struct server *s);
