/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/jobs/await.h"

#include <stdbool.h>
#include <stdlib.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/list.h"
#include "agent/http/request.h"
#include "agent/loop/timer.h"
#include "proc/jobs.h"

struct waiting {
        struct list link;
        struct job_watch watch;
        struct timer *timer;     /* NULL: none */
        struct request *request; /* reference, as the next */
        struct job *job;
        void (*answer)(struct request *req, struct job *job);
};

static struct list waits = LIST_INIT(waits);
static bool is_stopping;

static void waiting_free(void *arg)
{
        struct waiting *w = arg;

        list_remove(&w->link);
        job_watch_remove(&w->watch);
        timer_free(w->timer);
        job_unref(w->job);
        request_unref(w->request);
        free(w);
}

static void finish(void *arg)
{
        struct waiting *w = arg;

        w->answer(w->request, w->job);
        waiting_free(w);
}

static void on_change(struct job_watch *watch, struct job *job)
{
        if (job_phase_is_final(job_phase(job)))
                finish(container_of(watch, struct waiting, watch));
}

/* See the header. */
void job_await(struct request *req, struct job *job, uint64_t timeout_ms,
               void (*answer)(struct request *req, struct job *job))
{
        struct waiting *w;

        if (is_stopping) {
                answer(req, job);
                return;
        }
        w = xnew(struct waiting);
        list_append(&waits, &w->link);
        w->request = request_ref(req);
        w->job = job_ref(job);
        w->answer = answer;
        w->watch.on_change = on_change;
        job_watch_add(job, &w->watch);
        if (timeout_ms > 0) {
                w->timer = timer_new(request_app(req)->loop, finish, w);
                timer_start(w->timer, timeout_ms);
        }
        request_on_cancel(req, waiting_free, w);
}

/* See the header. */
void job_waits_end(void)
{
        is_stopping = true;
        list_for_each_safe(item, &waits)
                finish(list_entry(item, struct waiting, link));
}
