/* SPDX-License-Identifier: Apache-2.0 */

/* The second half of what every request goes through: body → arguments → handler. */

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
#include "agent/http/connection.h"
#include "agent/http/idempotency.h"
#include "agent/http/idempotency_request.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/json/decode.h"
#include "agent/loop/job.h"

static bool lookup_query(const struct request *req, const char *name, const char **ret,
                         size_t *ret_size)
{
        if (MHD_lookup_connection_value_n(req->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), ret,
                                          ret_size) != MHD_YES)
                return false;
        if (!*ret) { /* "?name" without a value */
                *ret = "";
                *ret_size = 0;
        }
        return true;
}

static bool lookup_path(const struct request *req, const char *name, const char **ret,
                        size_t *ret_size)
{
        for (unsigned i = 0; i < req->match.n_parameters; i++) {
                if (req->match.parameters[i].name_size != strlen(name) ||
                    memcmp(req->match.parameters[i].name, name, strlen(name)) != 0)
                        continue;
                *ret = req->parameters[i];
                *ret_size = req->match.parameters[i].value_size;
                return true;
        }
        return false;
}

static bool lookup(void *arg, enum field_in in, const char *name, const char **ret,
                   size_t *ret_size)
{
        const struct request *req = arg;

        return in == IN_QUERY ? lookup_query(req, name, ret, ret_size)
                              : lookup_path(req, name, ret, ret_size);
}

struct count {
        const struct json_field *field;
        unsigned n;
        const char *name; /* the last one that fits */
};

static enum MHD_Result count_names(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
        struct count *c = arg;
        bool is_name = str_equal_nocase(name, c->field->name); /* as they are looked up */

        (void)kind;
        (void)value;
        if (!is_name && (!c->field->alias || !str_equal_nocase(name, c->field->alias)))
                return MHD_YES;
        c->name = is_name ? c->field->name : c->field->alias;
        c->n++;
        return MHD_YES;
}

/* A parameter of the query that is given twice means two things, and only one would be done. The name, or NULL. */
static const char *find_repeated(const struct request *req)
{
        for (const struct json_field *f = req->match.route->args; f->type != JSON_FIELD_END; f++) {
                struct count c = { .field = f };

                if (f->in != IN_QUERY)
                        continue;
                MHD_get_connection_values(req->conn, MHD_GET_ARGUMENT_KIND, count_names, &c);
                if (c.n > 1)
                        return c.name;
        }
        return NULL;
}

/* Returns a negative errno when the request has been answered. */
static int decode_arguments(struct request *req)
{
        const struct route *route = req->match.route;
        struct json_source source = { .body = req->json, .lookup = lookup, .arg = req };
        struct error err = ERROR_INIT;
        const char *repeated = find_repeated(req);
        char field[sizeof(err.field)];
        int r;

        if (repeated) {
                (void)snprintf(field, sizeof(field), "/%s", repeated);
                request_fail_field(req, PROBLEM_INVALID_REQUEST, field,
                                   "%s: is in the query more than once", repeated);
                return -EINVAL;
        }
        req->args = xcalloc(1, route->args_size);
        r = json_decode(route->args, &source, req->args, route->args_size, &err);
        if (r < 0)
                request_fail_field(
                        req, r == -ENOKEY ? PROBLEM_MISSING_PARAMETER : PROBLEM_INVALID_REQUEST,
                        err.field, "%s", err.message);
        return r;
}

static void call_handler(struct request *req)
{
        const struct route *route = req->match.route;
        int r;

        /* The shutdown may have begun while the body arrived, or was parsed; what the handler needs may be gone. */
        if (server_is_draining(req->server)) {
                request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                return;
        }
        if (route->args && decode_arguments(req) < 0)
                return;

        request_set_state(req, REQUEST_RUNNING);
        if ((route->flags & ROUTE_HEARTBEAT) && !req->upload) /* else from the body's end on */
                req->heartbeat_at_ms = clock_now_ms() + server_options(req->server)->heartbeat_ms;
        if (req->idempotency_key && !idempotency_admit(req))
                return; /* what it asks for was done, or is being done */
        r = route->handler(req);
        if (r < 0 && req->state == REQUEST_RUNNING) {
                log_error("handler failed", "id=%s route=%s error=%s", req->id, route->path,
                          strerror(-r));
                request_fail(req, PROBLEM_INTERNAL, "internal error");
        }
}

static void take_json(struct request *req, int r, json_t *json, const struct error *err)
{
        if (r < 0) {
                request_fail(req, r == -ENOMEM ? PROBLEM_UNAVAILABLE : PROBLEM_INVALID_JSON, "%s",
                             err->message);
                return;
        }
        req->json = json;
        call_handler(req);
}

/* A large body is parsed by a worker: it may take tens of milliseconds. The worker sees the text alone (R9). */
struct parse_job {
        struct request *req; /* a reference; the worker does not touch it */
        char *data;
        size_t size;
        bool has_key; /* the digest is wanted, too */
        uint8_t digest[IDEMPOTENCY_DIGEST];
        json_t *json;
        struct error err;
        int r;
};

static void parse_job_run(void *arg)
{
        struct parse_job *job = arg;

        if (job->has_key)
                idempotency_digest(job->data, job->size, job->digest);
        job->r = json_parse_object(job->data, job->size, &job->json, &job->err);
}

static void parse_job_done(void *arg)
{
        struct parse_job *job = arg;
        struct request *req = job->req;

        memcpy(req->body_digest, job->digest, sizeof(req->body_digest));
        if (req->state == REQUEST_BODY)
                take_json(req, job->r, STEAL(job->json), &job->err);
        json_decref(job->json);
        free(job->data);
        free(job);
        request_unref(req);
}

static int parse_off_loop(struct request *req)
{
        struct parse_job *job = xnew(struct parse_job);
        int r;

        job->req = request_ref(req);
        job->has_key = req->idempotency_key != NULL;
        job->data = buf_steal(&req->body, &job->size);
        req->discarded = job->size; /* for the access log */
        r = job_run(server_environment(req->server)->loop, job, parse_job_run, parse_job_done);
        if (r < 0) {
                free(job->data);
                free(job);
                request_unref(req);
                request_fail(req, PROBLEM_UNAVAILABLE, "no worker thread: %s", strerror(-r));
        }
        return r;
}

/* See request_private.h. */
void request_dispatch(struct request *req)
{
        struct error err = ERROR_INIT;
        json_t *json = NULL;
        int r;

        req->is_dispatched = true;
        connection_expect(req->connection, 0);
        if (req->match.route->body != BODY_JSON) {
                call_handler(req);
                return;
        }
        if (req->body.size > LIMIT_JSON_INLINE) {
                (void)parse_off_loop(req); /* it has answered if it failed */
                return;
        }
        if (req->idempotency_key)
                idempotency_digest(req->body.data, req->body.size, req->body_digest);
        r = json_parse_object(req->body.data, req->body.size, &json, &err);
        take_json(req, r, json, &err);
}
