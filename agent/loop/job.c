/* SPDX-License-Identifier: Apache-2.0 */

/* Work for libuv's thread pool. The pool's own record lives and dies here, so that a job is a
 * plain struct of its input and output. */

#include "agent/loop/job.h"

#include <stdlib.h>

#include "agent/base/alloc.h"

struct work {
        uv_work_t uv;
        struct loop *loop;
        void *job;
        void (*run)(void *job);
        void (*done)(void *job);
};

static void on_run(uv_work_t *uv)
{
        struct work *w = container_of(uv, struct work, uv);

        w->run(w->job);
}

/* @status is always 0: nothing here cancels. */
static void on_done(uv_work_t *uv, int status)
{
        struct work *w = container_of(uv, struct work, uv);
        void (*done)(void *job) = w->done;
        void *job = w->job;

        (void)status;
        w->loop->n_jobs--;
        free(w);
        done(job);
}

/* Queues @job. On failure neither function is called, and the caller keeps it. */
int job_run(struct loop *l, void *job, void (*run)(void *job), void (*done)(void *job))
{
        struct work *w = xnew(struct work);
        int r;

        w->loop = l;
        w->job = job;
        w->run = run;
        w->done = done;

        r = uv_queue_work(&l->uv, &w->uv, on_run, on_done);
        if (r < 0)
                free(w);
        else
                l->n_jobs++;
        return r;
}
