/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of the document have in common. */

#include <stddef.h>

#include <jansson.h>

#include "agent/http/route_doc.h"
#include "agent/http/router.h"
#include "agent/json/schema.h"

#define OPENAPI_DUMP      JSON_REAL_PRECISION(12) /* 0.001, and not 0.001000000000000000021 */
#define OPENAPI_SCHEMAS   "#/components/schemas/"
#define OPENAPI_RESPONSES "#/components/responses/"

/* Tables of answers that are used more than once have a name; see openapi_tables.c. */
struct openapi_tables;

struct openapi_tables *openapi_tables_new(const struct route *routes, size_t n);
struct openapi_tables *openapi_tables_free(struct openapi_tables *t);
/* For schema_of_shape; valid as long as @t. */
struct schema_names openapi_tables_names(struct openapi_tables *t);
/* The schemas of all tables that have names, as members of @schemas. */
void openapi_tables_describe(struct openapi_tables *t, json_t *schemas);
/* "FilesList" of "/files/list"; to be freed. */
char *openapi_camel(const char *text);

/* A document on its way. */
struct openapi {
        const struct route *routes;
        size_t n_routes;
        struct openapi_tables *tables;
        json_t *schemas;   /* borrowed, as the next one: of the components */
        json_t *responses; /* of errors; added when they are first used */
};

/* What requests of @r may be answered, by status: { "200": …, "400": … }. */
json_t *openapi_responses(struct openapi *o, const struct route *r);
/* Adds one more form of an answer; takes @media. */
void openapi_add_media(json_t *response, const char *type, json_t *media);
/* The errors among them, added to @responses. */
void openapi_add_problems(struct openapi *o, const struct route *r, json_t *responses);
/* The form of all errors, and an error of one kind. */
json_t *openapi_problem_schema(void);
json_t *openapi_problem_example(enum problem p);
/* Headers that answers to @r have; NULL: errors to anybody. */
json_t *openapi_response_headers(const struct route *r, unsigned status);

json_t *openapi_operation(struct openapi *o, const struct route *r);
/* Messages of a WebSocket, both ways. */
json_t *openapi_messages(struct openapi *o, const struct route_doc *doc);
