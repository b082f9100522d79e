/* SPDX-License-Identifier: Apache-2.0 */

/* One execution, many requests: clients repeat a request when its answer does not come in time, and must not have their
 * code run twice.
 *
 * The first request is executed as any other, except that its client may leave: it stays alive, in the state GONE or
 * DONE, and what it is answered is taken for those who come back. They are requests in the state RUNNING, with their
 * own heartbeat and hang-up watch, which nobody works on.
 *
 * All of them, and the store, share the bytes of one answer. A large document is not bytes yet: it is encoded by a
 * worker first. When it turns out to be too large for that, it goes to one of them, as it is: what was encoded, and
 * then the rest. */

#include "agent/http/idempotency_request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "http"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/str.h"
#include "agent/http/idempotency.h"
#include "agent/http/request_private.h"
#include "agent/http/server.h"
#include "agent/http/server_private.h"
#include "agent/json/document.h"
#include "agent/loop/job.h"

#define KEY      "Idempotency-Key"
#define REPLAYED "Idempotency-Replayed"

#define TYPE_JSON "application/json"

#define ENCODE_SLICE (64 * KIB)

static struct idempotency *store_of(const struct request *req)
{
        return server_idempotency(req->server);
}

/* --- coming in --- */

static bool is_sane_key(const char *key)
{
        size_t size = strlen(key);

        for (const char *p = key; *p; p++)
                if (*p <= ' ' || *p > '~')
                        return false;
        return size > 0 && size <= LIMIT_IDEMPOTENCY_KEY;
}

/* See the header. */
void idempotency_check(struct request *req)
{
        const char *key;

        if (!(req->match.route->flags & ROUTE_IDEMPOTENT))
                return;
        key = MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, KEY);
        if (key && !is_sane_key(key))
                request_fail(req, PROBLEM_INVALID_REQUEST,
                             KEY ": must be 1 to %d visible ASCII characters",
                             LIMIT_IDEMPOTENCY_KEY);
        else
                req->idempotency_key = key;
}

static void on_waiter_left(void *arg)
{
        struct request *req = arg;

        list_remove(&req->waiter);
        STEAL(req->awaited)->n_waiters--;
        request_unref(req);
}

/* The one who answers it holds no reference: it is taken off the list first. */
static struct request *take_waiter(struct idempotency_entry *e)
{
        struct request *req = list_entry(e->waiters.next, struct request, waiter);

        list_remove(&req->waiter);
        e->n_waiters--;
        req->awaited = NULL;
        return req;
}

static void wait_for(struct request *req, struct idempotency_entry *e)
{
        if (e->n_waiters >= LIMIT_IDEMPOTENCY_WAITERS) {
                request_set_header(req, "Retry-After", "1");
                request_fail(req, PROBLEM_LIMIT_REACHED,
                             KEY ": %u requests wait for this result already; try again",
                             e->n_waiters);
                return;
        }
        request_set_header(req, REPLAYED, "true"); /* now, because a heartbeat takes it along */
        req->awaited = e;
        list_append(&e->waiters, &request_ref(req)->waiter);
        e->n_waiters++;
        request_on_cancel(req, on_waiter_left, req);
}

static void fail_too_large(struct request *req, json_t *facts)
{
        json_t *doc = problem_document(
                PROBLEM_IDEMPOTENCY_TOO_LARGE,
                KEY ": this was done, but its result was too large to be kept for a repeat; "
                    "details.result is what is known of it",
                NULL, req->id);

        json_object_set_new(doc, "details", json_pack("{s:O}", "result", facts));
        request_reply_json(req, problem_status(PROBLEM_IDEMPOTENCY_TOO_LARGE), doc);
}

static void replay(struct request *req, struct idempotency_entry *e)
{
        request_set_header(req, REPLAYED, "true");
        if (e->facts) {
                fail_too_large(req, e->facts);
                return;
        }
        reply_share(&e->reply, &req->reply);
        request_accept_reply(req);
}

