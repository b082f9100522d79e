/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The request object from inside agent/http: nobody else may include this. docs/ARCHITECTURE.md draws the
 * states and lists the invariants (R1 … R9) that the comments here and in request.c name. */

#include <stdbool.h>
#include <stdint.h>

#include <microhttpd.h>

#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/http/idempotency.h"
#include "agent/http/rate.h"
#include "agent/http/reply.h"
#include "agent/http/request.h"
#include "agent/http/router.h"

struct body;
struct connection;
struct file;
struct idempotency_entry;
struct server;
struct stream;
struct upgrade_ops;

enum request_state {
        REQUEST_HEADERS,  /* the request line was seen */
        REQUEST_BODY,     /* headers are checked; the body arrives or is being parsed */
        REQUEST_RUNNING,  /* the handler was called and an answer is owed */
        REQUEST_REPLYING, /* one answer was accepted */
        REQUEST_UPGRADED, /* the answer was 101, and somebody else has taken the connection */
        REQUEST_GONE,     /* nobody is listening any more */
        REQUEST_DONE,     /* the HTTP library has forgotten it; conn is NULL */
};

struct request {
        unsigned refs;
        enum request_state state;
        struct server *server;
        struct list link; /* server's requests */
        struct MHD_Connection *conn;
        struct connection *connection;

        char id[LIMIT_REQUEST_ID + 1];
        char *method; /* as the client wrote it */
        char *path;   /* decoded */
        bool is_target_bad;
        bool is_target_long;
        bool is_http_1_0;
        bool is_framing_bad; /* nobody can tell where the body ends */
        struct route_match match;
        char *parameters[ROUTE_MAX_PARAMETERS]; /* of the path, as strings */
        struct principal principal;
        struct rate rate; /* what it is told of its rate; a limit of 0: nothing */
        uint64_t started_us;

        struct buf body;
        bool discards_body;
        bool is_dispatched; /* the body was handed to the parser */
        uint64_t discarded;
        json_t *json;
        void *args;

        const char *idempotency_key; /* in the headers, so as long as conn; NULL: none */
        uint8_t body_digest[IDEMPOTENCY_DIGEST]; /* with a key */
        struct idempotency_entry *claim;   /* its answer is wanted even when the client has left */
        struct idempotency_entry *awaited; /* whose answer will be the answer */
        struct list waiter;                /* awaited's; holds a reference */

        bool is_suspended;
        void (*cancel)(void *arg);
        void *cancel_arg;

        struct reply reply;
        bool is_answered;         /* the answer has been given, but is being encoded */
        unsigned refused_status;  /* of an answer that went past MHD; 0: none did */
        bool is_queued;           /* a response was given to the HTTP library */
        uint64_t heartbeat_at_ms; /* next white space; 0: none planned */
        bool is_early;            /* the header goes out before the answer is known */
        unsigned spaces;          /* white space waiting to be sent */
        uint64_t sent;            /* bytes of body */

        const struct upgrade_ops *upgrade; /* owed one of its calls; NULL: none */
        void *upgrade_arg;

        struct body *upload;   /* of a route with BODY_STREAM; NULL: the others' is in body */
        struct stream *stream; /* the answer's body comes from there; NULL: it is in reply */
        struct file *file;     /* likewise */
};

/* request.c */
struct request *request_new(struct server *s, struct MHD_Connection *conn,
                            struct connection *connection, const char *raw_target);
void request_set_state(struct request *req, enum request_state state);
/* Waits without a thread: MHD forgets the connection until request_wake. Only from inside one of MHD's callbacks for
 * this connection. */
void request_suspend(struct request *req);
void request_wake(struct request *req);
/* The client has left, or must be treated so. What others may come back for goes on. */
void request_gone(struct request *req);
/* The agent stops: that goes on no longer either. */
void request_cancel(struct request *req);
/* MHD has reported the end of the request: drops its reference. */
void request_completed(struct request *req);

/* pipeline.c */
/* Headers are complete: route, token, limits. */
void request_begin(struct request *req, const char *method, const char *path, const char *version);
/* Takes a piece of the body. False: too much even to throw away; the connection must be closed. */
bool request_feed(struct request *req, const char *data, size_t size);
/* Whether a refused request's body is small enough to be read, so that the connection survives. */
bool request_can_drain(const struct request *req);

/* access.c */
/* What MHD's access handler does for a request. */
enum MHD_Result request_access(struct request *req, const char *method, const char *url,
                               const char *version, const char *data, size_t *size);

/* dispatch.c */
/* The body is complete: parse, decode, call the handler. */
void request_dispatch(struct request *req);

/* response.c */
/* True while an answer is wanted: by the client, or by those who have sent the same request. A second answer is a bug
 * (R4). */
bool request_wants_reply(const struct request *req);
/* The answer is in req->reply. */
void request_accept_reply(struct request *req);
/* Queues what is known to MHD: the answer, or its header when the answer is still owed. */
enum MHD_Result request_queue_response(struct request *req);
/* The headers that let pages of other origins read the answer; @add(@arg) is called for each. */
void request_cors_headers(struct request *req,
                          void (*add)(void *arg, const char *name, const char *value), void *arg);
/* Those that tell how many requests its subject may still make. */
void request_rate_headers(struct request *req,
                          void (*add)(void *arg, const char *name, const char *value), void *arg);
/* The next sign of life is due: white space, or what a stream has for it. */
void request_heartbeat(struct request *req, uint64_t now_ms);
