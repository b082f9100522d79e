/* SPDX-License-Identifier: Apache-2.0 */

/* All pools together: options, beginning and end. The end waits for every process, handle and worker that knows of us;
 * they are counted in n_live. */

#include "proc/warm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"

#define LOG_MODULE "warm"
#include "agent/base/log.h"

/* On the wire. */
const char *const warm_pool_names[N_POOLS] = {
        [POOL_PYTHON] = "python",
        [POOL_SCIENTIFIC] = "python-scientific",
        [POOL_JAVASCRIPT] = "javascript",
};

static const char *const miss_names[N_WARM_MISSES] = {
        [WARM_MISS_DISABLED] = "disabled", [WARM_MISS_ENVIRONMENT] = "environment",
        [WARM_MISS_SIZE] = "size",         [WARM_MISS_INPUT] = "input",
        [WARM_MISS_TERMINAL] = "terminal", [WARM_MISS_LIMITS] = "limits",
        [WARM_MISS_STALE] = "stale",       [WARM_MISS_EMPTY] = "empty",
        [WARM_MISS_FAILED] = "failed",
};

static char *dup_or_null(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

/* As the server takes a list: without blanks. */
static char *dup_list(const char *s)
{
        char *list = dup_or_null(s), *to = list;

        for (const char *from = list; from && *from; from++)
                if (*from != ' ' && *from != '\t')
                        *to++ = *from;
        if (list)
                *to = '\0';
        return list;
}

static void free_options(struct warm *w)
{
        free((char *)w->options.driver_dir);
        free((char *)w->options.preload);
        w->preload = strv_free(w->preload);
}

static void copy_options(struct warm *w, const struct warm_options *o)
{
        free_options(w);
        w->options = *o;
        w->options.driver_dir = dup_or_null(o->driver_dir);
        w->options.preload = dup_list(o->preload);
        w->preload = warm_scan_names(o->preload);
        w->pools[POOL_PYTHON].max = o->max_python;
        w->pools[POOL_SCIENTIFIC].max = w->preload ? o->max_python : 0;
        w->pools[POOL_JAVASCRIPT].max = o->max_javascript;
}

static void begin(struct warm *w)
{
        for (int i = 0; i < N_POOLS; i++) {
                struct warm_pool *pool = &w->pools[i];

                pool->target = MAX((uint64_t)1, MIN(pool->target, pool->max));
                if (w->options.at_boot && warm_pool_is_on(pool))
                        warm_pool_use(pool);
        }
}

/* See the header. */
struct warm *warm_new(struct loop *l, struct supervisor *s, const struct warm_options *o)
{
        struct warm *w = xnew(struct warm);

        w->loop = l;
        w->supervisor = supervisor_ref(s);
        list_init(&w->leaves);
        for (int i = 0; i < N_POOLS; i++)
                warm_pool_init(&w->pools[i], w, (enum pool_kind)i);
        copy_options(w, o);
        begin(w);
        return w;
}

/* See the header. What waits may have the limits of before. */
void warm_set_options(struct warm *w, const struct warm_options *o)
{
        if (w->is_closing)
                return;
        for (int i = 0; i < N_POOLS; i++) {
                warm_pool_end(&w->pools[i], WARM_MISS_EMPTY);
                w->pools[i].is_given_up = false;
                w->pools[i].n_failures = 0;
                warm_pool_kick(&w->pools[i], 0);
        }
        copy_options(w, o);
        begin(w);
}

/* See the header. */
void warm_set_variables(struct warm *w, json_t *variables)
{
        if (w->is_closing)
                return;
        json_decref(w->variables);
        w->variables = json_incref(variables);
        for (int i = 0; i < N_POOLS; i++)
                warm_pool_look_at_variables(&w->pools[i]);
}

/* See the header. */
void warm_renew(struct warm *w)
{
        for (int i = 0; i < N_POOLS; i++) {
                struct warm_pool *pool = &w->pools[i];

                if (!pool->is_wanted || !warm_pool_is_on(pool))
                        continue;
                pool->restarts++;
                warm_pool_end(pool, WARM_MISS_STALE);
                warm_pool_kick(pool, 0);
        }
}

/* See the header. */
void warm_unlive(struct warm *w)
{
        void (*on_closed)(void *arg) = w->on_closed;
        void *arg = w->arg;

        if (--w->n_live > 0 || !w->is_closing)
                return;
        supervisor_unref(w->supervisor);
        free_options(w);
        json_decref(w->variables);
        for (int i = 0; i < N_POOLS; i++)
                strv_free(w->pools[i].envp);
        free(w);
        if (on_closed)
                on_closed(arg);
}

static void on_timer_closed(uv_handle_t *h)
{
        warm_unlive(container_of((uv_timer_t *)h, struct warm_pool, timer)->warm);
}

/* See the header. */
void warm_close(struct warm *w, void (*on_closed)(void *arg), void *arg)
{
        w->is_closing = true;
        w->on_closed = on_closed;
        w->arg = arg;
        warm_leaves_give_back(w, true);
        for (int i = 0; i < N_POOLS; i++) {
                warm_pool_end(&w->pools[i], WARM_MISS_EMPTY);
                warm_watch_done(&w->pools[i].watch);
        }
        for (int i = 0; i < N_POOLS; i++)
                uv_close((uv_handle_t *)&w->pools[i].timer, on_timer_closed);
}

/* --- the numbers --- */

static uint64_t resident_bytes(pid_t pid)
{
        char path[64], text[128];
        unsigned long long total, resident;
        CLEANUP(fd_close) int fd = -1;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return 0;
        text[n] = '\0';
        return sscanf(text, "%llu %llu", &total, &resident) == 2
                       ? resident * (uint64_t)sysconf(_SC_PAGESIZE)
                       : 0;
}

static uint64_t resident_of_pool(const struct warm_pool *pool)
{
        uint64_t sum = pool->server ? resident_bytes(pool->server->ward.pid) : 0;

        list_for_each(item, &pool->children[CHILD_READY])
                sum += resident_bytes(list_entry(item, struct warm_child, link)->ward.pid);
        return sum;
}

/* Of those that have one: so that who lists processes can tell them from executions. */
static json_t *pids_of_pool(const struct warm_pool *pool)
{
        json_t *pids = json_array();

        for (int state = CHILD_PLACING; state < N_CHILD_STATES; state++)
                list_for_each(item, &pool->children[state])
                        json_array_append_new(
                                pids,
                                json_integer(list_entry(item, struct warm_child, link)->ward.pid));
        return pids;
}

static json_int_t n_starting(const struct warm_pool *pool)
{
        unsigned n = pool->n_children[CHILD_ASKED] + pool->n_children[CHILD_PLACING];

        return (json_int_t)n + (pool->server && !pool->server->is_ready);
}

static json_t *describe_pool(const struct warm_pool *pool)
{
        json_t *misses = json_object();
        json_t *server = pool->server ? json_integer(pool->server->ward.pid) : json_null();

        for (int i = 0; i < N_WARM_MISSES; i++)
                json_object_set_new(misses, miss_names[i],
                                    json_integer((json_int_t)pool->misses[i]));
        return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:I, s:I}", //
                         "enabled", warm_pool_is_on(pool),                               //
                         "given_up", pool->is_given_up,                                  //
                         "ready", (json_int_t)pool->n_children[CHILD_READY],             //
                         "starting", n_starting(pool),                                   //
                         "waiting", (json_int_t)pool->n_waiting,                         //
                         "target", (json_int_t)pool->target,                             //
                         "server_pid", server,                                           //
                         "pids", pids_of_pool(pool),                                     //
                         "hits", (json_int_t)(pool->hits - pool->lost),                  //
                         "misses", misses,                                               //
                         "restarts", (json_int_t)pool->restarts,                         //
                         "resident_bytes", (json_int_t)resident_of_pool(pool));
}

/* See the header. */
const char *warm_miss_name(enum warm_miss miss)
{
        return miss_names[miss];
}

/* See the header. */
bool warm_count(const struct warm *w, unsigned i, struct warm_counts *ret)
{
        const struct warm_pool *pool;

        if (i >= N_POOLS)
                return false;
        pool = &w->pools[i];
        *ret = (struct warm_counts){
                .pool = warm_pool_names[i],
                .is_enabled = warm_pool_is_on(pool),
                .n_ready = pool->n_children[CHILD_READY],
                .n_starting = (uint64_t)n_starting(pool),
                .n_waiting = pool->n_waiting,
                .hits = pool->hits,
                .lost = pool->lost,
                .restarts = pool->restarts,
        };
        memcpy(ret->misses, pool->misses, sizeof(ret->misses));
        return true;
}

/* See the header. */
json_t *warm_describe(const struct warm *w)
{
        json_t *pools = json_object();

        for (int i = 0; i < N_POOLS; i++)
                json_object_set_new(pools, warm_pool_names[i], describe_pool(&w->pools[i]));
        return pools;
}
