/* SPDX-License-Identifier: Apache-2.0 */

/* One pool: how many wait, and what is done when something is wrong. All that takes time is started by its timer, in a
 * later turn of the loop than the one in which somebody wanted something: an execution does not wait for its
 * successor's process.
 *
 * How many wait follows the demand: one at first, and one more whenever an execution found nobody, up to the option. A
 * server forks in a millisecond, so its pool is filled again at once, and a crowd that finds it empty waits for its
 * forks. node needs 60 ms of a processor to start, which executions that run meanwhile would miss: it is started when
 * there is a pause, or after a while if there is none, and one at a time. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"

#define LOG_MODULE "warm"
#include "agent/base/log.h"

#define READY_MS    60000
#define WEDGED_MS   10000
#define QUIET_MS    1000
#define LOOK_MS     2000 /* how often it is seen whether something has changed on the disk */
#define LEAVES_MS   50
#define PAUSE_MS    1000
#define BACKOFF_MS  100
#define BACKOFF_MAX 10000

#define MAX_FAILURES      5
#define FAILURES_MS       60000
#define MAX_EARLY         2
#define MAX_ASKED         16
#define SERVER_SPACING_MS 100 /* whatever the reason to start another one */
#define NODE_PAUSE_MS     25  /* nothing was taken for so long … */
#define NODE_SPACING_MS   120 /* … or nothing was started */
#define MAX_ASLEEP_US     1000000

static uint64_t or_default(uint64_t option, uint64_t value)
{
        return option ? option : value;
}

static const struct warm_options *options(const struct warm_pool *pool)
{
        return &pool->warm->options;
}

static unsigned n_waiting_children(const struct warm_pool *pool)
{
        return pool->n_children[CHILD_ASKED] + pool->n_children[CHILD_PLACING] +
               pool->n_children[CHILD_READY];
}

/* See the header. */
bool warm_pool_is_on(const struct warm_pool *pool)
{
        return options(pool)->is_enabled && pool->max > 0 && !pool->is_given_up &&
               !pool->warm->is_closing;
}

/* --- who waits --- */

static void answer_cold(struct warm_pool *pool, struct warm_request *q, enum warm_miss why)
{
        list_remove(&q->link);
        pool->n_waiting--;
        pool->misses[why]++;
        q->done(q, NULL);
}

static void answer_all_cold(struct warm_pool *pool, enum warm_miss why)
{
        while (!list_is_empty(&pool->waiting))
                answer_cold(pool, list_entry(pool->waiting.next, struct warm_request, link), why);
}

/* They are in the order in which they came. */
static void answer_late(struct warm_pool *pool, uint64_t now)
{
        while (!list_is_empty(&pool->waiting)) {
                struct warm_request *q = list_entry(pool->waiting.next, struct warm_request, link);

                if (q->waits_until_ms > now)
                        break;
                answer_cold(pool, q, WARM_MISS_EMPTY);
        }
}

/* --- ends --- */

static void end_children(struct warm_pool *pool, enum child_state first)
{
        /* What they die of is known, or of no interest any more: one failure is not counted twice. */
        list_for_each(item, &pool->children[CHILD_ENDING])
                list_entry(item, struct warm_child, link)->was_lost = false;
        for (int state = (int)first; state <= CHILD_READY; state++)
                list_for_each_safe(item, &pool->children[state])
                        warm_child_end(list_entry(item, struct warm_child, link));
}

/* See the header. */
void warm_pool_end(struct warm_pool *pool, enum warm_miss why)
{
        end_children(pool, CHILD_ASKED);
        warm_server_end(pool);
        answer_all_cold(pool, why);
}

/* See the header. */
void warm_pool_give_up(struct warm_pool *pool, const char *why)
{
        if (pool->is_given_up)
                return;
        log_warning("no warm starts any more, until the configuration is loaded again",
                    "pool=%s reason=%s", warm_pool_names[pool->kind], log_quote(why));
        pool->is_given_up = true;
        warm_watch_done(&pool->watch);
        warm_pool_end(pool, WARM_MISS_FAILED);
}

