/* SPDX-License-Identifier: Apache-2.0 */

/* Errors. Most of them come before any handler, and are known from a route's row; the others are in its documentation.
 * What one status may mean is a component of its own, named after its codes, because most routes have the same. */

#include "agent/openapi_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/str.h"

/* What is said, for instance. */
static const char *const messages[N_PROBLEMS] = {
        [PROBLEM_INVALID_JSON] = "'}' expected near end of file, line 1, column 17",
        [PROBLEM_INVALID_REQUEST] = "timeout: expected a number, got a string",
        [PROBLEM_MISSING_PARAMETER] = "code: required",
        [PROBLEM_INVALID_PATH] = "the request target is not a path",
        [PROBLEM_WORKDIR_NOT_FOUND] = "workdir: there is no directory /workspace/app",
        [PROBLEM_RUNTIME_NOT_AVAILABLE] = "go is not installed here",
        [PROBLEM_COMMAND_NOT_FOUND] = "there is no program nmpp",
        [PROBLEM_COMMAND_NOT_EXECUTABLE] = "/workspace/build.sh is not executable",
        [PROBLEM_UNAUTHENTICATED] =
                "Authentication required: send an 'Authorization: Bearer <token>' header",
        [PROBLEM_INVALID_TOKEN] = "Invalid or expired token",
        [PROBLEM_TOKEN_EXPIRED] = "Invalid or expired token: token expired",
        [PROBLEM_ORIGIN_NOT_ALLOWED] =
                "Origin: pages of https://example.com may not use this agent (option cors-origin)",
        [PROBLEM_PATH_NOT_ALLOWED] = "/etc/shadow is outside of the paths that are allowed",
        [PROBLEM_PERMISSION_DENIED] = "/workspace/root.txt: Permission denied",
        [PROBLEM_NOT_FOUND] = "there is no such thing",
        [PROBLEM_TERMINAL_NOT_FOUND] = "there is no terminal build",
        [PROBLEM_PROCESS_NOT_FOUND] = "there is no process exec_6f1c0a2e",
        [PROBLEM_FILE_NOT_FOUND] = "/workspace/app.py: there is no such file",
        [PROBLEM_DIRECTORY_NOT_FOUND] = "/workspace/src: there is no such directory",
        [PROBLEM_METHOD_NOT_ALLOWED] = "PATCH is not allowed here; allowed: GET, HEAD",
        [PROBLEM_REQUEST_TIMEOUT] = "the request did not arrive in time",
        [PROBLEM_PROCESS_NOT_RUNNING] = "the process has ended",
        [PROBLEM_FILE_ALREADY_EXISTS] = "/workspace/app.py exists already",
        [PROBLEM_DIRECTORY_NOT_EMPTY] = "/workspace/src is not empty",
        [PROBLEM_FILE_BUSY] = "/workspace/app.py was changed by somebody else meanwhile",
        [PROBLEM_TEXT_NOT_FOUND] = "old: is not in the file",
        [PROBLEM_TEXT_NOT_UNIQUE] = "old: is in the file 3 times",
        [PROBLEM_IDEMPOTENCY_TOO_LARGE] =
                "what was done with this Idempotency-Key had a result that was too large to keep",
        [PROBLEM_PRECONDITION_FAILED] = "the file is another one than If-Match names",
        [PROBLEM_TOO_LARGE] = "the body has 67108865 bytes, at most 67108864 are accepted",
        [PROBLEM_URI_TOO_LONG] = "the request target is longer than 16384 bytes",
        [PROBLEM_UNSUPPORTED_MEDIA_TYPE] =
                "Content-Encoding: gzip is not understood here; send the body as it is",
        [PROBLEM_RANGE_NOT_SATISFIABLE] = "Range: the file has 9 bytes",
        [PROBLEM_EXPECTATION_FAILED] = "Expect: only '100-continue' is understood",
        [PROBLEM_IDEMPOTENCY_REUSED] =
                "Idempotency-Key: was used before, for a request with another body",
        [PROBLEM_UPGRADE_REQUIRED] =
                ("/terminal is a WebSocket endpoint: it needs GET with the headers "
                 "'Connection: Upgrade' and 'Upgrade: websocket'"),
        [PROBLEM_HEADERS_TOO_LARGE] = "the headers have 40000 bytes, at most 32768 are read",
        [PROBLEM_LIMIT_REACHED] = "1024 requests are being handled already; try again",
        [PROBLEM_INTERNAL] = "internal error",
        [PROBLEM_FILE_OPERATION_FAILED] = "/workspace/app.py: Input/output error",
        [PROBLEM_NO_SPACE] = "/workspace/app.py: No space left on device",
        [PROBLEM_HTTP_VERSION] = "only HTTP/1.0 and HTTP/1.1 are spoken here",
        [PROBLEM_UNAVAILABLE] = "the agent is shutting down",
};

