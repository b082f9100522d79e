/* SPDX-License-Identifier: Apache-2.0 */

/* A request that wants a kept result is an asker: its key is computed by a worker, and then it is answered, or waits
 * for a run that it shares with all other askers of the same key.
 *
 * A run ends with its execution, for all of its askers alike, however that ended; but only a complete success is kept,
 * and only if nothing that the key is made of has changed meanwhile, nor was the cache cleared. It is joined until it
 * is kept, so that whoever asks after the first answer finds one or the other. When the last asker has left, the
 * execution is ended, and nobody joins it any more.
 *
 * What is kept are the members of the answer as JSON. What is told about the keeping itself, and the time, comes before
 * them, and is new in each answer. */

#include "handlers/execution/cached.h"

#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "agent/loop/job.h"
#include "handlers/cache/results.h"
#include "handlers/execution/arguments.h"
#include "handlers/execution/execution.h"
#include "handlers/execution/result_key.h"
#include "handlers/execution/run.h"

#define SLICE (64 * KIB)

/* What is to be executed, for as long as the request of it lives. */
struct work {
        struct request *request; /* a reference */
        struct run_spec spec;
        const char *label_name;
        const char *label;
        struct result_key key;
};

struct asker {
        struct list link;          /* of the run */
        struct request *request;   /* a reference */
        struct shared_run *shared; /* that it waits for; NULL: the key is being computed */
        struct work *work;         /* until then */
        uint64_t ttl_ms;
        bool has_left;
        bool is_first; /* of its run */
};

struct shared_run {
        struct results_run run;
        struct app *app;
        struct work *work;
        struct list askers;
        unsigned n_askers;
        uint64_t ttl_ms; /* the longest that was asked for */
        struct execution *execution;
        bool has_ended;
        bool is_abandoned;

        struct document *document; /* that is being turned into the text to be kept */
        struct buf text;
        bool is_kept;
};

static struct work *work_free(struct work *w)
{
        if (!w)
                return NULL;
        result_key_done(&w->key);
        request_unref(w->request);
        free(w);
        return NULL;
}

static void asker_free(struct asker *a)
{
        work_free(a->work);
        request_unref(a->request);
        free(a);
}

/* --- answers --- */

static json_t *marks(bool is_cached, uint64_t age_ms)
{
        char now[CLOCK_RFC3339_SIZE];

        return json_pack("{s:b, s:f, s:s}", "cached", is_cached, "cache_age", (double)age_ms / 1000,
                         "timestamp", clock_rfc3339_now(now));
}

static void release_text(void *arg)
{
        results_text_unref(arg);
}

static void answer_found(struct asker *a, const struct results_found *found)
{
        struct document *doc = document_new(marks(true, found->age_ms));
        size_t size;
        const char *members = results_text_data(found->text, &size);

        document_add_members(doc, members, size, release_text, found->text);
        request_reply_document(a->request, 200, doc);
        asker_free(a);
}

static struct asker *take_asker(struct shared_run *s)
{
        struct asker *a;

        if (list_is_empty(&s->askers))
                return NULL;
        a = list_entry(s->askers.next, struct asker, link);
        list_remove(&a->link);
        s->n_askers--;
        return a;
}

static void shared_free(struct shared_run *s)
{
        (void)results_end(&s->run); /* a cleared cache has done it */
        document_free(s->document);
        buf_done(&s->text);
        if (s->execution)
                execution_free(s->execution);
        work_free(s->work);
        free(s);
}

static void answer_all(struct shared_run *s)
{
        struct asker *a;

        while ((a = take_asker(s))) {
                json_t *m = marks(!a->is_first, 0);

                request_reply_document(a->request, 200, execution_document(s->execution, m));
                asker_free(a);
        }
        shared_free(s);
}

/* --- the end of a run --- */

static void on_failed(void *arg, enum problem p, const char *field, const char *message)
{
        struct shared_run *s = arg;
        struct asker *a;

        s->execution = NULL;
        while ((a = take_asker(s))) {
                if (p == PROBLEM_LIMIT_REACHED)
                        request_set_header(a->request, "Retry-After", "1");
                request_fail_field(a->request, p, field, "%s", message);
                asker_free(a);
        }
        shared_free(s);
}

static bool encode(struct shared_run *s)
{
        size_t n;

        do {
                if (buf_reserve(&s->text, SLICE) < 0)
                        return false;
                n = document_read(s->document, s->text.data + s->text.size, SLICE);
                s->text.size += n;
        } while (n > 0);
        return true;
}

/* The members without the braces, in no more memory than they need. */
static void trim(struct buf *text)
{
        char *smaller;

        text->size -= 2;
        memmove(text->data, text->data + 1, text->size);
        smaller = try_realloc(text->data, text->size + 1);
        text->data = smaller ? smaller : text->data;
}

static void keep_run(void *arg)
{
        struct shared_run *s = arg;

        s->is_kept = encode(s) && result_key_is_current(&s->work->key);
        if (s->is_kept)
                trim(&s->text);
}