/* See the header. */
void warm_pool_failed(struct warm_pool *pool, const char *why)
{
        uint64_t now = clock_now_ms(), backoff;

        if (pool->warm->is_closing || pool->is_given_up)
                return;
        if (pool->n_failures == 0 || now - pool->failing_since_ms > FAILURES_MS) {
                pool->n_failures = 0;
                pool->failing_since_ms = now;
        }
        pool->n_failures++;
        pool->restarts++;
        if (pool->n_failures >= MAX_FAILURES) {
                warm_pool_give_up(pool, why);
                return;
        }
        log_info("a pool of waiting processes is started again", "pool=%s reason=%s",
                 warm_pool_names[pool->kind], log_quote(why));
        backoff = MIN((uint64_t)BACKOFF_MS << (pool->n_failures - 1), (uint64_t)BACKOFF_MAX);
        pool->not_before_ms = now + backoff;
        warm_pool_kick(pool, backoff);
        warm_pool_end(pool, WARM_MISS_FAILED);
}

/* See the header. */
void warm_pool_pause(struct warm_pool *pool)
{
        pool->not_before_ms = clock_now_ms() + PAUSE_MS;
        warm_pool_kick(pool, PAUSE_MS);
        answer_all_cold(pool, WARM_MISS_FAILED);
}

/* --- out of date --- */

/* How long the machine has been suspended since it was started, or we have stood still: as a snapshot of it is, and its
 * clones. This is asked before a waiting process is used, so that none is that another machine has as well. */
static int64_t asleep_us(void)
{
        struct timespec boot, awake;

        if (clock_gettime(CLOCK_BOOTTIME, &boot) < 0 || clock_gettime(CLOCK_MONOTONIC, &awake) < 0)
                return 0;
        return (int64_t)(boot.tv_sec - awake.tv_sec) * 1000000 +
               (boot.tv_nsec - awake.tv_nsec) / 1000 + (int64_t)clock_paused_us();
}

static void become_stale(struct warm_pool *pool)
{
        uint64_t quiet_ms = or_default(options(pool)->quiet_ms, QUIET_MS);

        log_debug("what was loaded has changed", "pool=%s", warm_pool_names[pool->kind]);
        pool->is_stale = true;
        pool->restarts++;
        pool->not_before_ms = clock_now_ms() + quiet_ms;
        warm_pool_kick(pool, quiet_ms);
        warm_pool_end(pool, WARM_MISS_STALE);
}

/* See the header. */
bool warm_pool_is_fresh(struct warm_pool *pool)
{
        struct warm_program found;
        int64_t slept;

        if (pool->is_stale)
                return false;
        if (warm_watch_has_changed(&pool->watch) ||
            warm_program_find(pool->kind, pool->envp, &found) < 0 ||
            !warm_program_is_same(&pool->program, &found)) {
                become_stale(pool);
                return false;
        }
        slept = asleep_us() - pool->asleep_us;
        if (slept > MAX_ASLEEP_US || slept < -MAX_ASLEEP_US) {
                /* The server may live: nothing of what it forks is decided before the fork. It answers in
                 * order, so those that are asked for already stay until then. */
                pool->asleep_us += slept;
                list_for_each(item, &pool->children[CHILD_ASKED])
                        list_entry(item, struct warm_child, link)->is_outdated = true;
                end_children(pool, CHILD_PLACING);
                warm_pool_kick(pool, 0);
        }
        return true;
}

/* Nothing has changed for a while: true when it may be started again. */
static bool has_become_quiet(struct warm_pool *pool, uint64_t now)
{
        if (!pool->is_stale)
                return true;
        if (warm_watch_has_changed(&pool->watch)) {
                pool->not_before_ms = now + or_default(options(pool)->quiet_ms, QUIET_MS);
                return false;
        }
        pool->is_stale = false;
        return true;
}

/* See the header. */
void warm_pool_on_ready(struct warm_pool *pool, const char *paths, size_t size)
{
        struct error err = ERROR_INIT;
        int r = warm_watch_open(&pool->watch, paths, size, &pool->server->started, &err);

        if (r < 0) {
                warm_pool_give_up(pool, err.message);
                return;
        }
        /* What the interpreter writes itself, once, looks the same. */
        pool->n_early = r == WARM_WATCH_E_CHANGED ? pool->n_early + 1 : 0;
        if (r == WARM_WATCH_E_CHANGED && pool->n_early <= MAX_EARLY)
                become_stale(pool);
        else
                warm_pool_kick(pool, 0);
        log_debug(
                "a fork server is ready", "pool=%s took_ms=%llu watches=%zu",
                warm_pool_names[pool->kind],
                (unsigned long long)(pool->server ? clock_now_ms() - pool->server->started_ms : 0),
                pool->watch.n);
}

