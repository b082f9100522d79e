/* SPDX-License-Identifier: Apache-2.0 */

/* What one route answers when all is well: the forms that its table has, put together by status and by type. */

#include "agent/openapi_private.h"

#include <stdio.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"

#define JSON_TYPE "application/json"

/* There is no word for it before OpenAPI 3.2. */
#define ITEM_SCHEMA "x-item-schema"

static void refer(json_t *headers, const char *name, const char *component)
{
        CLEANUP(mem_free) char *reference = xasprintf("#/components/headers/%s", component);

        json_object_set_new(headers, name, json_pack("{s:s}", "$ref", reference));
}

/* See the header. */
json_t *openapi_response_headers(const struct route *r, unsigned status)
{
        json_t *headers = json_object();

        refer(headers, "X-Request-ID", "RequestId");
        if (!r || r->auth != AUTH_NONE) {
                refer(headers, "X-RateLimit-Limit", "RateLimit");
                refer(headers, "X-RateLimit-Remaining", "RateRemaining");
                refer(headers, "X-RateLimit-Reset", "RateReset");
        }
        if (status == 429)
                refer(headers, "Retry-After", "RetryAfter");
        if (status == 401)
                refer(headers, "WWW-Authenticate", "Authenticate");
        if (status == 426)
                refer(headers, "Upgrade", "Upgrade");
        if (status == 416)
                refer(headers, "Content-Range", "ContentRange");
        if (r && (r->flags & ROUTE_IDEMPOTENT))
                refer(headers, "Idempotency-Replayed", "Replayed");
        return headers;
}

static bool is_json(const char *type)
{
        return str_equal(type, JSON_TYPE);
}

static bool is_text(const char *type)
{
        return str_has_prefix(type, "text/") || strstr(type, "charset=");
}

/* A body that is not JSON is a text of which the lines, or the events, are. */
static json_t *media_of(struct openapi *o, const struct route_reply *a, const char *type)
{
        struct schema_names names = openapi_tables_names(o->tables);
        const char *reference;
        json_t *schema;

        if (!a->body)
                return json_pack("{s:o}", "schema",
                                 is_text(type) ? json_pack("{s:s}", "type", "string")
                                               : json_object());
        reference = names.find(names.arg, a->body);
        schema = reference ? json_pack("{s:s}", "$ref", reference)
                           : schema_of_shape(a->body, &names);
        if (is_json(type))
                return json_pack("{s:o,s:o}", "schema", schema, "example",
                                 example_of_shape(a->body));
        return json_pack("{s:o}", ITEM_SCHEMA, schema);
}

static void add_schema(json_t *media, const json_t *other, const char *key)
{
        json_t *schema = json_object_get(media, key);
        json_t *second = json_object_get(other, key);
        json_t *any = json_object_get(schema, "anyOf");

        if (!schema || !second)
                return;
        if (!any) {
                any = json_pack("[O]", schema);
                json_object_set_new(media, key, json_pack("{s:O}", "anyOf", any));
                json_decref(any);
        }
        json_array_append(any, second);
}

/* A second body of the same type: it is one of them. Takes @other. */
static void add_alternative(json_t *media, json_t *other)
{
        add_schema(media, other, "schema");
        add_schema(media, other, ITEM_SCHEMA);
        json_decref(other);
}

/* See the header. */
void openapi_add_media(json_t *response, const char *type, json_t *media)
{
        json_t *content = json_object_get(response, "content");
        json_t *first = json_object_get(content, type);

        if (!content) {
                content = json_object();
                json_object_set_new(response, "content", content);
        }
        if (first)
                add_alternative(first, media);
        else
                json_object_set_new(content, type, media);
}

static void add_content(struct openapi *o, json_t *response, const struct route_reply *a)
{
        const char *type = a->type ? a->type : JSON_TYPE;

        if (a->type || a->body)
                openapi_add_media(response, type, media_of(o, a, type));
}

static void add_description(json_t *response, const char *doc)
{
        const char *before = json_string_value(json_object_get(response, "description"));
        CLEANUP(mem_free) char *text = NULL;

        if (!doc)
                return;
        text = before && before[0] ? xasprintf("%s\n\n%s", before, doc) : xstrdup(doc);
        json_object_set_new(response, "description", json_string(text));
}

static void add_headers(json_t *headers, const struct route_header *h)
{
        for (; h && h->name; h++) {
                json_t *header = json_pack("{s:s,s:{s:s}}", "description", h->doc, "schema", "type",
                                           "string");

                if (h->example)
                        json_object_set_new(header, "example", json_string(h->example));
                json_object_set_new(headers, h->name, header);
        }
}

static void add_reply(struct openapi *o, const struct route *r, const struct route_reply *a,
                      json_t *responses)
{
        char status[16];
        json_t *response;

        (void)snprintf(status, sizeof(status), "%u", a->status);
        response = json_object_get(responses, status);
        if (!response) {
                response = json_pack("{s:s,s:o}", "description", "", "headers",
                                     openapi_response_headers(r, a->status));
                json_object_set_new(responses, status, response);
        }
        add_description(response, a->doc);
        add_headers(json_object_get(response, "headers"), a->headers);
        add_content(o, response, a);
}

/* See the header. */
json_t *openapi_responses(struct openapi *o, const struct route *r)
{
        static const struct shape anything[] = { S_END };
        static const struct route_reply some_object[] = { { 200, NULL, anything, "Done" }, { 0 } };
        static const struct route_reply upgrade[] = {
                { 101, NULL, NULL, "A WebSocket from here on" }, { 0 }
        };
        const struct route_reply *a = r->doc ? r->doc->replies : NULL;
        json_t *responses = json_object();

        if (!a)
                a = r->flags & ROUTE_UPGRADE ? upgrade : some_object;
        for (; a->status > 0; a++)
                add_reply(o, r, a, responses);
        openapi_add_problems(o, r, responses);
        return responses;
}
