/* SPDX-License-Identifier: Apache-2.0 */

/* Disk work: one piece at a time for each job, so that nothing is written into a directory that is being removed. What
 * is wanted meanwhile waits in a mask, and is done together. What fails for lack of space is tried again. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "proc/job_link_private.h"
#include "proc/jobs_private.h"

#define LOG_MODULE "jobs"
#include "agent/base/log.h"

#define RETRY_MS 1000

struct piece {
        struct job *job; /* not for the worker */
        unsigned what;   /* STORE_* */
        unsigned failed;
        const char *dir; /* the job's own */
        const char *script;
        char *facts;
        const json_t *program;
        char *failure;
        char *callback;
        struct job_status status;
        struct error err;
};

/* --- the worker --- */

static void note(struct piece *p, unsigned what, int r)
{
        if (r < 0)
                p->failed |= what;
}

static int write_status(const struct piece *p, int fd)
{
        struct job_status there;

        return job_status_read(fd, &there) == 0 ? 0 : job_status_write(fd, &p->status);
}

static void write_files(struct piece *p)
{
        CLEANUP(fd_close) int fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int r;

        if (fd < 0 && errno == ENOENT) /* somebody has removed it, so there is nothing to keep */
                return;
        if (fd < 0) {
                p->failed |= p->what & (STORE_CALLBACK | STORE_ERROR | STORE_STATUS);
                (void)error_set(&p->err, -errno, "%s", p->dir);
                return;
        }
        if (p->what & STORE_CALLBACK)
                note(p, STORE_CALLBACK,
                     job_file_write(fd, p->dir, JOB_CALLBACK, p->callback, &p->err));
        if (p->what & STORE_ERROR)
                note(p, STORE_ERROR, job_file_write(fd, p->dir, JOB_ERROR, p->failure, &p->err));
        if (p->what & STORE_STATUS) {
                r = write_status(p, fd);
                if (r < 0)
                        (void)error_set(&p->err, r, "%s/" KEEPER_STATUS, p->dir);
                note(p, STORE_STATUS, r);
        }
}

static void run(void *arg)
{
        struct piece *p = arg;

        if (p->what & STORE_NEW)
                note(p, STORE_NEW, job_files_create(p->dir, p->facts, p->program, &p->err));
        if (p->what & STORE_REMOVE)
                job_files_remove(p->dir);
        if (p->what & (STORE_SCRIPT | STORE_REMOVE))
                (void)path_remove_tree(p->script); /* the next start tries again */
        if (p->what & (STORE_CALLBACK | STORE_ERROR | STORE_STATUS))
                write_files(p);
}

/* --- the loop --- */

static void free_piece(struct piece *p)
{
        free(p->facts);
        free(p->failure);
        free(p->callback);
        free(p);
}

static char *callback_text(const struct job *job)
{
        char *text = json_dumps(job->callback, JSON_COMPACT);

        return text ? text : xstrdup("null");
}

/* A copy of what there is to be written. */
static struct piece *new_piece(struct job *job, unsigned what)
{
        struct piece *p = xnew(struct piece);

        p->job = job;
        p->what = what & STORE_REMOVE ? STORE_REMOVE : what;
        p->dir = job->dir;
        p->script = job->script;
        p->status = job->result;
        if (p->what & STORE_NEW) {
                p->facts = job_facts_text(job);
                p->program = job->program;
        }
        if (p->what & STORE_ERROR)
                p->failure = job_failure_text(&job->failure);
        if (p->what & STORE_CALLBACK)
                p->callback = callback_text(job);
        return p;
}

static void advance(struct job *job);

static void on_created(struct job *job, const struct error *err)
{
        struct jobs *j = job->jobs;
        void (*on_added)(void *arg, struct job *job, const struct error *err) = job->on_added;

        job->program = NULL;
        if (err) {
                job_leave(job);
                on_added(job->on_added_arg, NULL, err);
                job_unref(job);
                return;
        }
        jobs_insert(j, job);
        job->is_written = true;
        on_added(job->on_added_arg, job, NULL);
}

