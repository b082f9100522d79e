/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a route answers, for the OpenAPI document and the tests. Its arguments say the rest (json/field.h). */

#include "agent/http/problem.h"
#include "agent/json/shape.h"

/* One form of an answer that is no error. */
struct route_reply {
        unsigned status;          /* 0 ends a list */
        const char *type;         /* of its content; NULL: application/json */
        const struct shape *body; /* NULL: not JSON, or nothing at all */
        const char *doc;
};

/* A message on a WebSocket. */
struct route_message {
        const char *type;              /* the value of its "type"; NULL ends a list */
        const struct shape *body;      /* of what we send; the fields beside "type" */
        const struct json_field *args; /* of what we are sent, likewise */
        const char *doc;
};

struct route_doc {
        const char *description;           /* Markdown; more than the summary, or NULL */
        const struct route_reply *replies; /* ends with an empty one */
        const enum problem *
                problems; /* of its own, N_PROBLEMS ends the list; those that come before any handler
                                              (token, limits, body, arguments) are known from the row */
        const char *example; /* of the request's body, as JSON; NULL: made up from the arguments */
        const struct route_message *messages; /* of a WebSocket; NULL: none */
};
