/* SPDX-License-Identifier: Apache-2.0 */

/* The OpenAPI document: of a table that is made for this, and of the agent's own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/openapi.h"
#include "agent/routes.h"

struct args {
        const char *id;
        const char *query;
        uint64_t size;
};

/* clang-format off */
static const struct json_field args[] = {
        F_STRING(struct args, id, .in = IN_PATH, .required = true, .min = 1),
        F_STRING(struct args, query, .in = IN_QUERY, .alias = "q", .example = "\"x\""),
        F_UINT(struct args, size, .required = true, .max = 9, .example = "4"),
        F_END
};

static const struct shape part_shape[] = { S_STRING("name"), S_END };
static const struct shape thing_shape[] = { S_OBJECT("part", part_shape), S_END };
static const struct shape things_shape[] = {
        S_LIST("things", S_ITEM_OF(SHAPE_OBJECT, thing_shape)),
        S_END
};

static const struct route_doc thing_doc = {
        .description = "More of it",
        .replies = (const struct route_reply[]){
                { 200, NULL, thing_shape, "One" },
                { 200, "text/plain", NULL, "Its name" },
                { 503, NULL, part_shape, "A part of it" },
                { 0 },
        },
        .problems = (const enum problem[]){ PROBLEM_NOT_FOUND, N_PROBLEMS },
};

static const struct route_doc things_doc = {
        .replies = (const struct route_reply[]){ { 200, NULL, things_shape, "All" }, { 0 } },
};

static const struct route_doc socket_doc = {
        .replies = (const struct route_reply[]){ { 101, NULL, NULL, "A WebSocket" }, { 0 } },
        .messages = (const struct route_message[]){
                { .type = "say", .args = args, .doc = "Says it" },
                { .type = "said", .body = part_shape },
                { .type = NULL },
        },
};

static const struct route_header stream_headers[] = {
        { "X-Place", "Where it begins", "7" },
        { 0 },
};

static const struct route_doc stream_doc = {
        .replies = (const struct route_reply[]){
                { 200, "application/x-ndjson", thing_shape, "Lines" },
                { 200, "application/x-ndjson", part_shape, "The last of them", stream_headers },
                { 200, "text/event-stream", part_shape, "Events" },
                { 200, "application/x-lines; charset=utf-8", NULL, "Text" },
                { 200, "application/octet-stream", NULL, "Bytes" },
                { 0 },
        },
};

static const struct route table[] = {
        { HTTP_GET, "/things", NULL, NULL, 0, AUTH_NONE, BODY_NONE, 0, "All things", &things_doc },
        { HTTP_PUT, "/things/{id}", NULL, args, sizeof(struct args), AUTH_JWT, BODY_JSON, ROUTE_IDEMPOTENT, "Put it",
          &thing_doc },
        { HTTP_GET, "/socket", NULL, NULL, 0, AUTH_INFO, BODY_NONE, ROUTE_UPGRADE, "Talk", &socket_doc },
        { HTTP_POST, "/other", NULL, NULL, 0, AUTH_JWT, BODY_STREAM, 0, "Unknown", NULL },
        { HTTP_GET, "/stream", NULL, NULL, 0, AUTH_JWT, BODY_NONE, 0, "All of it", &stream_doc },
};
/* clang-format on */

static int setup(void **state)
{
        *state = openapi_document(table, ARRAY_LEN(table));
        return 0;
}

static int teardown(void **state)
{
        json_decref(*state);
        return 0;
}

/* What is at @path, of names with blanks between them; a digit is a place in a list. NULL: nothing. */
static const json_t *at(const json_t *value, const char *path)
{
        char name[128];

        while (*path && value) {
                size_t size = strcspn(path, " ");

                assert_true(size < sizeof(name));
                memcpy(name, path, size);
                name[size] = '\0';
                value = json_is_array(value) ? json_array_get(value, (size_t)(name[0] - '0'))
                                             : json_object_get(value, name);
                path += size + (path[size] == ' ');
        }
        return value;
}

static const char *text_at(const json_t *value, const char *path)
{
        const char *text = json_string_value(at(value, path));

        return text ? text : "";
}

