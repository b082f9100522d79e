/* SPDX-License-Identifier: Apache-2.0 */

/* GET /openapi.json. The document is made once, by a worker, when it is asked for: most agents never are. Its text is
 * kept in a file without a name, from which the kernel sends it, so it takes no room in the agent's memory. */

#include "agent/openapi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/list.h"
#include "agent/http/file.h"
#include "agent/http/idempotency.h"
#include "agent/http/request.h"
#include "agent/loop/job.h"
#include "agent/openapi_private.h"
#include "build_config.h"

#define ETAG_SIZE (2 * IDEMPOTENCY_DIGEST + 3) /* digits and quotes */

struct text {
        int fd;
        size_t size;
        char etag[ETAG_SIZE];
};

struct waiter {
        struct list link;
        struct request *req; /* a reference */
        char *known;         /* If-None-Match, or NULL */
};

struct making {
        const struct route *routes;
        size_t n_routes;
        struct list waiters;
        struct text text;
        int r;
};

/* There is one table of routes, and so one text. */
static struct text made = { .fd = -1 };
static struct making *making; /* NULL: nobody makes it */

static int take_text(struct text *ret, const char *data)
{
        uint8_t digest[IDEMPOTENCY_DIGEST];

        ret->size = strlen(data);
        ret->fd = fd_memfd("openapi", data, ret->size);
        if (ret->fd < 0)
                return ret->fd;
        idempotency_digest(data, ret->size, digest);
        ret->etag[0] = '"';
        for (size_t i = 0; i < IDEMPOTENCY_DIGEST; i++)
                (void)snprintf(ret->etag + 1 + 2 * i, 3, "%02x", digest[i]);
        ret->etag[ETAG_SIZE - 2] = '"';
        return 0;
}

static void make(void *arg)
{
        struct making *m = arg;
        json_t *document = openapi_document(m->routes, m->n_routes);
        CLEANUP(mem_free) char *data = json_dumps(document, JSON_COMPACT | OPENAPI_DUMP);

        json_decref(document);
        m->r = data ? take_text(&m->text, data) : -ENOMEM;
}

static int reply(struct request *req, const char *known)
{
        int fd;

        request_set_header(req, "Cache-Control", "no-cache");
        request_set_header(req, "ETag", made.etag);
        if (known && (strstr(known, made.etag) || strcmp(known, "*") == 0))
                return request_reply_bytes(req, 304, NULL, "", 0);
        fd = fcntl(made.fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the document: %s", strerror(errno));
        return request_reply_file(req, 200, "application/json", fd, 0, made.size);
}

static void answer(struct waiter *w, int r)
{
        if (r == 0)
                reply(w->req, w->known);
        else
                request_fail(w->req, PROBLEM_UNAVAILABLE, "the document: %s", strerror(-r));
        request_unref(w->req);
        free(w->known);
        free(w);
}

static void on_made(void *arg)
{
        struct making *m = arg;

        making = NULL;
        if (m->r == 0)
                made = m->text;
        while (!list_is_empty(&m->waiters)) {
                struct waiter *w = list_entry(m->waiters.next, struct waiter, link);

                list_remove(&w->link);
                answer(w, m->r);
        }
        free(m);
}

static int start_making(const struct app *app)
{
        int r;

        making = xnew(struct making);
        making->routes = app->routes;
        making->n_routes = app->n_routes;
        list_init(&making->waiters);
        r = job_run(app->loop, making, make, on_made);
        if (r < 0)
                making = mem_free(making);
        return r;
}

/* Answers GET /openapi.json. Who comes before it is made waits for it, as one of the requests that there may be. */
int openapi_get(struct request *req)
{
        const char *known = request_header(req, "If-None-Match");
        struct waiter *w;

        if (made.fd >= 0)
                return reply(req, known);
        if (!making) {
                int r = start_making(request_app(req));

                if (r < 0)
                        return request_fail(req, PROBLEM_UNAVAILABLE, "no worker thread: %s",
                                            strerror(-r));
        }
        w = xnew(struct waiter);
        w->req = request_ref(req);
        w->known = known ? xstrdup(known) : NULL;
        list_append(&making->waiters, &w->link);
        return 0;
}

static const struct shape license_shape[] = {
        S_STRING("name", .example = "\"Apache License 2.0\""),
        S_STRING("identifier", .doc = "As SPDX has it", .example = "\"Apache-2.0\""),
        S_END,
};

static const struct shape info_shape[] = {
        S_STRING("title", .example = "\"vm-agent\""),
        S_STRING("version", .doc = "Of the agent", .example = "\"" VM_AGENT_VERSION "\""),
        S_STRING("description", .doc = "Markdown", .example = "\"Runs code and commands.\""),
        S_OBJECT("license", license_shape),
        S_END,
};

static const struct shape server_shape[] = {
        S_STRING("url", .example = "\"http://localhost:7777\""),
        S_STRING("description", .example = "\"Where the agent listens\""),
        S_END,
};

static const struct shape tag_shape[] = {
        S_STRING("name", .example = "\"files\""),
        S_STRING("description", .example = "\"Reading and writing files\""),
        S_END,
};

static const struct shape document_shape[] = {
        S_STRING("openapi", .doc = "Version of the format", .example = "\"3.1.0\""),
        S_OBJECT("info", info_shape),
        S_LIST("servers", S_ITEM_OF(SHAPE_OBJECT, server_shape)),
        S_LIST("tags", S_ITEM_OF(SHAPE_OBJECT, tag_shape)),
        S_MAP("paths", S_ITEM(SHAPE_ANY), .doc = "Operations by path and method", .example = "{}"),
        S_MAP("components", S_ITEM(SHAPE_ANY), .doc = "What several operations have",
              .example = "{}"),
        S_END,
};

static const struct route_header headers[] = {
        { "ETag", "Of this version of the document", "\"5f4dcc3b\"" },
        { 0 },
};

const struct route_doc openapi_get_doc = {
        .description = "This document. It is the same on every machine with this version of the "
                       "agent. `vm-agent openapi` prints it, too.",
        .replies =
                (const struct route_reply[]){
                        { 200, NULL, document_shape, "The OpenAPI 3.1 document", headers },
                        { 304, NULL, NULL, "It is the one that If-None-Match names", headers },
                        { 0 },
                },
        .headers =
                (const struct route_header[]){
                        { "If-None-Match", "The ETag of the document that the client has",
                          "\"5f4dcc3b\"" },
                        { 0 },
                },
};
