/* SPDX-License-Identifier: Apache-2.0 */

/* Statistics have two shapes, because some clients read the nested object and others the members beside it. */

#include "handlers/cache/cache.h"

#include <stdio.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "build_config.h"
#include "handlers/cache/results.h"
#include "handlers/features.h"

/* "1h0m0s", as clients print it; a fraction of a second only if there is one. */
static void format_ttl(char *dst, size_t size, uint64_t ms)
{
        unsigned long long h = ms / 3600000, m = ms / 60000 % 60;
        double s = (double)(ms % 60000) / 1000;

        if (h > 0)
                (void)snprintf(dst, size, "%lluh%llum%gs", h, m, s);
        else if (m > 0)
                (void)snprintf(dst, size, "%llum%gs", m, s);
        else
                (void)snprintf(dst, size, "%gs", s);
}

static double hit_rate(const struct results_totals *t)
{
        return t->hits + t->misses > 0 ? (double)t->hits / (double)(t->hits + t->misses) : 0;
}

static json_t *describe(const struct app *app)
{
        struct results_totals t;
        char ttl[32], now[CLOCK_RFC3339_SIZE];
        json_t *cache;

        results_total(app->results, &t);
        format_ttl(ttl, sizeof(ttl), app->config->cache_ttl_ms);
        cache = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s}",       //
                          "enabled", app->config->cache,                              //
                          "size", (json_int_t)t.size,                                 //
                          "max_size", (json_int_t)app->config->cache_max_size,        //
                          "count", (json_int_t)t.n_entries,                           //
                          "total_hits", (json_int_t)t.hits,                           //
                          "total_misses", (json_int_t)t.misses,                       //
                          "stored", (json_int_t)t.stored,                             //
                          "evicted", (json_int_t)t.evicted, "hit_rate", hit_rate(&t), //
                          "ttl", ttl);
        return json_pack("{s:o, s:I, s:I, s:f, s:I, s:I, s:s}", "cache", cache,      //
                         "hits", (json_int_t)t.hits, "misses", (json_int_t)t.misses, //
                         "hit_rate", hit_rate(&t), "size", (json_int_t)t.size,       //
                         "count", (json_int_t)t.n_entries, "timestamp", clock_rfc3339_now(now));
}

/* Answers GET /cache/stats. */
int cache_stats_get(struct request *req)
{
        return request_reply_json(req, 200, describe(request_app(req)));
}

/* Answers GET /cache: the same, with what / says, because that is what this path is known for. */
int cache_get(struct request *req)
{
        const struct app *app = request_app(req);
        json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s}", "agent", AGENT_NAME, "status",
                                "running", "version", VM_AGENT_VERSION, "vm_id", app->config->vm_id,
                                "message", "success");

        json_object_update_new(doc, describe(app));
        return request_reply_json(req, 200, doc);
}

/* Answers POST /cache/clear. */
int cache_clear_post(struct request *req)
{
        uint64_t n, size;
        char now[CLOCK_RFC3339_SIZE];

        results_clear(request_app(req)->results, &n, &size);
        return request_reply_json(req, 200,
                                  json_pack("{s:b, s:s, s:I, s:I, s:I, s:s}", "success", 1, //
                                            "message", "Cache cleared successfully",        //
                                            "cleared_entries", (json_int_t)n,               //
                                            "entries_removed", (json_int_t)n,               //
                                            "freed_bytes", (json_int_t)size,                //
                                            "timestamp", clock_rfc3339_now(now)));
}