static void test_operations(void **state)
{
        const json_t *put = at(*state, "paths /things/{id} put");

        assert_string_equal(text_at(put, "operationId"), "things_id_put");
        assert_string_equal(text_at(put, "tags 0"), "things");
        assert_string_equal(text_at(put, "summary"), "Put it");
        assert_string_equal(text_at(put, "description"), "More of it");
        assert_non_null(at(put, "security 0 bearer"));
        assert_int_equal(json_array_size(at(*state, "paths /things get security")), 0);
        assert_int_equal(json_array_size(at(*state, "paths /socket get security")), 2);
}

static void test_parameters(void **state)
{
        const json_t *list = at(*state, "paths /things/{id} put parameters");

        assert_string_equal(text_at(list, "0 name"), "id");
        assert_string_equal(text_at(list, "0 in"), "path");
        assert_true(json_is_true(at(list, "0 required")));
        assert_string_equal(text_at(list, "1 name"), "query");
        assert_string_equal(text_at(list, "1 example"), "x");
        assert_null(at(list, "1 required"));
        assert_string_equal(text_at(list, "2 name"), "q");
        assert_string_equal(text_at(list, "3 $ref"), "#/components/parameters/IdempotencyKey");
        assert_string_equal(text_at(list, "4 $ref"), "#/components/parameters/RequestId");
}

static void test_bodies(void **state)
{
        const json_t *body = at(*state, "paths /things/{id} put requestBody");

        assert_true(json_is_true(at(body, "required")));
        assert_non_null(at(body, "content application/json schema properties size"));
        assert_null(at(body, "content application/json schema properties id"));
        assert_int_equal(json_integer_value(at(body, "content application/json example size")), 4);
        assert_non_null(
                at(*state, "paths /other post requestBody content application/octet-stream"));
        assert_null(at(*state, "paths /things get requestBody"));
}

static void test_answers(void **state)
{
        const json_t *answers = at(*state, "paths /things/{id} put responses");

        assert_string_equal(text_at(answers, "200 description"), "One\n\nIts name");
        assert_string_equal(text_at(answers, "200 content text/plain schema type"), "string");
        /* What is used twice has a name. */
        assert_string_equal(text_at(answers, "200 content application/json schema $ref"),
                            "#/components/schemas/ThingsThings");
        assert_non_null(at(*state, "components schemas ThingsThings properties part"));
        assert_string_equal(text_at(*state, "components schemas ThingsThings properties part $ref"),
                            "#/components/schemas/ThingsThingsPart");
        assert_non_null(at(*state, "paths /things get responses 200 content application/json "
                                   "schema properties things"));
        /* A row without any documents an object of which nothing is known. */
        assert_string_equal(text_at(*state, "paths /other post responses 200 content "
                                            "application/json schema type"),
                            "object");
}

static void test_errors(void **state)
{
        const json_t *answers = at(*state, "paths /things/{id} put responses");
        const json_t *components = at(*state, "components responses");
        const json_t *open = at(*state, "paths /things get responses");

        assert_string_equal(text_at(answers, "404 $ref"), "#/components/responses/NotFound");
        assert_string_equal(text_at(components, "NotFound content application/json schema "
                                                "properties code enum 0"),
                            "NOT_FOUND");
        assert_string_equal(text_at(components, "NotFound content application/json examples "
                                                "NOT_FOUND value code"),
                            "NOT_FOUND");
        assert_non_null(at(components, "RateLimitExceeded headers Retry-After"));
        assert_non_null(at(answers, "401"));
        assert_non_null(at(answers, "422"));
        assert_non_null(at(answers, "429"));
        assert_null(at(open, "401"));
        assert_null(at(open, "404"));
        assert_null(at(open, "429"));
        assert_non_null(at(open, "503"));
        /* Its own answer with a status that errors have as well. */
        assert_int_equal(json_array_size(at(answers, "503 content application/json schema anyOf")),
                         2);
        assert_non_null(at(*state, "paths /socket get responses 426"));
}