static bool claim(struct request *req, const uint8_t id[IDEMPOTENCY_DIGEST])
{
        req->claim = idempotency_add(store_of(req), id, req->body_digest);
        if (!req->claim) {
                request_set_header(req, "Retry-After", "1");
                request_fail(req, PROBLEM_LIMIT_REACHED,
                             KEY ": %d requests with a key are being handled already; try again",
                             LIMIT_IDEMPOTENCY_ENTRIES);
        }
        return req->claim != NULL;
}

static void make_id(const struct request *req, uint8_t ret[IDEMPOTENCY_DIGEST])
{
        const struct route *route = req->match.route;
        const char *parts[] = { http_method_name(route->method), route->path, req->path,
                                req->principal.subject, req->idempotency_key };

        idempotency_id(parts, ARRAY_LEN(parts), ret);
}

static void write_hex(char dst[2 * IDEMPOTENCY_DIGEST + 1],
                      const uint8_t digest[IDEMPOTENCY_DIGEST])
{
        for (size_t i = 0; i < IDEMPOTENCY_DIGEST; i++)
                (void)snprintf(dst + 2 * i, 3, "%02x", digest[i]);
}

/* See request.h. */
bool request_repeat(const struct request *req, struct request_repeat *ret)
{
        uint8_t id[IDEMPOTENCY_DIGEST];

        static_assert(sizeof(ret->id) == 2 * IDEMPOTENCY_DIGEST + 1, "two digits for each byte");
        if (!req->idempotency_key)
                return false;
        make_id(req, id);
        write_hex(ret->id, id);
        write_hex(ret->body, req->body_digest);
        return true;
}

/* See request.h. */
int request_fail_reused(struct request *req)
{
        return request_fail(req, PROBLEM_IDEMPOTENCY_REUSED,
                            KEY ": was used before, for a request with another body");
}

/* See the header. */
bool idempotency_admit(struct request *req)
{
        uint8_t id[IDEMPOTENCY_DIGEST];
        struct idempotency_entry *e;

        make_id(req, id);
        idempotency_expire(store_of(req), clock_now_ms(),
                           server_options(req->server)->idempotency_ttl_ms);
        e = idempotency_find(store_of(req), id);
        if (!e)
                return claim(req, id);

        if (memcmp(e->body, req->body_digest, IDEMPOTENCY_DIGEST) != 0)
                request_fail_reused(req);
        else if (e->has_ended)
                replay(req, e);
        else
                wait_for(req, e);
        return false;
}

/* --- the answer --- */

/* Clients are told to try again, or what to change: nothing was done, and the key is free. */
static bool is_worth_keeping(unsigned status)
{
        return status < 400;
}

/* The handler knows by itself what was done, and will know it when this answer would be forgotten. */
static bool is_of_a_repeat(const struct reply *reply)
{
        for (unsigned i = 0; i < reply->n_headers; i++)
                if (str_equal(reply->headers[i].name, REPLAYED))
                        return true;
        return false;
}

/* See the header. */
void idempotency_settle(struct request *req)
{
        struct idempotency_entry *e = STEAL(req->claim);
        struct reply *reply = &req->reply;

        while (!list_is_empty(&e->waiters)) {
                struct request *waiter = take_waiter(e);

                reply_share(reply, &waiter->reply);
                request_accept_reply(waiter);
                request_unref(waiter);
        }
        if (!is_worth_keeping(reply->status) || is_of_a_repeat(reply))
                idempotency_drop(store_of(req), e);
        else if (reply->size > LIMIT_IDEMPOTENCY_ANSWER)
                idempotency_keep_facts(store_of(req), e, reply->data, reply->size, clock_now_ms());
        else
                idempotency_keep(store_of(req), e, reply, clock_now_ms());
}