/* --- starting --- */

/* What it is made from. */
static int look_around(struct warm_pool *pool)
{
        pool->envp = strv_free(pool->envp);
        pool->envp = warm_environment_of_pool(pool->kind, supervisor_user(pool->warm->supervisor),
                                              pool->warm->variables);
        if (!pool->envp)
                return -E2BIG;
        pool->asleep_us = asleep_us();
        if (warm_program_find(pool->kind, pool->envp, &pool->program) < 0)
                return -ENOENT;
        warm_program_look_into(&pool->program);
        return 0;
}

static void server_not_started(struct warm_pool *pool, const struct error *err)
{
        if (err->code == -ENOENT)
                warm_pool_give_up(pool, err->message);
        else if (err->code == -EAGAIN || err->code == -ENOMEM || err->code == -EMFILE ||
                 err->code == -ENFILE)
                warm_pool_pause(pool); /* it is not the pool's fault, and will pass */
        else
                warm_pool_failed(pool, err->message);
}

static void start_server(struct warm_pool *pool)
{
        struct error err = ERROR_INIT;

        warm_watch_done(&pool->watch);
        if (look_around(pool) < 0)
                warm_pool_give_up(pool, "there is no such interpreter");
        else if (warm_server_start(pool, &err) < 0)
                server_not_started(pool, &err);
}

static void ask(struct warm_pool *pool)
{
        struct error err = ERROR_INIT;
        uint64_t due;

        while (pool->server && pool->n_children[CHILD_ASKED] < MAX_ASKED &&
               n_waiting_children(pool) < pool->target + pool->n_waiting) {
                due = warm_child_due(pool);
                if (due > 0) {
                        warm_pool_kick(pool, due);
                        return;
                }
                if (warm_server_ask(pool->server, &err) == 0)
                        continue;
                log_debug("no process was asked for", "error=%s", log_quote(err.message));
                if (err.code == -EPIPE || err.code == -ECONNRESET)
                        warm_pool_failed(pool, "it has gone");
                else
                        warm_pool_pause(pool);
                return;
        }
}

static bool is_wedged(const struct warm_pool *pool, uint64_t now)
{
        const struct list *asked = &pool->children[CHILD_ASKED];

        return !list_is_empty(asked) &&
               list_entry(asked->next, struct warm_child, link)->since_ms +
                               or_default(options(pool)->wedged_ms, WEDGED_MS) <=
                       now;
}

static void keep_server(struct warm_pool *pool, uint64_t now)
{
        struct warm_server *s = pool->server;
        uint64_t wedged_ms = or_default(options(pool)->wedged_ms, WEDGED_MS);

        if (!s && now < pool->last_birth_ms + SERVER_SPACING_MS) {
                warm_pool_kick(pool, pool->last_birth_ms + SERVER_SPACING_MS - now);
        } else if (!s) {
                pool->last_birth_ms = now;
                start_server(pool);
                warm_pool_kick(pool, or_default(options(pool)->ready_ms, READY_MS));
        } else if (!s->is_ready) {
                uint64_t due = s->started_ms + or_default(options(pool)->ready_ms, READY_MS);

                if (due <= now)
                        warm_pool_failed(pool, "it does not become ready");
                else
                        warm_pool_kick(pool, due - now);
        } else if (is_wedged(pool, now)) {
                warm_pool_failed(pool, "it does not answer");
        } else if (warm_pool_is_fresh(pool)) {
                ask(pool);
                warm_pool_kick(pool, LOOK_MS);
                if (pool->n_children[CHILD_ASKED] > 0)
                        warm_pool_kick(pool, wedged_ms);
        }
}

