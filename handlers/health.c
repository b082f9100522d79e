/* SPDX-License-Identifier: Apache-2.0 */

/* Liveness: /, /ping and /health. Load balancers and SDKs ask often, so the answer of /health is rendered once and
 * used again for a tenth of a second; one that says what is wrong is rendered each time.
 *
 * Who is not well says so with a status: load balancers look at nothing else, clients try again after a moment, and
 * some would ask for ever, without a pause, after an answer 200 that says anything but "healthy". */

#include "handlers/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/config.h"
#include "agent/health.h"
#include "agent/http/problem.h"
#include "agent/http/request.h"
#include "agent/loop/lag.h"
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

static json_t *describe_check(const struct health *h, enum health_check which)
{
        static const char *const names[] = {
                [HEALTH_OK] = "ok",
                [HEALTH_FAILED] = "failed",
                [HEALTH_PENDING] = "pending",
        };
        struct health_verdict v;
        char at[CLOCK_RFC3339_SIZE];

        health_verdict(h, which, &v);
        return json_pack("{s:s, s:s?, s:s?}", "status", names[v.status], "error",
                         v.error[0] ? v.error : NULL, "checked_at",
                         v.checked_at_ms ? clock_rfc3339(at, v.checked_at_ms) : NULL);
}

static json_t *describe_checks(const struct app *app)
{
        json_t *checks = json_object(), *loop;

        for (int i = 0; i < N_HEALTH_CHECKS; i++)
                json_object_set_new(checks, health_check_name((enum health_check)i),
                                    describe_check(app->health, (enum health_check)i));
        loop = json_object_get(checks, health_check_name(HEALTH_LOOP));
        json_object_set_new(loop, "lag_ms", json_integer((json_int_t)loop_lag_ms(app->loop)));
        json_object_set_new(loop, "repeated_lag_ms",
                            json_integer((json_int_t)health_lag_ms(app->health)));
        json_object_set_new(loop, "max_lag_ms", json_integer(LIMIT_HEALTH_LAG_MS));
        return checks;
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

static json_t *describe(const struct app *app, bool is_well)
{
        struct supervisor_counts processes;
        char uptime[32], now[CLOCK_RFC3339_SIZE];
        uint64_t seconds = features_uptime_s(app);
        json_t *doc;

        supervisor_count(app->supervisor, &processes);
        format_uptime(uptime, sizeof(uptime), seconds);
        doc = json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:I, s:I, s:s}",        //
                        "status", is_well ? "healthy" : "unhealthy", "agent", AGENT_NAME, //
                        "version", VM_AGENT_VERSION,                                      //
                        "uptime", uptime, "uptime_seconds", (json_int_t)seconds,          //
                        "go_version", "none", "vm_id", app->config->vm_id,                //
                        "features", features_describe(), "active_streams",
                        (json_int_t)app->metrics.websockets,                //
                        "active_executions", (json_int_t)processes.running, //
                        "timestamp", clock_rfc3339_now(now));
        json_object_set_new(doc, "checks", describe_checks(app));
        add_resumes(&app->metrics, doc);
        return doc;
}

static char *render(const struct app *app)
{
        json_t *doc = describe(app, true);
        char *text = json_dumps(doc, JSON_COMPACT);

        json_decref(doc);
        return text;
}

/* The error that all other routes would answer, and all that a healthy agent says. */
static int reply_unhealthy(struct request *req)
{
        struct app *app = request_app(req);
        json_t *doc = describe(app, false);
        char text[1100];
        json_t *error;

        (void)snprintf(text, sizeof(text), "The agent is unhealthy. %s",
                       health_problem(app->health));
        error = problem_document(PROBLEM_UNAVAILABLE, text, NULL, request_id(req));
        json_object_update(doc, error);
        json_decref(error);
        request_set_header(req, "Retry-After", "1");
        return request_reply_json(req, problem_status(PROBLEM_UNAVAILABLE), doc);
}

/* Answers GET /health. */
int health_get(struct request *req)
{
        static struct {
                char *text;
                uint64_t rendered_ms;
        } cache;
        uint64_t now = clock_now_ms();

        if (!health_ask(request_app(req)->health))
                return reply_unhealthy(req);
        if (!cache.text || now - cache.rendered_ms > FRESH_MS) {
                free(cache.text);
                cache.text = render(request_app(req));
                cache.rendered_ms = now;
        }
        if (!cache.text)
                return -ENOMEM;
        return request_reply_bytes(req, 200, "application/json", cache.text, strlen(cache.text));
}
