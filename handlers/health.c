/* SPDX-License-Identifier: Apache-2.0 */

/* Liveness: /, /ping and /health. Load balancers and SDKs ask often, so the answer of /health is rendered once and
 * used again for a tenth of a second. */

#include "handlers/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "build_config.h"
#include "handlers/console/console.h"
#include "handlers/features.h"
#include "proc/supervisor.h"

#define FRESH_MS 100

/* "2h34m12s", as clients print it. */
static void format_uptime(char *dst, size_t size, uint64_t seconds)
{
        unsigned h = (unsigned)(seconds / 3600), m = (unsigned)(seconds / 60 % 60),
                 s = (unsigned)(seconds % 60);

        if (h > 0)
                snprintf(dst, size, "%uh%um%us", h, m, s);
        else if (m > 0)
                snprintf(dst, size, "%um%us", m, s);
        else
                snprintf(dst, size, "%us", s);
}

/* Answers GET /: a page to browsers if there is one, JSON to programs. */
int root_get(struct request *req)
{
        char now[CLOCK_RFC3339_SIZE];

        if (console_reply(req))
                return 0;
        return request_reply_json(req, 200,
                                  json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "agent", AGENT_NAME,
                                            "status", "running", "version", VM_AGENT_VERSION,
                                            "vm_id", request_app(req)->config->vm_id, "message",
                                            "success", "timestamp", clock_rfc3339_now(now)));
}

/* Answers GET /ping. */
int ping_get(struct request *req)
{
        char now[CLOCK_RFC3339_SIZE];

        return request_reply_json(req, 200,
                                  json_pack("{s:s, s:s, s:s}", "status", "ok", "message", "pong",
                                            "timestamp", clock_rfc3339_now(now)));
}

/* How often we have stood still, and the last time. */
static void add_resumes(const struct metrics *m, json_t *doc)
{
        char at[CLOCK_RFC3339_SIZE];
        json_t *last = json_null();

        if (m->last_resume.kind)
                last = json_pack(
                        "{s:s, s:f, s:f, s:s}", "at", clock_rfc3339(at, m->last_resume.at_ms),
                        "paused_seconds", (double)(m->last_resume.paused_us / 1000) / 1000,
                        "wall_clock_set_seconds", (double)(m->last_resume.wall_us / 1000) / 1000,
                        "kind", m->last_resume.kind);
        json_object_set_new(doc, "resumes", json_integer((json_int_t)m->resumes_total));
        json_object_set_new(doc, "last_resume", last);
}

static char *render(const struct app *app)
{
        struct supervisor_counts processes;
        char uptime[32], now[CLOCK_RFC3339_SIZE];
        uint64_t seconds = features_uptime_s(app);
        json_t *doc;
        char *text;

        supervisor_count(app->supervisor, &processes);
        format_uptime(uptime, sizeof(uptime), seconds);
        doc = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:I, s:I, s:s}",             //
                        "status", "healthy", "agent", AGENT_NAME, "version", VM_AGENT_VERSION, //
                        "uptime", uptime, "uptime_seconds", (json_int_t)seconds,               //
                        "go_version", "none", "vm_id", app->config->vm_id,                     //
                        "features", features_describe(), "active_streams",
                        (json_int_t)app->metrics.websockets,                //
                        "active_executions", (json_int_t)processes.running, //
                        "timestamp", clock_rfc3339_now(now));
        add_resumes(&app->metrics, doc);
        text = json_dumps(doc, JSON_COMPACT);
        json_decref(doc);
        return text;
}

/* Answers GET /health. */
int health_get(struct request *req)
{
        static struct {
                char *text;
                uint64_t rendered_ms;
        } cache;
        uint64_t now = clock_now_ms();

        if (!cache.text || now - cache.rendered_ms > FRESH_MS) {
                free(cache.text);
                cache.text = render(request_app(req));
                cache.rendered_ms = now;
        }
        if (!cache.text)
                return -ENOMEM;
        return request_reply_bytes(req, 200, "application/json", cache.text, strlen(cache.text));
}
