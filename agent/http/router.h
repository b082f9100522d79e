/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The route table's row, and finding the row for a request. */

#include <stddef.h>

#include "agent/base/error.h"
#include "agent/json/field.h"

struct request;
struct route_doc;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, N_HTTP_METHODS };

enum route_auth {
        AUTH_NONE, /* open to everybody */
        AUTH_INFO, /* open unless public-info is off */
        AUTH_JWT,
};

enum route_body {
        BODY_NONE, /* a small body is read and ignored */
        BODY_JSON, /* an object; empty counts as {} */
        BODY_STREAM, /* anything, up to the option max-upload; the handler reads it (agent/http/body.h) */
};

enum {
        ROUTE_HEARTBEAT =
                1 << 0, /* may be silent for long: white space keeps the connection alive */
        ROUTE_UPGRADE =
                1 << 1, /* a WebSocket: its handshake is checked before the handler is called */
        ROUTE_IDEMPOTENT =
                1
                << 2, /* with an Idempotency-Key it is done once; all arguments are in path and body */
};

struct route {
        enum http_method method;
        const char *path; /* a segment "{name}" matches any and is a path parameter */
        int (*handler)(struct request *req);
        const struct json_field *args; /* NULL: takes no arguments */
        size_t args_size;
        enum route_auth auth;
        enum route_body body;
        unsigned flags;
        const char *summary;
        const struct route_doc *doc; /* what it answers (route_doc.h) */
};

#define ROUTE_MAX_PARAMETERS 4

struct route_match {
        const struct route *route; /* NULL: see n_allowed */
        enum http_method
                allowed[N_HTTP_METHODS]; /* methods the path has, when the method did not fit */
        unsigned n_allowed;              /* 0: no such path */
        struct {
                const char *name; /* inside route->path, not terminated */
                size_t name_size;
                const char *value; /* inside the request's path, not terminated */
                size_t value_size;
        } parameters[ROUTE_MAX_PARAMETERS];
        unsigned n_parameters;
};

struct router;

/* @routes (a table of @n rows) must outlive the router. -EEXIST: two rows match the same requests; -EINVAL: a
 * malformed path. Both are bugs of the table; the message names the row. */
int router_new(const struct route *routes, size_t n, struct router **ret, struct error *err);
struct router *router_free(struct router *r);

/* @method is the request's method name; HEAD is served by GET. */
void router_match(const struct router *r, const char *method, const char *path,
                  struct route_match *ret);

const char *http_method_name(enum http_method m);
