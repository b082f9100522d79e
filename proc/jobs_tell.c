/* SPDX-License-Identifier: Apache-2.0 */

/* Who is told what has become of a job. Never at once: what happened is noted, and told from a timer of zero
 * milliseconds, so that who calls a function of the registry is not called back from inside it, and a crowd of events
 * is one call. */

#include <stdlib.h>

#include "agent/loop/timer.h"
#include "proc/jobs_private.h"

/* See jobs_private.h. */
void jobs_soon(struct jobs *j)
{
        if (j->is_soon || j->is_closing)
                return;
        j->is_soon = true;
        timer_start(j->soon, 0);
}

/* Notes it. */
void job_tell(struct job *job, unsigned what)
{
        struct jobs *j = job->jobs;

        if (!j || j->is_closing)
                return;
        if (!(what & (TELL_CHANGE | TELL_OWNER)) && list_is_empty(&job->watches))
                return;
        if (!job->tell) {
                list_append(&j->dirty, &job_ref(job)->dirty_link);
                j->n_dirty++;
        }
        job->tell |= what;
        jobs_soon(j);
}

static void tell_one(struct job_watch *w, struct job *job, unsigned what)
{
        /* Any of these may remove the watch, and free what it is part of; being unlinked shows it, unless it was
         * freed: so the last look at @w is in the list of the others. */
        if (what == TELL_DRAINED && w->on_input_drained)
                w->on_input_drained(w, job);
        else if (what == TELL_GROWN && w->on_grown)
                w->on_grown(w, job);
        else if (what == TELL_CHANGE && w->on_change)
                w->on_change(w, job);
}

/* Each in its turn, whatever is added and removed meanwhile. New ones hear of the next event. */
static void tell_watches(struct job *job, unsigned what)
{
        struct list round = LIST_INIT(round);

        while (!list_is_empty(&job->watches)) {
                struct list *item = job->watches.next;

                list_remove(item);
                list_append(&round, item);
        }
        while (!list_is_empty(&round)) {
                struct list *item = round.next;

                list_remove(item);
                list_append(&job->watches, item);
                if (!job->jobs || !job->jobs->is_closing)
                        tell_one(list_entry(item, struct job_watch, link), job, what);
        }
}

static void tell(struct jobs *j, struct job *job, unsigned what)
{
        /* Whoever has dropped it wants to hear no more of it. */
        if (what & TELL_OWNER && !job->is_gone)
                j->ops->on_end(j->arg, job);
        for (unsigned bit = TELL_DRAINED; bit <= TELL_CHANGE; bit <<= 1)
                if (what & bit)
                        tell_watches(job, bit);
}

/* All that is noted by now. */
void jobs_tell_all(struct jobs *j)
{
        for (size_t n = j->n_dirty; n > 0 && !j->is_closing; n--) {
                struct job *job = list_entry(j->dirty.next, struct job, dirty_link);
                unsigned what = job->tell;

                list_remove(&job->dirty_link);
                j->n_dirty--;
                job->tell = 0;
                tell(j, job, what);
                job_unref(job);
        }
}

/* See the header. */
void job_watch_add(struct job *job, struct job_watch *w)
{
        list_append(&job->watches, &w->link);
}

/* See the header. */
void job_watch_remove(struct job_watch *w)
{
        if (w->link.next)
                list_remove(&w->link);
}
