/* SPDX-License-Identifier: Apache-2.0 */

/* The look at /proc, the choice and order of the rows, and their encoding are all done by a worker thread: with
 * thousands of rows each of them takes milliseconds. The worker sees a copy of what was asked for, never the
 * request. */

#include "handlers/processes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/http/request.h"
#include "agent/http/route_doc.h"
#include "agent/json/write.h"
#include "proc/system_processes.h"
#include "proc/system_stat.h"

#define LOG_MODULE "processes"
#include "agent/base/log.h"

#define DEFAULT_LIMIT 1000

enum sort { SORT_PID, SORT_CPU, SORT_MEMORY };

static const struct enum_name sort_names[] = {
        { "pid", SORT_PID },
        { "cpu", SORT_CPU },
        { "memory", SORT_MEMORY },
        { NULL, 0 },
};

/* clang-format off */
const struct json_field processes_args[] = {
        F_STRING(struct processes_args, name, .in = IN_QUERY, .max = 256, .doc = "Only processes whose name contains this"),
        F_STRING(struct processes_args, user, .in = IN_QUERY, .min = 1, .max = 256,
                 .doc = "Only processes of this user: a name or a number"),
        F_UINT  (struct processes_args, limit, .in = IN_QUERY, .min = 1, .max = LIMIT_SYSTEM_PROCESSES,
                 .def = DEFAULT_LIMIT, .doc = "Number of processes in the answer"),
        F_ENUM  (struct processes_args, sort, .in = IN_QUERY, .names = sort_names, .def = SORT_PID,
                 .doc = "Order: by number, or the greatest share first"),
        F_BOOL  (struct processes_args, ours, .in = IN_QUERY, .doc = "Only what the agent started"),
        F_END
};
/* clang-format on */

/* --- what it answers --- */

static const struct enum_name state_names[] = {
        { "running", 0 },      { "sleeping", 0 }, { "disk-sleep", 0 }, { "stopped", 0 },
        { "tracing-stop", 0 }, { "zombie", 0 },   { "dead", 0 },       { "idle", 0 },
        { "parked", 0 },       { "unknown", 0 },  { NULL, 0 },
};

/* clang-format off */
static const struct shape process_shape[] = {
        S_INTEGER("pid",            .min = 1, .example = "4711", .doc = "Number of the process"),
        S_INTEGER("ppid",           .example = "1", .doc = "That of its parent; 0: it has none here"),
        S_INTEGER("uid",            .example = "0", .doc = "Number of its user"),
        S_STRING ("user",           .example = "\"root\"", .doc = "Name of its user, or the number if it has none"),
        S_STRING ("name",           .example = "\"python3\"", .doc = "Its name, 15 bytes at most"),
        S_STRING ("command",        .example = "\"python3 app.py\"",
                  .doc = "Its command line, 1024 bytes at most; the name in brackets where there is none. It is up to "
                         "three seconds old where a program writes over its own"),
        S_STRING ("status",         .example = "\"running\"",
                  .doc = "Of what the agent started: running, or lingering when the execution has ended and it has not; "
                         "the same as state otherwise"),
        S_ENUM   ("state",          state_names, .example = "\"sleeping\"", .doc = "What the kernel says"),
        S_INTEGER("threads",        .example = "4", .doc = "Number of its threads"),
        S_NUMBER ("cpu_percent",    .example = "12.5",
                  .doc = "Processor time in cpu_interval, 100 is one processor; of a process that is new since then, in its "
                         "life"),
        S_NUMBER ("cpu_time",       .example = "1.25", .doc = "Processor time in all its life, in seconds"),
        S_NUMBER ("memory_percent", .example = "0.5", .doc = "Resident memory's share of the machine's"),
        S_NUMBER ("memory_mb",      .example = "20.5", .doc = "Resident memory in MiB"),
        S_INTEGER("rss_bytes",      .example = "21495808", .doc = "Resident memory in bytes"),
        S_TIME   ("start_time",     .doc = "When it was started"),
        S_TIME   ("started_at",     .doc = "The same"),
        S_BOOL   ("ours",           .example = "true", .doc = "Did the agent start it, or one of its ancestors?"),
        S_STRING ("process_id",     .nullable = true, .example = "\"cmd_1769594400000a1b2c3d4\"",
                  .doc = "The agent's id of what it belongs to; null: it is not ours"),
        S_STRING ("execution_id",   .nullable = true, .example = "\"exec_1769594400000a1b2c3d4\"", .doc = "Likewise"),
        S_END
};

static const struct shape listing_shape[] = {
        S_LIST   ("processes",    S_ITEM_OF(SHAPE_OBJECT, process_shape), .doc = "In the order that was asked for"),
        S_INTEGER("count",        .example = "1", .doc = "How many are in this answer"),
        S_INTEGER("total",        .example = "1", .doc = "How many there are that fit"),
        S_BOOL   ("truncated",    .example = "false", .doc = "Are there more than are shown?"),
        S_NUMBER ("cpu_interval", .nullable = true, .example = "2.5",
                  .doc = "Seconds that cpu_percent is about: since an earlier look; null: there was none"),
        S_TIME   ("timestamp",    .doc = "When this was answered"),
        S_END
};
/* clang-format on */

