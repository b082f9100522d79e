/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a route answers, for the OpenAPI document and the tests. Its arguments say the rest (json/field.h). */

#include "agent/http/problem.h"
#include "agent/json/shape.h"

/* A header, of the request that the handler reads, or of its answer. */
struct route_header {
        const char *name; /* NULL ends a list */
        const char *doc;
        const char *example; /* as it is written */
};

/* One form of an answer that is no error. */
struct route_reply {
        unsigned status;          /* 0 ends a list */
        const char *type;         /* of its content; NULL: application/json */
        const struct shape *body; /* NULL: not JSON, or nothing at all */
        const char *doc;
        const struct route_header *headers; /* NULL: none but those that all answers may have */
};

/* A message on a WebSocket: with @body it is ours, with @args the client's. A table without rows will do. */
struct route_message {
        const char *type;         /* the value of its "type"; NULL ends a list */
        const struct shape *body; /* of what we send; the fields beside "type" */
        const struct json_field
                *args; /* of what we are sent, likewise; it may have its own "type" or "action" */
        const char *doc;
};

/* A form of a request's body that is not JSON. */
struct route_content {
        const char *type;         /* NULL ends a list */
        const struct shape *body; /* of multipart/form-data: its fields; NULL: bytes */
        const char *doc;
};

/* A member of a JSON body that is a list of objects, which no field of the arguments is. */
struct route_part {
        const char *name; /* NULL ends a list */
        const struct json_field *args;
        uint64_t max; /* of them */
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
        const char *member; /* of the client's messages, that has their type; NULL: "type" */
        const struct route_header
                *headers; /* NULL: none; X-Request-ID and Idempotency-Key are known */
        const struct route_content *contents; /* of the body of a route with BODY_STREAM */
        const struct route_part *parts;       /* of a JSON body; NULL: none */
};