/* clang-format off */
static const struct shape details_shape[] = {
        S_STRING("field", .optional = true, .example = "\"/timeout\"",
                 .doc = "A JSON pointer to the member or parameter that is wrong"),
        S_STRING("path", .optional = true, .example = "\"src/app.py\"",
                 .doc = "Of files: which path, as it was asked for"),
        S_STRING("entry", .optional = true, .example = "\"src/lib/a.so\"",
                 .doc = "Of files: what below the path has failed"),
        S_ANY   ("result", .optional = true, .example = "{\"exit_code\":0}",
                 .doc = "IDEMPOTENCY_RESULT_TOO_LARGE: the small members of the result"),
        S_END
};

static const struct shape error_shape[] = {
        S_STRING("error", .doc = "What is wrong, for people"),
        S_STRING("message", .doc = "The same sentence"),
        S_STRING("code", .doc = "The same, for programs"),
        S_STRING("request_id", .doc = "As the header X-Request-ID"),
        S_TIME  ("timestamp", .doc = "When it was answered"),
        S_STRING("path", .optional = true, .doc = "Of files: which path, as it was asked for"),
        S_OBJECT("details", details_shape, .optional = true, .doc = "More for programs; depends on the code"),
        S_INTEGER("retry_after", .optional = true, .doc = "Seconds to wait; only with the option rate-limit"),
        S_END
};
/* clang-format on */

/* See the header. */
json_t *openapi_problem_schema(void)
{
        json_t *schema = schema_of_shape(error_shape, NULL);
        json_t *code = json_object_get(json_object_get(schema, "properties"), "code");
        json_t *codes = json_array();

        for (int p = 0; p < N_PROBLEMS; p++)
                json_array_append_new(codes, json_string(problem_code((enum problem)p)));
        json_object_set_new(code, "enum", codes);
        return schema;
}

static const char *field_of(enum problem p)
{
        switch (p) {
        case PROBLEM_INVALID_REQUEST:
                return "/timeout";
        case PROBLEM_MISSING_PARAMETER:
                return "/code";
        default:
                return NULL;
        }
}

/* See the header. */
json_t *openapi_problem_example(enum problem p)
{
        json_t *example = problem_document(p, messages[p] ? messages[p] : "", field_of(p),
                                           "req_0b5d9d3f");

        json_object_set_new(example, "timestamp", json_string("2026-01-28T09:30:00.000Z"));
        return example;
}

/* --- which a route has --- */

static void mark(bool *set, const enum problem *problems, size_t n)
{
        for (size_t i = 0; i < n; i++)
                set[problems[i]] = true;
}

static bool has_required(const struct json_field *args)
{
        for (; args && args->type != JSON_FIELD_END; args++)
                if (args->required)
                        return true;
        return false;
}

#define MARK(set, ...)                                     \
        mark((set), (const enum problem[]){ __VA_ARGS__ }, \
             sizeof((const enum problem[]){ __VA_ARGS__ }) / sizeof(enum problem))

