/* SPDX-License-Identifier: Apache-2.0 */

/* Two generations of clients know different fields; both get theirs. Who asks first waits for the readings, everybody
 * else gets those that there are. */

#include "handlers/system/system.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/config.h"
#include "agent/host/host.h"
#include "agent/http/request.h"
#include "handlers/env.h"
#include "handlers/features.h"
#include "proc/environment.h"
#include "proc/supervisor.h"
#include "proc/variables.h"

#define N_RANKS 3

/* One request that waits for readings. */
struct inquiry {
        struct host_wait wait;
        struct request *request; /* a reference */
        bool has_token;
};

/* What the system says is bytes. A new reference. */
static json_t *text(const char *s)
{
        CLEANUP(mem_free) char *copy = xstrdup(s ? s : "");

        utf8_repair(copy);
        return json_string(copy);
}

static double percent(uint64_t part, uint64_t all)
{
        return all > 0 ? round((double)part * 10000 / (double)all) / 100 : 0.0;
}

static json_t *describe_os(const struct host_facts *f)
{
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}",                //
                         "name", text(f->os_name),                             //
                         "version", text(f->os_version), "id", text(f->os_id), //
                         "kernel", text(f->kernel), "arch", text(f->arch),     //
                         "hostname", text(f->hostname), "timezone", text(f->timezone));
}

static json_t *describe_hardware(const struct host_facts *f, const struct host_sample *s)
{
        return json_pack("{s:I, s:o, s:I, s:I}",                                //
                         "cpu_cores", (json_int_t)MAX(ceil(s->cpu_cores), 1.0), //
                         "cpu_model", text(f->cpu_model),                       //
                         "memory_mb", (json_int_t)(s->memory_total / MIB),      //
                         "disk_mb", (json_int_t)(s->disk.total / MIB));
}

static json_t *describe_link(const struct host_link *l)
{
        json_t *ips = json_array();

        for (size_t i = 0; i < l->n_ips; i++)
                json_array_append_new(ips, text(l->ips[i]));
        return json_pack("{s:o, s:o, s:o, s:o, s:b, s:b}",                              //
                         "name", text(l->name), "ip", text(l->ip), "mac", text(l->mac), //
                         "addresses", ips, "up", l->is_up, "loopback", l->is_loopback);
}

/* Who asks for the address of this machine takes the first. */
static int rank_of(const struct host_link *l)
{
        if (l->is_loopback)
                return N_RANKS - 1;
        return *l->ip ? 0 : 1;
}

static json_t *describe_network(const struct host_facts *f, const struct host_sample *s)
{
        json_t *links = json_array();

        for (int rank = 0; rank < N_RANKS; rank++)
                for (size_t i = 0; i < f->n_links; i++)
                        if (rank_of(&f->links[i]) == rank)
                                json_array_append_new(links, describe_link(&f->links[i]));
        return json_pack("{s:o, s:o, s:I, s:I, s:I, s:I}",                   //
                         "interfaces", links, "hostname", text(f->hostname), //
                         "rx_bytes", (json_int_t)s->network.rx_bytes,        //
                         "rx_packets", (json_int_t)s->network.rx_packets,    //
                         "tx_bytes", (json_int_t)s->network.tx_bytes,        //
                         "tx_packets", (json_int_t)s->network.tx_packets);
}

/* What a program would find that is executed now; without what clients have set, which is for those with a token. */
static json_t *describe_environment(const struct app *app, bool has_token)
{
        CLEANUP(strv_free) char **envp = NULL;
        const struct credentials *user = supervisor_user(app->supervisor);

        /* -E2BIG: too much for a program; then there is nothing to tell. */
        (void)environment_build(user, has_token ? variables_get(app->variables) : NULL, NULL, NULL,
                                &envp);
        return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}",                                   //
                         "shell", text(envp ? environment_get(envp, "SHELL") : user->shell), //
                         "path", text(envp ? environment_get(envp, "PATH") : NULL),          //
                         "user", text(user->name),                                           //
                         "home", text(envp ? environment_get(envp, "HOME") : user->home),    //
                         "working_dir", text(app->config->workspace),                        //
                         "environment", has_token ? env_describe(app) : json_object());
}

static json_t *describe_capabilities(void)
{
        json_t *features = features_describe(), *all = json_array(), *value;
        const char *name;
        size_t i;

        json_object_foreach(features, name, value) {
                if (json_is_true(value))
                        json_array_append_new(all, json_string(name));
        }
        json_array_foreach(json_object_get(features, "languages"), i, value) {
                json_array_append(all, value);
        }
        json_decref(features);
        return all;
}

