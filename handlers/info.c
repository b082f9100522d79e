/* SPDX-License-Identifier: Apache-2.0 */

/* GET /info: what runs here and where. Two generations of clients read different names for the same things; both
 * get theirs. */

#include "handlers/info.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/config.h"
#include "agent/host/host.h"
#include "agent/http/request.h"
#include "agent/http/route_doc.h"
#include "agent/http/router.h"
#include "build_config.h"
#include "handlers/features.h"

/* "/commands/run" becomes "commands_run", "/" becomes "root". */
static void name_endpoint(char *dst, size_t size, const char *path)
{
        snprintf(dst, size, "%s", path[1] ? path + 1 : "root");
        for (; *dst; dst++)
                if (!isalnum((unsigned char)*dst))
                        *dst = '_';
}

/* {"execute": "POST /execute", …}; a path's second method gets a name of its own. */
static json_t *describe_endpoints(const struct app *app)
{
        json_t *endpoints = json_object();
        char name[128], line[256];

        for (size_t i = 0; i < app->n_routes; i++) {
                const struct route *route = &app->routes[i];
                const char *method = http_method_name(route->method);

                name_endpoint(name, sizeof(name), route->path);
                if (json_object_get(endpoints, name))
                        snprintf(name + strlen(name), sizeof(name) - strlen(name), "_%s", method);
                snprintf(line, sizeof(line), "%s %s", method, route->path);
                json_object_set_new(endpoints, name, json_string(line));
        }
        return endpoints;
}

/* The first IPv4 address that is not the loopback's, or "". */
static const char *find_ip(const struct host_facts *facts)
{
        for (size_t i = 0; i < facts->n_links; i++) {
                const struct host_link *l = &facts->links[i];

                if (!l->is_loopback && *l->ip && !strchr(l->ip, ':'))
                        return l->ip;
        }
        return "";
}

static const char *architecture(const struct utsname *system)
{
        if (strcmp(system->machine, "x86_64") == 0)
                return "amd64";
        if (strcmp(system->machine, "aarch64") == 0)
                return "arm64";
        return system->machine;
}

static void add(json_t *doc, const char *name, const char *second_name, json_t *value)
{
        json_object_set(doc, name, value);
        if (second_name)
                json_object_set(doc, second_name, value);
        json_decref(value);
}

static int answer(struct request *req)
{
        const struct app *app = request_app(req);
        const char *colon = strrchr(app->address, ':');
        uint64_t uptime_s = features_uptime_s(app);
        char platform[128], when[CLOCK_RFC3339_SIZE];
        struct utsname system;
        json_t *doc = json_object();

        uname(&system);
        snprintf(platform, sizeof(platform), "linux/%s", architecture(&system));

        add(doc, "agent", NULL, json_string(AGENT_NAME));
        add(doc, "version", "agent_version", json_string(VM_AGENT_VERSION));
        add(doc, "vm_id", NULL, json_string(app->config->vm_id));
        add(doc, "os", NULL, json_string("linux"));
        add(doc, "arch", NULL, json_string(architecture(&system)));
        add(doc, "platform", NULL, json_string(platform));
        add(doc, "kernel", NULL, json_string(system.release));
        add(doc, "go_version", NULL, json_string("none"));
        add(doc, "ip", "vm_ip", json_string(find_ip(host_facts(app->host))));
        add(doc, "port", "vm_port", json_string(colon && app->address[0] != 'u' ? colon + 1 : ""));
        add(doc, "uptime", "uptime_seconds", json_integer((json_int_t)uptime_s));
        add(doc, "start_time", NULL,
            json_string(clock_rfc3339(when, app->metrics.started_realtime_ms)));
        add(doc, "endpoints", NULL, describe_endpoints(app));
        add(doc, "features", NULL, features_describe());
        add(doc, "timestamp", NULL, json_string(clock_rfc3339_now(when)));
        return request_reply_json(req, 200, doc);
}

/* One request that waits until a worker has asked the kernel for the addresses, which takes long where there are many
 * interfaces. */
struct inquiry {
        struct host_wait wait;
        struct request *request; /* a reference */
};

static void on_ready(struct host_wait *w)
{
        struct inquiry *i = container_of(w, struct inquiry, wait);

        (void)answer(i->request);
        request_unref(i->request);
        free(i);
}

/* Answers GET /info. */
int info_get(struct request *req)
{
        struct inquiry *i = xnew(struct inquiry);

        i->wait.ready = on_ready;
        i->request = request_ref(req);
        if (host_wait_facts(request_app(req)->host, &i->wait) <= 0)
                on_ready(&i->wait); /* known; or too many wait, and what was known has to do */
        return 0;
}

/* clang-format off */

static const struct shape info_shape[] = {
        S_STRING ("agent", .example = "\"" AGENT_NAME "\"", .doc = "Name of the program"),
        S_STRING ("version", .example = "\"0.1.0\"", .doc = "Of the program"),
        S_STRING ("agent_version", .example = "\"0.1.0\"", .doc = "The same as version"),
        S_STRING ("vm_id", .example = "\"vm-1\"", .doc = "Option vm-id"),
        S_STRING ("os", .example = "\"linux\"", .doc = "Operating system"),
        S_STRING ("arch", .example = "\"amd64\"", .doc = "Of the processors: amd64, arm64, or as uname says"),
        S_STRING ("platform", .example = "\"linux/amd64\"", .doc = "Both together"),
        S_STRING ("kernel", .example = "\"6.1.0-18-amd64\"", .doc = "Its release"),
        S_STRING ("go_version", .example = "\"none\"", .doc = "For clients that look for it"),
        S_STRING ("ip", .example = "\"10.0.0.7\"", .doc = "First IPv4 address of the machine; \"\": none"),
        S_STRING ("vm_ip", .example = "\"10.0.0.7\"", .doc = "The same as ip"),
        S_STRING ("port", .example = "\"7777\"", .doc = "Where the agent listens; \"\" for a Unix socket"),
        S_STRING ("vm_port", .example = "\"7777\"", .doc = "The same as port"),
        S_INTEGER("uptime", .example = "9252", .doc = "Seconds since the agent's start"),
        S_INTEGER("uptime_seconds", .example = "9252", .doc = "The same as uptime"),
        S_TIME   ("start_time", .example = "\"2026-01-15T07:55:48.000Z\"", .doc = "The agent's start"),
        S_MAP    ("endpoints", S_ITEM(SHAPE_STRING), .example = "{\"execute\": \"POST /execute\"}",
                  .doc = "All endpoints by made-up names: method and path"),
        S_OBJECT ("features", features_shape, .doc = "What this agent can do"),
        S_TIME   ("timestamp", .example = "\"2026-01-15T10:30:00.123Z\"", .doc = "When this was said"),
        S_END
};

static const struct route_reply info_replies[] = {
        { 200, NULL, info_shape, "What runs here, and where" },
        { 0 },
};

/* clang-format on */

/* Of info_get. */
const struct route_doc info_get_doc = {
        .description =
                "Says what runs here, and where. Two generations of clients read different names for the "
                "same facts; both are there. Open to everybody unless the option public-info is off.",
        .replies = info_replies,
};