/* What agent/http answers by itself. */
static void mark_pipeline(bool *set, const struct route *r)
{
        MARK(set, PROBLEM_INVALID_REQUEST, PROBLEM_INVALID_PATH, PROBLEM_REQUEST_TIMEOUT,
             PROBLEM_TOO_LARGE, PROBLEM_URI_TOO_LONG, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
             PROBLEM_EXPECTATION_FAILED, PROBLEM_HEADERS_TOO_LARGE, PROBLEM_INTERNAL,
             PROBLEM_UNAVAILABLE, PROBLEM_HTTP_VERSION);
        if (r->auth != AUTH_NONE)
                MARK(set, PROBLEM_UNAUTHENTICATED, PROBLEM_INVALID_TOKEN, PROBLEM_TOKEN_EXPIRED,
                     PROBLEM_LIMIT_REACHED);
        if (r->body == BODY_JSON)
                MARK(set, PROBLEM_INVALID_JSON);
        if (has_required(r->args) || (r->doc && r->doc->parts))
                MARK(set, PROBLEM_MISSING_PARAMETER);
        if (r->flags & ROUTE_UPGRADE)
                MARK(set, PROBLEM_UPGRADE_REQUIRED, PROBLEM_ORIGIN_NOT_ALLOWED);
        if (r->flags & ROUTE_IDEMPOTENT)
                MARK(set, PROBLEM_IDEMPOTENCY_REUSED, PROBLEM_IDEMPOTENCY_TOO_LARGE);
}

/* "INVALID_JSON" as "InvalidJson". */
static void append_camel(char *name, size_t size, const char *code)
{
        size_t n = strlen(name);
        bool is_first = true;

        for (; *code && n + 1 < size; code++) {
                if (*code != '_')
                        name[n++] = is_first || *code < 'A' || *code > 'Z' ? *code
                                                                           : (char)(*code | 0x20);
                is_first = *code == '_';
        }
        name[n] = '\0';
}

/* A component for the problems of @set that have @status, and its name. */
static json_t *describe_status(const bool *set, unsigned status, char *name, size_t name_size)
{
        json_t *codes = json_array(), *examples = json_object();
        const char *separator = "";

        name[0] = '\0';
        for (int i = 0; i < N_PROBLEMS; i++) {
                enum problem p = (enum problem)i;

                if (!set[i] || problem_status(p) != status)
                        continue;
                append_camel(name, name_size, separator);
                append_camel(name, name_size, problem_code(p));
                separator = "Or";
                json_array_append_new(codes, json_string(problem_code(p)));
                json_object_set_new(examples, problem_code(p),
                                    json_pack("{s:o}", "value", openapi_problem_example(p)));
        }
        return json_pack("{s:s,s:o,s:{s:{s:{s:s,s:{s:{s:o}}},s:o}}}", "description",
                         status < 500 ? "Refused" : "Failed", "headers",
                         openapi_response_headers(NULL, status), "content", "application/json",
                         "schema", "$ref", OPENAPI_SCHEMAS "Error", "properties", "code", "enum",
                         codes, "examples", examples);
}

/* Some routes have answers of their own with the status of an error. */
static void add_to_reply(json_t *response, const json_t *component)
{
        json_t *content = json_object_get(component, "content");

        openapi_add_media(response, "application/json",
                          json_incref(json_object_get(content, "application/json")));
}

static void add_status(struct openapi *o, const bool *set, unsigned status, json_t *responses)
{
        char name[512], key[16];
        json_t *component = describe_status(set, status, name, sizeof(name));
        CLEANUP(mem_free) char *reference = xasprintf(OPENAPI_RESPONSES "%s", name);
        json_t *reply;

        (void)snprintf(key, sizeof(key), "%u", status);
        reply = json_object_get(responses, key);
        if (reply) {
                add_to_reply(reply, component);
        } else {
                json_object_set_new(responses, key, json_pack("{s:s}", "$ref", reference));
                if (!json_object_get(o->responses, name))
                        json_object_set(o->responses, name, component);
        }
        json_decref(component);
}

/* See the header. */
void openapi_add_problems(struct openapi *o, const struct route *r, json_t *responses)
{
        bool set[N_PROBLEMS] = { false };

        mark_pipeline(set, r);
        for (const enum problem *p = r->doc ? r->doc->problems : NULL; p && *p != N_PROBLEMS; p++)
                set[*p] = true;
        for (unsigned status = 400; status < 600; status++)
                for (int p = 0; p < N_PROBLEMS; p++)
                        if (set[p] && problem_status((enum problem)p) == status) {
                                add_status(o, set, status, responses);
                                break;
                        }
}