static void keep_done(void *arg)
{
        struct shared_run *s = arg;

        if (results_end(&s->run) && s->is_kept && s->ttl_ms > 0) {
                size_t size;
                char *text = buf_steal(&s->text, &size);

                (void)results_put(s->app->results, s->run.key, text, size, s->ttl_ms,
                                  s->app->config->cache_max_size);
        }
        answer_all(s);
}

static void on_end(void *arg, struct execution *ex)
{
        struct shared_run *s = arg;

        s->has_ended = true;
        if (!s->is_abandoned && execution_is_complete(ex)) {
                s->document = execution_document(ex, json_object());
                /* Escaping makes nothing shorter. */
                if (results_fits(document_text_size(s->document), s->app->config->cache_max_size) &&
                    job_run(s->app->loop, s, keep_run, keep_done) == 0)
                        return;
        }
        answer_all(s);
}

/* --- askers --- */

static void on_left(void *arg)
{
        struct asker *a = arg;
        struct shared_run *s = a->shared;

        if (!s) {
                a->has_left = true; /* key_done frees it */
                result_key_cancel(&a->work->key);
                return;
        }
        list_remove(&a->link);
        s->n_askers--;
        asker_free(a);
        if (s->n_askers > 0 || s->has_ended)
                return;
        s->is_abandoned = true;
        (void)results_end(&s->run);
        execution_cancel(s->execution);
}

static void join(struct asker *a, struct shared_run *s)
{
        a->work = work_free(a->work);
        a->shared = s;
        list_append(&s->askers, &a->link);
        s->n_askers++;
        s->ttl_ms = MAX(s->ttl_ms, a->ttl_ms);
}

static void begin(struct asker *a, struct app *app)
{
        static const struct execution_ops ops = { .on_failed = on_failed, .on_end = on_end };
        struct shared_run *s = xnew(struct shared_run);
        struct work *w = STEAL(a->work);

        s->app = app;
        s->work = w;
        list_init(&s->askers);
        buf_init(&s->text, 0);
        memcpy(s->run.key, w->key.digest, RESULTS_KEY);
        results_begin(app->results, &s->run);
        a->is_first = true;
        join(a, s);
        execution_start_for(w->request, &w->spec, w->label_name, w->label, &ops, s, &s->execution);
}

static void fail_crowded(struct asker *a)
{
        request_set_header(a->request, "Retry-After", "1");
        request_fail_field(a->request, PROBLEM_LIMIT_REACHED, "/cache",
                           "cache: %d requests wait for this result already; try again",
                           LIMIT_CACHE_WAITERS);
        asker_free(a);
}

static void look(struct asker *a)
{
        struct app *app = request_app(a->request);
        const uint8_t *key = a->work->key.digest;
        struct results_run *run = results_find_run(app->results, key);
        struct shared_run *s = run ? container_of(run, struct shared_run, run) : NULL;
        struct results_found found;

        if (s && s->n_askers >= LIMIT_CACHE_WAITERS) {
                fail_crowded(a);
        } else if (s) {
                results_count(app->results, true);
                join(a, s);
        } else if (results_find(app->results, key, a->ttl_ms, &found)) {
                results_count(app->results, true);
                answer_found(a, &found);
        } else {
                results_count(app->results, false);
                begin(a, app);
        }
}

static void key_run(void *arg)
{
        result_key_compute(&((struct asker *)arg)->work->key);
}

static void key_done(void *arg)
{
        struct asker *a = arg;
        const struct result_key *k = &a->work->key;

        if (a->has_left) {
                asker_free(a);
        } else if (k->result != 0) {
                request_fail_field(a->request, k->problem, k->field, "%s", k->error.message);
                asker_free(a);
        } else {
                look(a);
        }
}

static struct asker *asker_new(struct request *req, const struct run_spec *spec,
                               const char *label_name, const char *label)
{
        struct asker *a = xnew(struct asker);

        a->request = request_ref(req);
        a->ttl_ms = spec->cache->has_ttl ? spec->cache->ttl_ms
                                         : request_app(req)->config->cache_ttl_ms;
        a->work = xnew(struct work);
        a->work->request = request_ref(req);
        a->work->spec = *spec;
        a->work->label_name = label_name;
        a->work->label = label;
        return a;
}

static bool is_wanted(const struct request *req, const struct cache_args *args)
{
        const struct app *app = request_app(req);

        return args && app->results && (args->is_told ? args->wanted : app->config->cache);
}

/* See the header. */
bool cached_start(struct request *req, const struct run_spec *spec, const char *label_name,
                  const char *label)
{
        struct asker *a;

        if (!is_wanted(req, spec->cache))
                return false;
        a = asker_new(req, spec, label_name, label);
        if (!result_key_init(&a->work->key, req, &a->work->spec) ||
            job_run(request_app(req)->loop, a, key_run, key_done) < 0) {
                asker_free(a);
                return false;
        }
        request_on_cancel(req, on_left, a);
        return true;
}
