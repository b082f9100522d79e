/* SPDX-License-Identifier: Apache-2.0 */

/* What one route is asked: its name, parameters and body; and what a WebSocket takes and sends. */

#include "agent/openapi_private.h"

#include <ctype.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"

/* POST /execute/kill/{id} is execute_kill_id_post, as a handler would be called. */
static char *operation_id(const struct route *r)
{
        const char *path = r->path[1] ? r->path : "/root";
        char *id = xasprintf("%s_%s", path + 1, http_method_name(r->method));
        size_t n = 0;

        for (const char *p = id; *p; p++) {
                bool is_word = isalnum((unsigned char)*p);

                if (is_word)
                        id[n++] = (char)tolower((unsigned char)*p);
                else if (n > 0 && id[n - 1] != '_')
                        id[n++] = '_';
        }
        id[n] = '\0';
        return id;
}

static json_t *tag(const struct route *r)
{
        size_t size = strcspn(r->path + 1, "/");
        const char *dot = memchr(r->path + 1, '.', size);

        /* What there is one of each is about the agent itself. */
        if (size == 0 || dot || str_equal(r->path, "/ping") || str_equal(r->path, "/health") ||
            str_equal(r->path, "/info"))
                return json_string("agent");
        return json_stringn(r->path + 1, size);
}

/* --- parameters --- */

static json_t *parameter(const struct json_field *f, const char *name, const char *doc)
{
        json_t *schema = schema_of_field(f);
        json_t *p = json_pack("{s:s,s:s}", "name", name, "in", f->in == IN_PATH ? "path" : "query");

        if (doc)
                json_object_set_new(p, "description", json_string(doc));
        if (f->in == IN_PATH || (f->required && !f->alias))
                json_object_set_new(p, "required", json_true());
        json_object_del(schema, "description");
        json_object_del(schema, "examples");
        json_object_set_new(p, "schema", schema);
        if (f->example || f->required)
                json_object_set_new(p, "example", example_of_field(f));
        return p;
}

static void add_field(json_t *list, const struct json_field *f)
{
        CLEANUP(mem_free) char *doc = NULL;
        CLEANUP(mem_free) char *second = NULL;
        json_t *p;

        if (f->alias && f->required)
                doc = xasprintf("%s%sThis or `%s` must be there.", f->doc ? f->doc : "",
                                f->doc ? ". " : "", f->alias);
        json_array_append_new(list, parameter(f, f->name, doc ? doc : f->doc));
        if (!f->alias)
                return;
        second = xasprintf("Another name of `%s`; not both", f->name);
        p = parameter(f, f->alias, second);
        json_object_del(p, "example");
        json_array_append_new(list, p);
}

static void add_headers(json_t *list, const struct route *r)
{
        for (const struct route_header *h = r->doc ? r->doc->headers : NULL; h && h->name; h++) {
                json_t *p = json_pack("{s:s,s:s,s:{s:s}}", "name", h->name, "in", "header",
                                      "schema", "type", "string");

                if (h->doc)
                        json_object_set_new(p, "description", json_string(h->doc));
                if (h->example)
                        json_object_set_new(p, "example", json_string(h->example));
                json_array_append_new(list, p);
        }
}

static json_t *parameters(const struct route *r)
{
        json_t *list = json_array();

        for (const struct json_field *f = r->args; f && f->type != JSON_FIELD_END; f++)
                if (f->in != IN_BODY)
                        add_field(list, f);
        add_headers(list, r);
        if (r->flags & ROUTE_IDEMPOTENT)
                json_array_append_new(
                        list, json_pack("{s:s}", "$ref", "#/components/parameters/IdempotencyKey"));
        json_array_append_new(list,
                              json_pack("{s:s}", "$ref", "#/components/parameters/RequestId"));
        return list;
}

/* --- the body --- */

static void add_part(json_t *schema, json_t *example, const struct route_part *part)
{
        json_t *list = json_pack("{s:s,s:o,s:I}", "type", "array", "items",
                                 schema_of_fields(part->args, IN_BODY), "maxItems",
                                 (json_int_t)part->max);
        json_t *required = json_object_get(schema, "required");

        if (part->doc)
                json_object_set_new(list, "description", json_string(part->doc));
        json_object_set_new(json_object_get(schema, "properties"), part->name, list);
        if (!required) {
                required = json_array();
                json_object_set_new(schema, "required", required);
        }
        json_array_append_new(required, json_string(part->name));
        json_object_set_new(example, part->name,
                            json_pack("[o]", example_of_fields(part->args, IN_BODY)));
}