static void settle(struct jobs *j, struct job *job, struct piece *p)
{
        if (p->what & STORE_NEW) {
                on_created(job, p->failed ? &p->err : NULL);
        } else {
                if (p->failed && !job->is_store_failing)
                        log_warning("cannot write a job's file, trying again", "id=%s error=%s",
                                    job->process_id, log_quote(p->err.message));
                job->is_store_failing = p->failed;
                job->store |= j->is_closing ? 0 : p->failed; /* nobody would try again */
        }
        if (p->what & STORE_STATUS && job->is_ending)
                job_end_killed(job);
        if (p->what & STORE_SCRIPT)
                job->is_written = true; /* one that is to be started after all can be */
        if (!j->is_closing && job->store == p->failed && p->failed && !(p->what & STORE_NEW))
                timer_start(j->retry, RETRY_MS);
        else
                advance(job);
        if (p->what & (STORE_NEW | STORE_SCRIPT) && !j->is_closing)
                jobs_pump(j);
}

static void on_done(void *arg)
{
        struct piece *p = arg;
        struct job *job = p->job;
        struct jobs *j = job->jobs;

        job->is_storing = false;
        if (p->what & STORE_REMOVE) {
                list_remove(&job->link);
                job_owe_callback(job, false);
                job->jobs = NULL;
                job_unref(job); /* the registry's */
        } else {
                settle(j, job, p);
        }
        free_piece(p);
        job_unref(job);
        jobs_worker_ended(j);
}

/* The next piece, if there is one and no other is under way. */
static void advance(struct job *job)
{
        struct jobs *j = job->jobs;
        struct piece *p;

        if (job->is_storing || !job->store)
                return;
        p = new_piece(job, job->store);
        if (job_run(j->loop, p, run, on_done) < 0) {
                free_piece(p);
                timer_start(j->retry, RETRY_MS);
                return;
        }
        job->store = 0;
        job->is_storing = true;
        job_ref(job);
        jobs_worker_begins(j);
}

/* Wants @what done, once what is under way is. What is wanted when the registry is closed is still done. */
void job_store(struct job *job, unsigned what)
{
        if (!job->jobs || job->jobs->is_closing)
                return;
        job->store |= what;
        advance(job);
}

/* What has failed. */
void jobs_store_retry(struct jobs *j)
{
        list_for_each(item, &j->known)
                advance(list_entry(item, struct job, link));
}

/* --- without a job of its own --- */

struct removal {
        struct jobs *jobs; /* not for the worker, which may be the last */
        char **paths;
};

static void run_removal(void *arg)
{
        struct removal *r = arg;

        for (char **path = r->paths; path && *path; path++)
                job_files_remove(*path);
}

static void on_removed(void *arg)
{
        CLEANUP(mem_free) struct removal *r = arg;

        strv_free(r->paths);
        jobs_worker_ended(r->jobs);
}

/* See jobs_private.h. */
void jobs_remove_paths(struct jobs *j, char **paths)
{
        struct removal *r;

        if (!paths)
                return;
        r = xnew(struct removal);
        r->jobs = j;
        r->paths = paths;
        if (job_run(j->loop, r, run_removal, on_removed) < 0) { /* then the next start does it */
                strv_free(paths);
                free(r);
                return;
        }
        jobs_worker_begins(j);
}

struct reading {
        struct job *job; /* not for the worker, as the next three */
        struct jobs *jobs;
        void (*done)(void *arg, json_t *program, const struct error *err);
        void *arg;
        const char *dir;
        json_t *program;
        struct error err;
};

static void run_reading(void *arg)
{
        struct reading *r = arg;

        r->program = job_file_read(r->dir, JOB_PROGRAM, LIMIT_JOB_PROGRAM, JSON_ALLOW_NUL, &r->err);
}

static void on_read(void *arg)
{
        struct reading *r = arg;
        struct jobs *j = r->jobs; /* the job may have left it */

        r->done(r->arg, r->program, r->program ? NULL : &r->err);
        job_unref(r->job);
        free(r);
        jobs_worker_ended(j);
}

/* See the header. */
void job_read_program(struct job *job,
                      void (*done)(void *arg, json_t *program, const struct error *err), void *arg)
{
        struct jobs *j = job->jobs;
        struct reading *r;

        if (!j || j->is_closing) {
                struct error err = ERROR_INIT;

                (void)error_set_field(&err, -ESHUTDOWN, "", "the agent is shutting down");
                done(arg, NULL, &err);
                return;
        }
        r = xnew(struct reading);
        r->job = job_ref(job);
        r->jobs = j;
        r->done = done;
        r->arg = arg;
        r->dir = job->dir;
        jobs_worker_begins(j);
        if (job_run(j->loop, r, run_reading, on_read) < 0)
                on_read(r); /* the pool is out of order: nothing was read */
}