static const struct route_reply processes_replies[] = {
        { 200, NULL, listing_shape, "The processes" },
        { 0 },
};

static const enum problem processes_problems[] = { PROBLEM_LIMIT_REACHED, PROBLEM_UNAVAILABLE,
                                                   N_PROBLEMS };

const struct route_doc processes_get_doc = {
        .description =
                "All processes that the agent can see, 8192 at most, with those marked that it started itself. "
                "Nobody waits for the shares of processor time: they refer to an earlier look, at least half a "
                "second ago. Clients that ask at the same time share a look.",
        .replies = processes_replies,
        .problems = processes_problems,
};

/* One request on its way. */
struct listing {
        struct system_query query;
        struct request *request; /* a reference; not for the worker */
        struct processes_args args;
        char *name; /* NULL: any */
        char *user; /* NULL: any */
        struct buf body;
        int r;
};

/* One for the program: who asks profits from what earlier looks have seen. Its memory is bounded by the number of
 * processes, and is of use until the end. */
static struct system_processes *processes;

static struct listing *listing_free(struct listing *l)
{
        request_unref(l->request);
        free(l->name);
        free(l->user);
        buf_done(&l->body);
        free(l);
        return NULL;
}

/* --- on a worker thread --- */

static bool is_user(const struct system_process *p, const char *user)
{
        uint64_t uid;

        if (p->user && str_equal(p->user, user))
                return true;
        return str_parse_u64(user, &uid) == 0 && uid == p->uid;
}

static bool is_wanted(const struct listing *l, const struct system_snapshot *s,
                      const struct system_process *p)
{
        if (l->args.ours && !p->owner)
                return false;
        if (l->user && !is_user(p, l->user))
                return false;
        return !l->name || memmem(system_snapshot_text(s, &p->name), p->name.size, l->name,
                                  strlen(l->name)) != NULL;
}

/* The greatest first; what is equal by pid. */
static int compare_cpu(const void *a, const void *b)
{
        const struct system_process *x = *(const struct system_process *const *)a;
        const struct system_process *y = *(const struct system_process *const *)b;

        if (x->cpu_percent != y->cpu_percent)
                return x->cpu_percent > y->cpu_percent ? -1 : 1;
        return system_process_compare(x, y);
}

static int compare_memory(const void *a, const void *b)
{
        const struct system_process *x = *(const struct system_process *const *)a;
        const struct system_process *y = *(const struct system_process *const *)b;

        if (x->rss != y->rss)
                return x->rss > y->rss ? -1 : 1;
        return system_process_compare(x, y);
}

/* Returns how many fit; at @ret room for all. */
static size_t select_rows(const struct listing *l, const struct system_snapshot *s,
                          const struct system_process **ret)
{
        size_t n = 0;

        for (size_t i = 0; i < s->n; i++)
                if (is_wanted(l, s, &s->processes[i]))
                        ret[n++] = &s->processes[i];
        if (n > 0 && l->args.sort != SORT_PID)
                qsort(ret, n, sizeof(const struct system_process *),
                      l->args.sort == SORT_CPU ? compare_cpu : compare_memory);
        return n;
}

static int append_text(struct buf *b, const char *key, const char *text, size_t size)
{
        int r = buf_appendf(b, ",\"%s\":\"", key);

        if (r == 0)
                r = json_write_escaped(b, text, size);
        return r < 0 ? r : buf_append_str(b, "\"");
}

/* As ps writes it: what has no command line is told by its name in brackets. */
static int append_command(struct buf *b, const struct system_snapshot *s,
                          const struct system_process *p)
{
        const char *name = system_snapshot_text(s, &p->name);
        int r;

        if (p->command.size > 0)
                return append_text(b, "command", system_snapshot_text(s, &p->command),
                                   p->command.size);
        r = buf_append_str(b, ",\"command\":\"[");
        if (r == 0)
                r = json_write_escaped(b, name, p->name.size);
        return r < 0 ? r : buf_append_str(b, "]\"");
}

static int append_owner(struct buf *b, const struct system_process *p)
{
        const struct system_owner *o = p->owner;
        const char *state = system_state_name(p->state);

        if (!o)
                return buf_appendf(b,
                                   ",\"state\":\"%s\",\"status\":\"%s\",\"ours\":false,"
                                   "\"process_id\":null,\"execution_id\":null}",
                                   state, state);
        return buf_appendf(b,
                           ",\"state\":\"%s\",\"status\":\"%s\",\"ours\":true,"
                           "\"process_id\":\"%s\",\"execution_id\":\"%s\"}",
                           state, o->status, o->process_id, o->execution_id);
}

static int append_user(struct buf *b, const struct system_process *p)
{
        if (!p->user)
                return buf_appendf(b, ",\"user\":\"%u\"", (unsigned)p->uid);
        return append_text(b, "user", p->user, strlen(p->user));
}

