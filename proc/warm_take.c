/* SPDX-License-Identifier: Apache-2.0 */

/* Which executions may start warm, and from which pool. */

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "proc/driver_protocol.h"
#include "proc/warm_private.h"

/* How long an execution waits for a fork rather than for an interpreter of its own: on a machine that is that busy,
 * that would take longer. */
#define WAIT_MS 1000

/* What is against it and has nothing to do with the pool's state, or N_WARM_MISSES. */
static enum warm_miss obstacle(const struct warm_pool *pool, const struct warm_request *q)
{
        struct warm_program found;

        if (!warm_pool_is_on(pool))
                return WARM_MISS_DISABLED;
        if (q->has_terminal)
                return WARM_MISS_TERMINAL;
        if (q->has_staged_input)
                return WARM_MISS_INPUT;
        if (q->has_limits || (q->has_resource_limits && pool->warm->may_not_limit))
                return WARM_MISS_LIMITS;
        if (warm_job_size(q->cwd, q->script, q->envp) > DRIVER_JOB_MAX)
                return WARM_MISS_SIZE;
        if (!pool->envp)
                return N_WARM_MISSES; /* it was never started */
        if (!warm_environment_fits(pool->kind, pool->envp, q->envp, q->cwd) ||
            warm_program_depends_on(&pool->program, q->cwd) ||
            warm_program_find(pool->kind, q->envp, &found) < 0 ||
            strcmp(found.path, pool->program.path) != 0)
                return WARM_MISS_ENVIRONMENT;
        return N_WARM_MISSES;
}

/* See the header. */
struct warm_child *warm_pool_pop(struct warm_pool *pool)
{
        struct list *ready = &pool->children[CHILD_READY];

        while (!list_is_empty(ready)) {
                struct warm_child *c = list_entry(ready->next, struct warm_child, link);

                if (warm_child_is_alive(c)) {
                        warm_child_move(c, CHILD_TAKEN);
                        return c;
                }
                c->was_lost = true;
                warm_child_end(c); /* what it died of we are told later */
        }
        return NULL;
}

/* See the header. */
void warm_pool_deliver(struct warm_pool *pool)
{
        while (!list_is_empty(&pool->waiting) && pool->n_children[CHILD_READY] > 0) {
                struct warm_request *q = list_entry(pool->waiting.next, struct warm_request, link);
                struct warm_child *c;

                if (!warm_pool_is_fresh(pool)) /* which has answered them all */
                        return;
                c = warm_pool_pop(pool);
                if (!c)
                        break;
                c->request = q;
                list_remove(&q->link);
                pool->n_waiting--;
                q->done(q, c);
        }
        warm_pool_kick(pool, 0);
}

static bool can_wait(const struct warm_pool *pool)
{
        return pool->server && pool->server->is_ready && pool->not_before_ms <= clock_now_ms() &&
               pool->n_waiting < LIMIT_WARM_WAITING;
}

/* Whether it could have had somebody ready. */
static bool has_begun(const struct warm_pool *pool)
{
        return pool->kind == POOL_JAVASCRIPT ? pool->last_birth_ms > 0
                                             : pool->server && pool->server->is_ready;
}

static void wait_for_fork(struct warm_pool *pool, struct warm_request *q)
{
        uint64_t wait_ms = pool->warm->options.wait_ms ? pool->warm->options.wait_ms : WAIT_MS;

        q->waits_until_ms = clock_now_ms() + wait_ms;
        list_append(&pool->waiting, &q->link);
        pool->n_waiting++;
        warm_pool_kick(pool, 0);
}

static int miss(struct warm_pool *pool, enum warm_miss why)
{
        pool->misses[why]++;
        return WARM_E_COLD;
}

static int take_from(struct warm_pool *pool, struct warm_request *q, struct warm_child **ret)
{
        enum warm_miss why = obstacle(pool, q);
        struct warm_child *c;

        q->pool = pool;
        if (why != N_WARM_MISSES)
                return miss(pool, why);
        warm_pool_use(pool);
        if (pool->is_stale || (pool->envp && !warm_pool_is_fresh(pool)))
                return miss(pool, WARM_MISS_STALE);
        c = warm_pool_pop(pool);
        if (c) {
                c->request = q;
                *ret = c;
                return 0;
        }
        if (pool->target < pool->max && has_begun(pool))
                pool->target++;
        warm_pool_kick(pool, 0);
        if (!can_wait(pool))
                return miss(pool, WARM_MISS_EMPTY);
        wait_for_fork(pool, q);
        return WARM_E_WAIT;
}

/* See the header. */
int warm_take(struct warm *w, struct warm_request *q, struct warm_child **ret)
{
        struct warm_pool *bare = &w->pools[POOL_PYTHON], *scientific = &w->pools[POOL_SCIENTIFIC];
        int r = WARM_E_COLD;

        if (q->language == LANGUAGE_JAVASCRIPT)
                return take_from(&w->pools[POOL_JAVASCRIPT], q, ret);
        if (q->language != LANGUAGE_PYTHON)
                return WARM_E_COLD;
        if (!warm_scan_imports(q->code, q->code_size, w->preload))
                return take_from(bare, q, ret);
        r = take_from(scientific, q, ret);
        /* The interpreter alone is better than nothing, if there is one. */
        if (r == WARM_E_COLD && bare->n_children[CHILD_READY] > 0)
                r = take_from(bare, q, ret);
        return r;
}

/* See the header. */
void warm_request_lost(struct warm *w, struct warm_request *q)
{
        struct warm_pool *pool = q->pool;

        if (!pool || w->is_closing)
                return;
        pool->lost++; /* and not a hit less: what others collect as a counter never falls */
        pool->misses[WARM_MISS_FAILED]++;
        warm_pool_failed(pool, "a waiting process died before it had read its job");
}
