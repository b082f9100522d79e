/* SPDX-License-Identifier: Apache-2.0 */

/* What has ended is kept for a while, in the order of the ends. What goes too early is never something whose files
 * are still used: by a keeper that waits for what lingers, or for a callback that has not been delivered. Such ones
 * enter the list, in the place that is theirs, once that is over; until then they do not count, for else the others
 * would have to go instead. */

#include <stdlib.h>

#include "agent/base/macros.h"
#include "agent/loop/timer.h"
#include "proc/jobs_private.h"

#define LOG_MODULE "jobs"
#include "agent/base/log.h"

/* The next look at the ages: neither is the wall clock to be trusted for long, nor is it precise. */
#define MIN_SWEEP_MS 20
#define MAX_SWEEP_MS (600 * 1000)
/* Evicted in one turn of the loop. */
#define MAX_EVICTIONS 64

/* See jobs_private.h. */
void jobs_want_eviction(struct jobs *j)
{
        j->wants_eviction = true;
        jobs_soon(j);
}

static bool is_done_with(const struct job *job)
{
        return !job->link_to_keeper && (!job->callback_url || job->is_callback_final);
}

static void enlist(struct jobs *j, struct job *job)
{
        struct list *where = &j->ended;

        while (where->prev != &j->ended &&
               list_entry(where->prev, struct job, ended_link)->ended_order > job->ended_order)
                where = where->prev;
        list_insert_before(where, &job->ended_link);
        job->kept_bytes = job->result.rich_size;
        for (unsigned i = 0; i < 2; i++)
                job->kept_bytes += MIN(job->totals[i], j->options.log_capacity);
        j->kept_bytes += job->kept_bytes;
        j->n_ended++;
}

/* See jobs_private.h. */
void job_keep(struct job *job)
{
        struct jobs *j = job->jobs;

        if (!job->ended_order)
                job->ended_order = ++j->last_ended_order;
        if (job->is_gone || !is_done_with(job) || !list_is_empty(&job->ended_link))
                return;
        enlist(j, job);
        jobs_want_eviction(j);
}

static void delist(struct jobs *j, struct job *job)
{
        if (list_is_empty(&job->ended_link))
                return;
        list_remove(&job->ended_link);
        j->kept_bytes -= job->kept_bytes;
        j->n_ended--;
}

/* Its files follow, its memory when nobody refers to it. */
static void forget(struct job *job)
{
        struct jobs *j = job->jobs;

        list_remove(&job->process_link);
        list_remove(&job->execution_link);
        list_remove(&job->repeat_link);
        list_remove(&job->leader_link);
        list_remove(&job->keeper_link);
        list_remove(&job->link);
        list_append(&j->leaving, &job->link);
        delist(j, job);
        job_store(job, STORE_REMOVE);
}

static void hide(struct job *job)
{
        job->is_gone = true;
        job_owe_callback(job, false);
        job->jobs->n_known--;
        job_tell(job, TELL_CHANGE);
}

static int64_t age_ms(const struct job *job, int64_t now_ms)
{
        return MAX(now_ms - job->ended_ms, (int64_t)0);
}

static bool is_over(const struct jobs *j, const struct job *job, int64_t now_ms)
{
        return j->n_ended > j->options.max_kept || j->kept_bytes > j->options.max_kept_bytes ||
               (uint64_t)age_ms(job, now_ms) >= j->options.keep_ms;
}

/* Those beyond the limits. */
void jobs_evict(struct jobs *j)
{
        int64_t now_ms = jobs_now_ms();
        unsigned n = 0;
        uint64_t wait_ms;

        j->wants_eviction = false;
        list_for_each_safe(item, &j->ended) {
                struct job *job = list_entry(item, struct job, ended_link);

                if (!is_over(j, job, now_ms)) {
                        /* The others are younger. */
                        wait_ms = j->options.keep_ms - (uint64_t)age_ms(job, now_ms);
                        timer_start(j->sweep, MAX(MIN(wait_ms, (uint64_t)MAX_SWEEP_MS),
                                                  (uint64_t)MIN_SWEEP_MS));
                        return;
                }
                if (n++ == MAX_EVICTIONS) {
                        timer_start(j->sweep, 1); /* one of 0 ms would come in this very turn */
                        return;
                }
                log_debug("job evicted", "id=%s", job->process_id);
                hide(job);
                forget(job);
        }
}

/* See jobs_private.h. */
void job_remove_dropped(struct job *job)
{
        if (job->is_gone && job_phase_is_final(job->phase) && !job->link_to_keeper)
                forget(job);
}

/* See the header. Until its end it stays where it is, but nobody finds it. */
void job_drop(struct job *job)
{
        if (!job->jobs || job->jobs->is_closing || job->is_gone)
                return;
        hide(job); /* keeps a reference until the next turn, for the caller */
        job_remove_dropped(job);
}

/* See jobs_private.h. */
void job_owe_callback(struct job *job, bool owes)
{
        if (!job->jobs || job->owes_callback == owes)
                return;
        job->owes_callback = owes;
        job->jobs->n_callbacks += owes ? 1 : (size_t)-1;
}

/* See the header. */
void job_set_callback(struct job *job, json_t *state, bool is_final)
{
        json_decref(job->callback);
        job->callback = state;
        job->is_callback_final = is_final;
        if (is_final)
                job_owe_callback(job, false);
        if (!job->jobs || job->jobs->is_closing || !is_final)
                return;
        job_store(job, STORE_CALLBACK);
        if (job_phase_is_final(job->phase))
                job_keep(job);
}
