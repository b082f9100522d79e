/* SPDX-License-Identifier: Apache-2.0 */

/* The document as a whole. openapi_operation.c has what one route is asked, openapi_responses.c what it answers,
 * openapi_problems.c the errors, openapi_tables.c the names of tables. */

#include "agent/openapi.h"

#include <ctype.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/openapi_private.h"
#include "agent/routes.h"
#include "build_config.h"

#define INTRODUCTION                                                                            \
        "Runs code and commands in a sandbox, for remote clients.\n\n"                          \
        "Bodies are JSON objects in UTF-8. Members that are not known here are ignored; null "  \
        "for an optional member means the same as none. Texts have no NUL characters, except "  \
        "source code and input. Lengths of texts are meant in bytes of UTF-8; as there is no "  \
        "other word for it, the schemas say them in characters.\n\n"                            \
        "Every answer has an `X-Request-ID`, which the agent's log has, too. Answers may have " \
        "more members in later versions."

static const struct {
        const char *name;
        const char *doc;
} tags[] = {
        { "agent", "Who answers here, and how it is doing" },
        { "execute", "Running code, at once and in the background" },
        { "commands", "Running commands of a shell" },
        { "stream", "Other names of `/execute/stream`" },
        { "processes", "The system's processes" },
        { "env", "Variables for all that is started" },
        { "files", "Reading, writing, searching and watching files" },
        { "cache", "Results that are kept" },
        { "terminal", "Interactive shells" },
        { "terminals", "Interactive shells that are open" },
        { "metrics", "Numbers for operators" },
        { "system", "The machine" },
        { "jupyter", "Jupyter kernels, of which this agent runs none" },
        { "console", "A page for browsers" },
};

static json_t *describe_tags(void)
{
        json_t *list = json_array();

        for (size_t i = 0; i < ARRAY_LEN(tags); i++)
                json_array_append_new(list, json_pack("{s:s,s:s}", "name", tags[i].name,
                                                      "description", tags[i].doc));
        return list;
}

static json_t *describe_info(void)
{
        return json_pack("{s:s,s:s,s:s,s:{s:s,s:s}}", "title", "vm-agent", "version",
                         VM_AGENT_VERSION, "description", INTRODUCTION, "license", "name",
                         "Apache License 2.0", "identifier", "Apache-2.0");
}

static json_t *describe_parameters(void)
{
        return json_pack(
                "{s:{s:s,s:s,s:s,s:{s:s},s:s},s:{s:s,s:s,s:s,s:{s:s,s:s},s:s}}", "RequestId",
                "name", "X-Request-ID", "in", "header", "description",
                "A name for this request, which its answer and the agent's log have; up to 128 "
                "printable characters, no quotes. Instead of others one is made up.",
                "schema", "type", "string", "example", "req-7f3a", "IdempotencyKey", "name",
                "Idempotency-Key", "in", "header", "description",
                "A name for what is to be done, up to 255 printable characters. Requests with "
                "the same key, endpoint, token's subject and body are done once, and get the "
                "same answer.",
                "schema", "type", "string", "pattern", "^[!-~]{1,255}$", "example",
                "b7e2f9c0-build-42");
}

static json_t *header(const char *type, const char *doc, json_t *example)
{
        return json_pack("{s:s,s:{s:s},s:o}", "description", doc, "schema", "type", type, "example",
                         example);
}

static json_t *describe_headers(void)
{
        return json_pack(
                "{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "RequestId",
                header("string", "The request's own X-Request-ID, or one that was made up",
                       json_string("req_0b5d9d3f")),
                "RateLimit",
                header("integer", "Requests per minute; only with the option rate-limit",
                       json_integer(300)),
                "RateRemaining",
                header("integer", "Requests that may come at once now; with the option rate-limit",
                       json_integer(299)),
                "RateReset",
                header("integer",
                       "Unix time from which on all of them may; with the option rate-limit",
                       json_integer(1769592600)),
                "RetryAfter", header("integer", "Seconds to wait", json_integer(1)), "Authenticate",
                header("string", "The kind of token that is wanted", json_string("Bearer")),
                "Replayed",
                header("string",
                       "Only if the request with this Idempotency-Key was done before: what it "
                       "was answered",
                       json_string("true")),
                "Upgrade",
                header("string", "What is spoken here, unless only its version was wrong",
                       json_string("websocket")),
                "ContentRange",
                header("string", "How many bytes there are", json_string("bytes */9")));
}

static json_t *describe_security(void)
{
        return json_pack("{s:{s:s,s:s,s:s,s:s}}", "bearer", "type", "http", "scheme", "bearer",
                         "bearerFormat", "JWT", "description",
                         "A token as `vm-agent token` prints it. Pages in a browser, which cannot "
                         "set headers of a WebSocket, may offer it as a subprotocol: "
                         "`bearer.<token>`.");
}

static char *lower(const char *text)
{
        char *copy = xstrdup(text);

        for (char *p = copy; *p; p++)
                *p = (char)tolower((unsigned char)*p);
        return copy;
}

/* The operations of one path after the other; a path's methods in the order of the table. */
static json_t *describe_paths(struct openapi *o)
{
        json_t *paths = json_object();

        for (size_t i = 0; i < o->n_routes; i++) {
                const struct route *r = &o->routes[i];
                json_t *path = json_object_get(paths, r->path);
                CLEANUP(mem_free) char *method = lower(http_method_name(r->method));

                if (!path) {
                        path = json_object();
                        json_object_set_new(paths, r->path, path);
                }
                json_object_set_new(path, method, openapi_operation(o, r));
        }
        return paths;
}

/* See the header. */
json_t *openapi_document(const struct route *table, size_t n)
{
        struct openapi o = { .routes = table, .n_routes = n };
        json_t *paths, *document;

        o.tables = openapi_tables_new(table, n);
        o.schemas = json_object();
        o.responses = json_object();
        json_object_set_new(o.schemas, "Error", openapi_problem_schema());
        openapi_tables_describe(o.tables, o.schemas);
        paths = describe_paths(&o);
        openapi_tables_free(o.tables);

        document = json_pack("{s:s,s:o,s:[{s:s,s:s}],s:o,s:o,s:{s:o,s:o,s:o,s:o,s:o}}", "openapi",
                             "3.1.0", "info", describe_info(), "servers", "url",
                             "http://localhost:7777", "description",
                             "Where the agent listens if nothing else was configured", "tags",
                             describe_tags(), "paths", paths, "components", "schemas", o.schemas,
                             "responses", o.responses, "parameters", describe_parameters(),
                             "headers", describe_headers(), "securitySchemes", describe_security());
        return document;
}

/* See the header. */
void openapi_print(FILE *out)
{
        json_t *document = openapi_document(routes, n_routes);

        (void)json_dumpf(document, out, JSON_INDENT(2) | OPENAPI_DUMP);
        fputc('\n', out);
        json_decref(document);
}
