/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The agent's terminals: GET /terminal opens one or comes back to one, GET /terminals lists them, DELETE
 * /terminals/{name} ends one. */

#include <stdint.h>

#include "agent/json/field.h"

struct request;
struct route_doc;
struct terminals;

/* All of them; one instance, which struct app points to. */
struct terminals *terminals_new(void);
/* Ends every session, those that wait for their client too: the agent stops. Calls @on_ended when there is none left,
 * at once or later. */
void terminals_end(struct terminals *t, void (*on_ended)(void *arg), void *arg);
uint64_t terminals_count(const struct terminals *t);
/* When all processes have ended. */
struct terminals *terminals_free(struct terminals *t);

struct terminal_args {
        const char *session; /* NULL: a terminal that ends with its connection */
        uint64_t since;
        bool has_since;
        uint64_t cols, rows;
        bool has_cols, has_rows;
        const char *cwd;
        const char *shell;
        const char *command;
};

struct terminals_name_args {
        const char *name;
};

extern const struct json_field terminal_args[];
extern const struct json_field terminals_name_args[];

int terminal_get(struct request *req);
extern const struct route_doc terminal_get_doc;
int terminals_get(struct request *req);
extern const struct route_doc terminals_get_doc;
int terminals_name_delete(struct request *req);
extern const struct route_doc terminals_name_delete_doc;