/* When node may be started, at the earliest. */
static uint64_t node_due(const struct warm_pool *pool, uint64_t now)
{
        uint64_t pause = pool->last_used_ms + NODE_PAUSE_MS;
        uint64_t spacing = pool->last_birth_ms + NODE_SPACING_MS;

        if (pool->last_birth_ms == 0)
                return now;
        /* One at a time, and then either is enough. */
        return MIN(MAX(pause, pool->last_birth_ms + NODE_SPACING_MS / 2), spacing);
}

static void start_node(struct warm_pool *pool, uint64_t now)
{
        struct error err = ERROR_INIT;
        int r;

        if (n_waiting_children(pool) == 0 && look_around(pool) < 0) {
                warm_pool_give_up(pool, "there is no such interpreter");
                return;
        }
        r = warm_child_spawn(pool, &err);
        pool->last_birth_ms = now;
        if (r < 0) {
                log_debug("no process was started", "error=%s", log_quote(err.message));
                warm_pool_pause(pool);
        }
}

static void keep_node(struct warm_pool *pool, uint64_t now)
{
        uint64_t due;

        if (n_waiting_children(pool) > 0 && !warm_pool_is_fresh(pool))
                return;
        if (n_waiting_children(pool) >= pool->target) {
                warm_pool_kick(pool, LOOK_MS);
                return;
        }
        due = node_due(pool, now);
        if (due <= now)
                start_node(pool, now);
        warm_pool_kick(pool, due > now ? due - now : NODE_SPACING_MS / 2);
}

/* --- the timer --- */

/* True when nobody has wanted anything from it for long. */
static bool has_idled(struct warm_pool *pool, uint64_t now)
{
        uint64_t idle_ms = options(pool)->idle_ms;

        if (idle_ms == 0)
                return false;
        if (now - pool->last_used_ms >= idle_ms)
                return true;
        warm_pool_kick(pool, pool->last_used_ms + idle_ms - now);
        return false;
}

static void on_timer(uv_timer_t *t)
{
        struct warm_pool *pool = container_of(t, struct warm_pool, timer);
        uint64_t now = clock_now_ms();

        warm_leaves_give_back(pool->warm, false);
        if (!list_is_empty(&pool->warm->leaves))
                warm_pool_kick(pool, LEAVES_MS);
        answer_late(pool, now);
        if (!list_is_empty(&pool->waiting)) {
                struct warm_request *q = list_entry(pool->waiting.next, struct warm_request, link);

                warm_pool_kick(pool, q->waits_until_ms - now);
        }
        if (!pool->is_wanted || !warm_pool_is_on(pool))
                return;
        if (has_idled(pool, now)) {
                log_debug("unused", "pool=%s", warm_pool_names[pool->kind]);
                pool->is_wanted = false;
                pool->target = 1;
                warm_pool_end(pool, WARM_MISS_EMPTY);
                warm_watch_done(&pool->watch);
                return;
        }
        if (pool->not_before_ms > now || !has_become_quiet(pool, now)) {
                warm_pool_kick(pool, pool->not_before_ms - now);
                return;
        }
        if (pool->kind == POOL_JAVASCRIPT)
                keep_node(pool, now);
        else
                keep_server(pool, now);
}

/* See the header. */
void warm_pool_kick(struct warm_pool *pool, uint64_t ms)
{
        uv_handle_t *h = (uv_handle_t *)&pool->timer;

        if (uv_is_closing(h) || (uv_is_active(h) && uv_timer_get_due_in(&pool->timer) <= ms))
                return;
        uv_update_time(&pool->warm->loop->uv);
        (void)uv_timer_start(&pool->timer, on_timer, ms, 0);
}

/* See the header. */
void warm_pool_use(struct warm_pool *pool)
{
        pool->last_used_ms = clock_now_ms();
        if (pool->is_wanted)
                return;
        pool->is_wanted = true;
        warm_pool_kick(pool, 0);
}

/* See the header. */
void warm_pool_init(struct warm_pool *pool, struct warm *w, enum pool_kind kind)
{
        pool->warm = w;
        pool->kind = kind;
        pool->target = 1;
        for (int state = 0; state < N_CHILD_STATES; state++)
                list_init(&pool->children[state]);
        list_init(&pool->waiting);
        warm_watch_init(&pool->watch);
        (void)uv_timer_init(&w->loop->uv, &pool->timer);
        w->n_live++;
}
