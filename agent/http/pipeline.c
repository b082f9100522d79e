/* SPDX-License-Identifier: Apache-2.0 */

/* What every request goes through before its body is looked at: route → token → limits → body. What comes then is in
 * dispatch.c.
 *
 * A refusal is an answer like any other, given as early as the facts are known. When the client is still sending
 * a small body, that body is read and thrown away first, so that the connection can be used again; a large one is
 * not waited for: the answer goes out at once and the connection is closed. */

#include "agent/http/request_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/str.h"
#include "agent/http/body_private.h"
#include "agent/http/connection.h"
#include "agent/http/idempotency_request.h"
#include "agent/http/refusal.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/http/upgrade_private.h"
#include "agent/metrics.h"

static const char *header(const struct request *req, const char *name)
{
        return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

static bool is_sane_id(const char *id)
{
        size_t size = strlen(id);

        if (size == 0 || size > LIMIT_REQUEST_ID)
                return false;
        for (; *id; id++)
                if (*id <= ' ' || *id > '~' || *id == '"' || *id == '\\')
                        return false;
        return true;
}

static void adopt_request_id(struct request *req)
{
        const char *id = header(req, "X-Request-ID");

        if (id && is_sane_id(id))
                memcpy(req->id, id, strlen(id) + 1);
}

/* The length that the client announced: true and *ret, or false when it did not (chunked, or no body). */
static bool announced_size(const struct request *req, uint64_t *ret)
{
        const char *length = header(req, "Content-Length");

        return length && str_parse_u64(length, ret) == 0;
}

static bool has_chunked_body(const struct request *req)
{
        return header(req, "Transfer-Encoding") != NULL;
}

/* See request_private.h. */
bool request_can_drain(const struct request *req)
{
        uint64_t size = 0;

        /* With Expect it waits for our word before it sends anything; a chunked body may have any size. */
        if (req->is_framing_bad || header(req, "Expect") || has_chunked_body(req))
                return false;
        return !announced_size(req, &size) || size <= LIMIT_DRAIN_BYTES;
}

struct framing {
        unsigned n_lengths;
        unsigned n_encodings;
        bool has_blank; /* in a header's name: whoever ignores it reads another message than we do */
};

static enum MHD_Result count_framing(void *cls, enum MHD_ValueKind kind, const char *name,
                                     size_t name_size, const char *value, size_t value_size)
{
        struct framing *f = cls;

        (void)kind;
        (void)value;
        (void)value_size;
        f->n_lengths += str_equal_nocase(name, "Content-Length");
        f->n_encodings += str_equal_nocase(name, "Transfer-Encoding");
        f->has_blank = f->has_blank || memchr(name, ' ', name_size) ||
                       memchr(name, '\t', name_size);
        return MHD_YES;
}

/* Where a body ends must be beyond doubt: two answers are how requests are smuggled past a proxy. */
static int check_framing(struct request *req)
{
        struct framing f = { 0 };
        const char *why = NULL;

        MHD_get_connection_values_n(req->conn, MHD_HEADER_KIND, count_framing, &f);
        if (f.has_blank)
                why = "white space in the name of a header";
        else if (f.n_lengths + f.n_encodings > 1)
                why = "more than one Content-Length or Transfer-Encoding";
        else if (f.n_encodings > 0 &&
                 !str_equal_nocase(header(req, "Transfer-Encoding"), "chunked"))
                why = "Transfer-Encoding: only 'chunked' is understood";
        if (!why)
                return 0;
        req->is_framing_bad = true;
        return request_fail(req, PROBLEM_INVALID_REQUEST, "%s", why);
}

static int check_target(struct request *req, const char *version)
{
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(
                req->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        int n_query = MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, NULL, NULL);

        if (req->is_target_long)
                return request_fail(req, PROBLEM_URI_TOO_LONG,
                                    "the request target is longer than %zu bytes", LIMIT_URI_BYTES);
        if (info && info->header_size > LIMIT_HEADER_BYTES)
                return request_fail(req, PROBLEM_HEADERS_TOO_LARGE,
                                    "the headers have %zu bytes, at most %zu are read",
                                    info->header_size, LIMIT_HEADER_BYTES);
        if (req->is_target_bad || req->path[0] != '/')
                return request_fail(req, PROBLEM_INVALID_PATH, "the request target is not a path");
        if (n_query > LIMIT_QUERY_PARAMETERS)
                return request_fail(req, PROBLEM_INVALID_REQUEST,
                                    "%d query parameters, at most %d are read", n_query,
                                    LIMIT_QUERY_PARAMETERS);
        if (str_equal(version, "HTTP/1.1") && !header(req, "Host"))
                return request_fail(req, PROBLEM_INVALID_REQUEST, "HTTP/1.1 needs a Host header");
        if (header(req, "Expect") && !str_equal_nocase(header(req, "Expect"), "100-continue"))
                return request_fail(req, PROBLEM_EXPECTATION_FAILED,
                                    "Expect: only '100-continue' is understood");
        return check_framing(req);
}

static bool cors_is_on(const struct request *req)
{
        char *const *origins = server_options(req->server)->cors_origins;

        return origins && origins[0];
}

/* A browser asks what it may send; the answer's origin headers are response.c's. */
static void answer_preflight(struct request *req)
{
        const char *headers = header(req, "Access-Control-Request-Headers");

        request_set_header(req, "Access-Control-Allow-Methods",
                           "GET, HEAD, POST, PUT, PATCH, DELETE");
        request_set_header(req, "Access-Control-Allow-Headers",
                           headers ? headers : "Authorization, Content-Type, X-Request-ID");
        request_set_header(req, "Access-Control-Max-Age", "600");
        request_reply_bytes(req, 204, NULL, "", 0);
}

static void refuse_method(struct request *req)
{
        char allow[64] = "";

        for (unsigned i = 0; i < req->match.n_allowed; i++) {
                const char *name = http_method_name(req->match.allowed[i]);
                size_t used = strlen(allow);

                snprintf(allow + used, sizeof(allow) - used, "%s%s%s", used ? ", " : "", name,
                         req->match.allowed[i] == HTTP_GET ? ", HEAD" : "");
        }
        request_set_header(req, "Allow", allow);
        request_fail(req, PROBLEM_METHOD_NOT_ALLOWED, "%.32s is not allowed here; allowed: %s",
                     req->method, allow);
}

static void check_route(struct request *req)
{
        router_match(server_router(req->server), req->method, req->path, &req->match);
        for (unsigned i = 0; i < req->match.n_parameters; i++)
                req->parameters[i] = xstrndup(req->match.parameters[i].value,
                                              req->match.parameters[i].value_size);
        if (req->match.route && req->match.route->body == BODY_STREAM)
                body_new(req);
        if (req->match.route)
                return;
        if (cors_is_on(req) && str_equal(req->method, "OPTIONS") && header(req, "Origin"))
                answer_preflight(req);
        else if (req->match.n_allowed > 0)
                refuse_method(req);
        else
                request_fail(
                        req, PROBLEM_NOT_FOUND,
                        "this agent has no endpoint %.16s %.200s; GET /info lists those it has",
                        req->method, log_quote(req->path));
}

static bool needs_token(const struct request *req)
{
        switch (req->match.route->auth) {
        case AUTH_NONE:
                return false;
        case AUTH_INFO:
                return !server_options(req->server)->public_info;
        case AUTH_JWT:
                break;
        }
        return true;
}

static void check_token(struct request *req)
{
        CLEANUP(mem_free) char *bearer = NULL;
        const char *authorization = header(req, "Authorization");
        const char *why = NULL;
        const struct server_environment *e = server_environment(req->server);
        enum auth_result result;

        if (!needs_token(req))
                return;
        if (!authorization && (req->match.route->flags & ROUTE_UPGRADE)) {
                bearer = upgrade_bearer(req);
                authorization = bearer;
        }
        /* Pages can open WebSockets to anywhere; with a subprotocol they need no consent of ours to do so. */
        if (bearer && !upgrade_is_origin_allowed(req)) {
                request_fail(req, PROBLEM_ORIGIN_NOT_ALLOWED,
                             "Origin: pages of %.100s may not use this agent (option cors-origin)",
                             log_quote(header(req, "Origin")));
                return;
        }
        result = auth_check(e->auth, authorization, clock_realtime_s(), &req->principal, &why);
        e->metrics->refused_tokens += result != AUTH_OK;
        switch (result) {
        case AUTH_OK:
                return;
        case AUTH_MISSING:
                request_set_header(req, "WWW-Authenticate", "Bearer");
                request_fail(
                        req, PROBLEM_UNAUTHENTICATED,
                        "Authentication required: send an 'Authorization: Bearer <token>' header");
                return;
        case AUTH_EXPIRED:
                request_set_header(req, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
                request_fail(req, PROBLEM_TOKEN_EXPIRED, "Invalid or expired token: token expired");
                return;
        case AUTH_INVALID:
                break;
        }
        log_info("token refused", "id=%s reason=%s", req->id, log_quote(why ? why : "?"));
        request_set_header(req, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
        request_fail(req, PROBLEM_INVALID_TOKEN, "Invalid or expired token");
}

/* See request.h. */
bool request_has_token(const struct request *req)
{
        struct principal ignored;
        const char *why = NULL;

        return needs_token(req) ||
               auth_check(server_environment(req->server)->auth, header(req, "Authorization"),
                          clock_realtime_s(), &ignored, &why) == AUTH_OK;
}

/* Who needs no token is nobody's concern here: a health check must not use up what its sandbox has. */
static void check_rate(struct request *req)
{
        const struct server_options *o = server_options(req->server);
        char seconds[24];

        if (o->rate_limit == 0 || !needs_token(req) ||
            rates_take(server_rates(req->server), req->principal.subject, o->rate_limit,
                       &req->rate))
                return;
        (void)snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)req->rate.retry_s);
        server_environment(req->server)->metrics->refused_rate++;
        request_set_header(req, "Retry-After", seconds);
        request_fail(req, PROBLEM_LIMIT_REACHED,
                     "more than %llu requests in a minute (option rate-limit); try again in %s s",
                     (unsigned long long)o->rate_limit, seconds);
}

static uint64_t max_body(const struct request *req)
{
        const struct server_options *o = server_options(req->server);

        switch (req->match.route->body) {
        case BODY_NONE:
                return LIMIT_DRAIN_BYTES;
        case BODY_STREAM:
                return o->max_upload > 0 ? o->max_upload : UINT64_MAX;
        case BODY_JSON:
                break;
        }
        return o->max_body;
}

static void check_limits(struct request *req)
{
        const struct server_options *o = server_options(req->server);
        uint64_t size = 0;

        if (server_is_draining(req->server)) {
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                return;
        }
        if (req->match.route->auth != AUTH_NONE &&
            server_n_requests(req->server) > o->max_requests) {
                request_set_header(req, "Retry-After", "1");
                request_fail(req, PROBLEM_LIMIT_REACHED,
                             "%llu requests are being handled already; try again",
                             (unsigned long long)o->max_requests);
                return;
        }
        req->body.max = (size_t)MIN(max_body(req), (uint64_t)SIZE_MAX);
        if (announced_size(req, &size) && size > req->body.max)
                request_fail(req, PROBLEM_TOO_LARGE,
                             "the body has %llu bytes, at most %zu are accepted",
                             (unsigned long long)size, req->body.max);
        else if (req->match.route->flags & ROUTE_UPGRADE)
                upgrade_check(req);
}

static enum MHD_Result find_packed(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
        const char **packed = cls;

        (void)kind;
        if (str_equal_nocase(name, "Content-Encoding") && value && *value &&
            !str_equal_nocase(value, "identity"))
                *packed = value;
        return MHD_YES;
}

/* What is packed would be stored as it is, and be no JSON. */
static void check_encoding(struct request *req)
{
        const char *packed = NULL;
        uint64_t size;

        if (!has_chunked_body(req) && (!announced_size(req, &size) || size == 0))
                return;
        MHD_get_connection_values(req->conn, MHD_HEADER_KIND, find_packed, &packed);
        if (!packed)
                return;
        request_set_header(req, "Accept-Encoding", "identity");
        request_fail(req, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                     "Content-Encoding: %.64s is not understood here; send the body as it is",
                     log_quote(packed));
}

static void expect_body(struct request *req)
{
        uint64_t size = server_options(req->server)->max_body;

        if (!announced_size(req, &size) && !has_chunked_body(req))
                return;
        /* Whole seconds per 64 KiB on top: a slow link may take its time over a large body. */
        connection_expect(req->connection,
                          server_options(req->server)->body_timeout_ms + size / (64 * KIB) * 1000);
}

/* The path of a target in absolute form, which servers must accept too: "http://host/path". */
static const char *skip_authority(const char *target)
{
        const char *path;

        if (!str_has_prefix(target, "http://") && !str_has_prefix(target, "https://"))
                return target;
        path = strchr(strstr(target, "://") + 3, '/');
        return path ? path : "/";
}

/* See request_private.h. */
void request_begin(struct request *req, const char *method, const char *path, const char *version)
{
        static void (*const checks[])(struct request *) = { check_route,    check_token,
                                                            check_rate,     check_limits,
                                                            check_encoding, idempotency_check };

        connection_expect(req->connection, 0);
        req->method = xstrdup(method);
        req->path = xstrdup(skip_authority(path));
        req->is_http_1_0 = str_equal(version, "HTTP/1.0");
        adopt_request_id(req);

        check_target(req, version);
        for (unsigned i = 0; i < ARRAY_LEN(checks) && req->state == REQUEST_HEADERS; i++)
                checks[i](req);
        if (req->state == REQUEST_HEADERS)
                request_set_state(req, REQUEST_BODY);
        else
                req->discards_body = true;
        if (!req->upload)
                expect_body(req);
}

/* See request_private.h. */
bool request_feed(struct request *req, const char *data, size_t size)
{
        char message[128];
        int r;

        if (req->discards_body) {
                req->discarded += size;
                return req->discarded <= LIMIT_DRAIN_BYTES;
        }
        r = buf_append(&req->body, data, size);
        if (r == 0)
                return true;

        /* Only a chunked body can be too large here: an announced size was checked before. */
        snprintf(message, sizeof(message), "the body is larger than the accepted %zu bytes",
                 req->body.max);
        if (r == -EFBIG)
                refusal_send(req, PROBLEM_TOO_LARGE, message);
        else
                refusal_send(req, PROBLEM_UNAVAILABLE, "no memory for the body");
        return false;
}