/* See the header. */
void idempotency_abandon(struct request *req)
{
        struct idempotency_entry *e = STEAL(req->claim);

        if (!e)
                return;
        while (!list_is_empty(&e->waiters)) {
                struct request *waiter = take_waiter(e);

                request_fail(waiter, PROBLEM_UNAVAILABLE, "the agent is shutting down");
                request_unref(waiter);
        }
        idempotency_drop(store_of(req), e);
}

/* A document on its way to bytes, and back to the request. */
struct encoding {
        struct request *req; /* a reference; the worker does not touch it */
        unsigned status;
        struct document *document;
        struct buf text;
        bool is_complete;
};

static void encoding_free(struct encoding *job)
{
        document_free(job->document);
        buf_done(&job->text);
        request_unref(job->req);
        free(job);
}

/* What was read of the document is always in the text: without room nothing is read. */
static bool encode_slice(struct encoding *job, size_t slice)
{
        size_t n;

        if (job->text.size > LIMIT_IDEMPOTENCY_ANSWER || buf_reserve(&job->text, slice) < 0)
                return false;
        n = document_read(job->document, job->text.data + job->text.size, slice);
        job->text.size += n;
        job->is_complete = n == 0;
        return n > 0;
}

static void encoding_run(void *arg)
{
        while (encode_slice(arg, ENCODE_SLICE))
                ;
}

static char *take_text(struct encoding *job, size_t *ret_size)
{
        char *text = buf_steal(&job->text, ret_size);
        char *smaller = try_realloc(text, *ret_size + 1); /* it was grown by doubling */

        return smaller ? smaller : text;
}

static void settle_small(struct encoding *job)
{
        size_t size;
        char *text = take_text(job, &size);

        reply_set_bytes(&job->req->reply, job->status, TYPE_JSON, text, size);
        request_accept_reply(job->req);
}

/* Who is still there; a document can be sent but once. */
static struct request *take_receiver(struct request *req, struct idempotency_entry *e)
{
        struct request *receiver;

        if (req->state == REQUEST_RUNNING)
                return request_ref(req);
        if (list_is_empty(&e->waiters))
                return NULL;
        receiver = take_waiter(e);
        reply_add_headers(&receiver->reply, &req->reply);
        return receiver;
}

static void settle_large(struct encoding *job)
{
        struct request *req = job->req;
        struct idempotency_entry *e = STEAL(req->claim);
        struct request *receiver = take_receiver(req, e);

        idempotency_keep_facts(store_of(req), e, job->text.data, job->text.size, clock_now_ms());
        while (!list_is_empty(&e->waiters)) {
                struct request *waiter = take_waiter(e);

                fail_too_large(waiter, e->facts);
                request_unref(waiter);
        }
        if (!is_worth_keeping(job->status))
                idempotency_drop(store_of(req), e);
        if (receiver) {
                size_t size;
                char *text = take_text(job, &size);

                reply_set_begun_document(&receiver->reply, job->status, text, size,
                                         STEAL(job->document));
                request_accept_reply(receiver);
                request_unref(receiver);
        }
}

static void encoding_done(void *arg)
{
        struct encoding *job = arg;

        if (job->is_complete && job->text.size <= LIMIT_IDEMPOTENCY_ANSWER)
                settle_small(job);
        else
                settle_large(job);
        encoding_free(job);
}

/* See the header. */
int idempotency_settle_document(struct request *req, unsigned status, struct document *body)
{
        struct encoding *job = xnew(struct encoding);

        job->req = request_ref(req);
        job->status = status;
        job->document = body;
        buf_init(&job->text, 0);
        req->is_answered = true;
        req->cancel = NULL;

        /* Escaping makes nothing shorter. */
        if (document_text_size(body) <= LIMIT_IDEMPOTENCY_ANSWER &&
            job_run(server_environment(req->server)->loop, job, encoding_run, encoding_done) == 0)
                return 0;
        (void)encode_slice(job, LIMIT_IDEMPOTENCY_FACTS);
        settle_large(job);
        encoding_free(job);
        return 0;
}