static void test_messages(void **state)
{
        const json_t *messages = at(*state, "paths /socket get x-websocket");

        assert_string_equal(text_at(messages, "client 0 name"), "say");
        assert_string_equal(text_at(messages, "client 0 schema properties type const"), "say");
        assert_string_equal(text_at(messages, "client 0 schema required 0"), "type");
        assert_non_null(at(messages, "client 0 schema properties size"));
        assert_string_equal(text_at(messages, "server 0 name"), "said");
        assert_non_null(at(messages, "server 0 schema properties name"));
}

/* What stands in lines or events is no schema of the whole: that is text without end. */
static void test_streams(void **state)
{
        const json_t *answer = at(*state, "paths /stream get responses 200");
        const json_t *lines = at(answer, "content application/x-ndjson");
        const json_t *events = at(answer, "content text/event-stream");

        assert_int_equal(json_array_size(at(lines, "x-item-schema anyOf")), 2);
        assert_string_equal(text_at(lines, "x-item-schema anyOf 0 $ref"),
                            "#/components/schemas/ThingsThings");
        assert_null(at(lines, "schema"));
        assert_string_equal(text_at(events, "x-item-schema $ref"),
                            "#/components/schemas/ThingsThingsPart");
        assert_null(at(events, "schema"));
        assert_string_equal(text_at(answer, "content application/octet-stream schema type"), "");
        assert_string_equal(text_at(json_object_get(at(answer, "content"),
                                                    "application/x-lines; charset=utf-8"),
                                    "schema type"),
                            "string");
}

static void test_headers(void **state)
{
        const json_t *headers = at(*state, "paths /stream get responses 200 headers");

        assert_string_equal(text_at(headers, "X-Place description"), "Where it begins");
        assert_string_equal(text_at(headers, "X-Place schema type"), "string");
        assert_string_equal(text_at(headers, "X-Place example"), "7");
        assert_string_equal(text_at(headers, "X-Request-ID $ref"),
                            "#/components/headers/RequestId");
}

/* Two documents of one table are the same, byte by byte. */
static void test_order(void **state)
{
        json_t *other = openapi_document(table, ARRAY_LEN(table));
        char *a = json_dumps(*state, 0), *b = json_dumps(other, 0);

        assert_string_equal(a, b);
        free(a);
        free(b);
        json_decref(other);
}

static void check_example(const char *example, const char *where)
{
        json_t *parsed = example ? json_loads(example, JSON_DECODE_ANY, NULL) : NULL;

        if (example && !parsed)
                fail_msg("%s: the example is no JSON: %s", where, example);
        json_decref(parsed);
}

static void check_fields(const struct json_field *f, const char *where)
{
        for (; f && f->type != JSON_FIELD_END; f++)
                check_example(f->example, where);
}

static void check_shape(const struct shape *s, const char *where, unsigned depth)
{
        for (; s && s->type != SHAPE_END && depth > 0; s++) {
                const struct shape *item = s;

                check_example(s->example, where);
                while (item && (item->type == SHAPE_LIST || item->type == SHAPE_MAP))
                        item = item->of;
                if (!item)
                        fail_msg("%s: %s has no items", where, s->name);
                else if (item->type == SHAPE_OBJECT)
                        check_shape(item->of, where, depth - 1);
        }
}

/* Every route of the agent says what it answers, and all examples are JSON. */
static void test_routes_have_documentation(void **state)
{
        (void)state;
        for (size_t i = 0; i < n_routes; i++) {
                const struct route *r = &routes[i];

                if (!r->doc || !r->doc->replies)
                        fail_msg("%s %s: no documentation", http_method_name(r->method), r->path);
                check_fields(r->args, r->path);
                check_example(r->doc->example, r->path);
                for (const struct route_reply *a = r->doc->replies; a->status; a++)
                        check_shape(a->body, r->path, 8);
                if ((r->flags & ROUTE_UPGRADE) && !r->doc->messages)
                        fail_msg("%s: a WebSocket without messages", r->path);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_operations, setup, teardown),
                cmocka_unit_test_setup_teardown(test_parameters, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
                cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
                cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
                cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_order, setup, teardown),
                cmocka_unit_test(test_routes_have_documentation),
        };

        return cmocka_run_group_tests_name("openapi", tests, NULL, NULL);
}