static int append_row(struct buf *b, const struct system_snapshot *s,
                      const struct system_process *p)
{
        char started[CLOCK_RFC3339_SIZE];
        int r;

        (void)clock_rfc3339(started, MAX(p->started_ms, (int64_t)0));
        r = buf_appendf(b,
                        "{\"pid\":%d,\"ppid\":%d,\"uid\":%u,\"threads\":%llu,"
                        "\"cpu_percent\":%.1f,\"cpu_time\":%.2f,\"memory_percent\":%.2f,"
                        "\"memory_mb\":%.1f,\"rss_bytes\":%llu,\"start_time\":\"%s\","
                        "\"started_at\":\"%s\"",
                        (int)p->pid, (int)p->parent, (unsigned)p->uid,
                        (unsigned long long)p->threads, p->cpu_percent, (double)p->cpu_us / 1e6,
                        p->memory_percent, (double)p->rss / (double)MIB, (unsigned long long)p->rss,
                        started, started);
        if (r == 0)
                r = append_user(b, p);
        if (r == 0)
                r = append_text(b, "name", system_snapshot_text(s, &p->name), p->name.size);
        if (r == 0)
                r = append_command(b, s, p);
        return r < 0 ? r : append_owner(b, p);
}

/* As many of @rows as the text has room for. */
static int append_rows(struct buf *b, const struct system_snapshot *s,
                       const struct system_process *const *rows, size_t n, size_t *ret_n)
{
        size_t i;

        for (i = 0; i < n && b->size < LIMIT_PROCESS_LISTING; i++) {
                int r = i > 0 ? buf_append_str(b, ",") : 0;

                if (r == 0)
                        r = append_row(b, s, rows[i]);
                if (r < 0)
                        return r;
        }
        *ret_n = i;
        return 0;
}

static int encode(struct listing *l, const struct system_snapshot *s)
{
        CLEANUP(mem_free) const struct system_process **rows = xcalloc(s->n, sizeof(*rows));
        size_t n_found = select_rows(l, s, rows);
        size_t n = MIN(n_found, (size_t)l->args.limit);
        char now[CLOCK_RFC3339_SIZE];
        struct buf *b = &l->body;
        int r;

        r = buf_append_str(b, "{\"processes\":[");
        if (r == 0)
                r = append_rows(b, s, rows, n, &n);
        if (r < 0)
                return r;
        r = buf_appendf(b, "],\"count\":%zu,\"total\":%zu,\"truncated\":%s,\"cpu_interval\":", n,
                        n_found, n < n_found || s->is_truncated ? "true" : "false");
        if (r == 0 && s->cpu_interval_us > 0)
                r = buf_appendf(b, "%.3f", (double)s->cpu_interval_us / 1e6);
        else if (r == 0)
                r = buf_append_str(b, "null");
        return r < 0 ? r : buf_appendf(b, ",\"timestamp\":\"%s\"}", clock_rfc3339_now(now));
}

static void run(struct system_query *q, const struct system_snapshot *s)
{
        struct listing *l = container_of(q, struct listing, query);

        l->r = encode(l, s);
}

/* --- on the loop --- */

static void on_done(struct system_query *q, const struct error *err)
{
        struct listing *l = container_of(q, struct listing, query);
        size_t size;
        char *body;

        if (err || l->r < 0) {
                log_warning("cannot list processes", "id=%s error=%s", request_id(l->request),
                            log_quote(err ? err->message : strerror(-l->r)));
                request_fail(l->request, PROBLEM_UNAVAILABLE,
                             "the processes cannot be listed at the moment");
        } else {
                body = buf_steal(&l->body, &size); /* megabytes, perhaps: not copied on the loop */
                request_reply_text(l->request, 200, "application/json", body, size);
        }
        listing_free(l);
}

static void collect(void *arg, struct system_owners *o)
{
        const struct app *app = arg;

        if (app->supervisor) /* there are none any more at the very end */
                system_owners_add_supervised(o, app->supervisor);
        if (app->jobs)
                system_owners_add_jobs(o, app->jobs);
}

/* See the header. */
int processes_ask(struct request *req, struct system_query *q)
{
        struct app *app = request_app(req);
        int r;

        if (!processes)
                processes = system_processes_new(app->loop, collect, app);
        r = system_processes_ask(processes, q);
        if (r != -EBUSY)
                return r;
        request_set_header(req, "Retry-After", "1");
        request_fail(req, PROBLEM_LIMIT_REACHED,
                     "%d requests wait for a look at the processes already; try again",
                     LIMIT_PROCESS_LISTINGS);
        return 1;
}

static char *copy(const char *s)
{
        return s && *s ? xstrdup(s) : NULL;
}

/* Answers GET /processes. */
int processes_get(struct request *req)
{
        struct listing *l = xnew(struct listing);
        int r;

        l->query.run = run;
        l->query.done = on_done;
        l->request = request_ref(req);
        l->args = *(const struct processes_args *)request_args(req);
        l->name = copy(l->args.name);
        l->user = copy(l->args.user);
        l->args.name = l->args.user = NULL; /* the request's */
        buf_init(&l->body, 0);

        r = processes_ask(req, &l->query);
        if (r != 0)
                listing_free(l);
        return r < 0 ? r : 0;
}