/* Tables that several routes have get a name. */
static json_t *name_schema(struct openapi *o, const struct route *r, json_t *schema)
{
        const struct route *first = NULL;
        CLEANUP(mem_free) char *place = NULL;
        CLEANUP(mem_free) char *name = NULL;
        CLEANUP(mem_free) char *reference = NULL;
        unsigned n = 0;

        for (size_t i = 0; i < o->n_routes; i++) {
                if (o->routes[i].args != r->args || o->routes[i].body != BODY_JSON)
                        continue;
                first = first ? first : &o->routes[i];
                n++;
        }
        if (n < 2)
                return schema;
        place = openapi_camel(first->path);
        name = xasprintf("%sRequest", place);
        reference = xasprintf(OPENAPI_SCHEMAS "%s", name);
        json_object_set_new(o->schemas, name, schema);
        return json_pack("{s:s}", "$ref", reference);
}

static json_t *json_body(struct openapi *o, const struct route *r)
{
        json_t *schema = schema_of_fields(r->args, IN_BODY);
        json_t *example = example_of_fields(r->args, IN_BODY);
        bool is_required;

        for (const struct route_part *p = r->doc ? r->doc->parts : NULL; p && p->name; p++)
                add_part(schema, example, p);
        is_required = json_object_get(schema, "required") || json_object_get(schema, "allOf");
        if (r->doc && r->doc->example) {
                json_decref(example);
                example = json_loads(r->doc->example, JSON_DECODE_ANY, NULL);
        }
        return json_pack("{s:b,s:{s:{s:o,s:o*}}}", "required", is_required, "content",
                         "application/json", "schema", name_schema(o, r, schema), "example",
                         example);
}

static json_t *stream_body(const struct route *r)
{
        static const struct route_content bytes[] = { { .type = "application/octet-stream" },
                                                      { 0 } };
        const struct route_content *c = r->doc && r->doc->contents ? r->doc->contents : bytes;
        json_t *content = json_object();
        json_t *body = json_object();

        for (; c->type; c++) {
                json_t *schema = c->body ? schema_of_shape(c->body, NULL) : json_object();

                if (c->doc)
                        json_object_set_new(schema, "description", json_string(c->doc));
                json_object_set_new(content, c->type, json_pack("{s:o}", "schema", schema));
        }
        json_object_set_new(body, "content", content);
        return body;
}

/* --- WebSockets --- */

static json_t *message(struct openapi *o, const struct route_message *m, const char *type)
{
        struct schema_names names = openapi_tables_names(o->tables);
        json_t *schema = m->body ? schema_of_shape(m->body, &names)
                                 : schema_of_fields(m->args, IN_BODY);
        json_t *properties = json_object_get(schema, "properties");
        json_t *required = json_object_get(schema, "required");

        if (json_object_get(properties, type))
                return schema;
        json_object_set_new(properties, type, json_pack("{s:s}", "const", m->type));
        if (!required) {
                required = json_array();
                json_object_set_new(schema, "required", required);
        }
        json_array_insert_new(required, 0, json_string(type));
        return schema;
}

/* See the header. */
json_t *openapi_messages(struct openapi *o, const struct route_doc *doc)
{
        json_t *client = json_array();
        json_t *server = json_array();

        for (const struct route_message *m = doc->messages; m->type; m++) {
                const char *type = !m->body && doc->member ? doc->member : "type";
                json_t *one = json_pack("{s:s,s:o}", "name", m->type, "schema",
                                        message(o, m, type));

                if (m->doc)
                        json_object_set_new(one, "description", json_string(m->doc));
                json_array_append_new(m->body ? server : client, one);
        }
        return json_pack("{s:o,s:o}", "client", client, "server", server);
}

/* --- all of it --- */

static json_t *security(const struct route *r)
{
        switch (r->auth) {
        case AUTH_NONE:
                break;
        case AUTH_INFO: /* with and without */
                return json_pack("[{},{s:[]}]", "bearer");
        case AUTH_JWT:
                return json_pack("[{s:[]}]", "bearer");
        }
        return json_array();
}

/* See the header. */
json_t *openapi_operation(struct openapi *o, const struct route *r)
{
        CLEANUP(mem_free) char *id = operation_id(r);
        json_t *operation = json_pack("{s:[o],s:s,s:s}", "tags", tag(r), "operationId", id,
                                      "summary", r->summary);

        if (r->doc && r->doc->description)
                json_object_set_new(operation, "description", json_string(r->doc->description));
        json_object_set_new(operation, "security", security(r));
        json_object_set_new(operation, "parameters", parameters(r));
        if (r->body == BODY_JSON)
                json_object_set_new(operation, "requestBody", json_body(o, r));
        else if (r->body == BODY_STREAM)
                json_object_set_new(operation, "requestBody", stream_body(r));
        json_object_set_new(operation, "responses", openapi_responses(o, r));
        if (r->doc && r->doc->messages)
                json_object_set_new(operation, "x-websocket", openapi_messages(o, r->doc));
        return operation;
}