static json_t *describe_cpu(const struct host_sample *s)
{
        return json_pack("{s:f, s:f, s:i, s:b, s:[f,f,f]}",                                    //
                         "usage_percent", round(s->cpu_percent * 100) / 100,                   //
                         "cores", round(s->cpu_cores * 1000) / 1000,                           //
                         "online", (int)MAX(s->cpus_online, 1u), "limited", s->is_cpu_limited, //
                         "load_average", s->load[0], s->load[1], s->load[2]);
}

static json_t *describe_memory(const struct host_sample *s)
{
        return json_pack("{s:I, s:I, s:I, s:f, s:b}",                               //
                         "total", (json_int_t)s->memory_total,                      //
                         "used", (json_int_t)s->memory_used,                        //
                         "free", (json_int_t)s->memory_free,                        //
                         "usage_percent", percent(s->memory_used, s->memory_total), //
                         "limited", s->is_memory_limited);
}

static json_t *describe_swap(const struct host_swap *s)
{
        return json_pack("{s:I, s:I, s:I, s:f}",                                     //
                         "total", (json_int_t)s->total, "used", (json_int_t)s->used, //
                         "free", (json_int_t)s->free, "usage_percent", percent(s->used, s->total));
}

static json_t *describe_disk(const struct host_disk *d)
{
        return json_pack("{s:o, s:o, s:I, s:I, s:I, s:f}",                           //
                         "mount", text(d->mount), "type", text(d->type),             //
                         "total", (json_int_t)d->total, "used", (json_int_t)d->used, //
                         "free", (json_int_t)d->free,                                //
                         "usage_percent", percent(d->used, d->used + d->free));
}

static json_t *describe_disks(const struct host_sample *s)
{
        json_t *all = json_array();

        for (size_t i = 0; i < s->n_disks; i++)
                json_array_append_new(all, describe_disk(&s->disks[i]));
        return all;
}

static int reply(struct request *req, bool has_token)
{
        struct app *app = request_app(req);
        char now[CLOCK_RFC3339_SIZE], sampled[CLOCK_RFC3339_SIZE];
        const struct host_sample *s;
        const struct host_facts *f;

        if (!app->supervisor || !app->host)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        s = host_sample(app->host);
        f = host_facts(app->host);
        return request_reply_json(
                req, 200,
                json_pack(
                        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:s?, s:s}",
                        "os", describe_os(f), "hardware", describe_hardware(f, s),     //
                        "network", describe_network(f, s),                             //
                        "environment", describe_environment(app, has_token),           //
                        "capabilities", describe_capabilities(),                       //
                        "cpu", describe_cpu(s), "memory", describe_memory(s),          //
                        "swap", describe_swap(&s->swap),                               //
                        "disk", s->has_disk ? describe_disk(&s->disk) : json_null(),   //
                        "disks", describe_disks(s), "uptime", (json_int_t)s->uptime_s, //
                        "uptime_seconds", (json_int_t)s->uptime_s,                     //
                        "agent_uptime_seconds", (json_int_t)features_uptime_s(app),    //
                        "sampled_at",
                        s->sampled_at_ms > 0 ? clock_rfc3339(sampled, s->sampled_at_ms) : NULL,
                        "timestamp", clock_rfc3339_now(now)));
}

static void on_ready(struct host_wait *w)
{
        struct inquiry *i = container_of(w, struct inquiry, wait);

        reply(i->request, i->has_token);
        request_unref(i->request);
        free(i);
}

/* Answers GET /system. */
int system_get(struct request *req)
{
        struct app *app = request_app(req);
        struct inquiry *i;
        bool has_token = request_has_token(req);
        int r;

        if (!app->host)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        i = xnew(struct inquiry);
        i->wait.ready = on_ready;
        i->has_token = has_token;
        r = host_wait(app->host, &i->wait);
        if (r == 1) {
                i->request = request_ref(req);
                return 0;
        }
        free(i);
        if (r == -EBUSY) {
                request_set_header(req, "Retry-After", "1");
                return request_fail(
                        req, PROBLEM_LIMIT_REACHED,
                        "%d requests wait for readings of the machine already; try again",
                        LIMIT_HOST_WAITING);
        }
        return reply(req, has_token);
}
