/* SPDX-License-Identifier: Apache-2.0 */

/* The life of a job: from having room to the moment in which nothing of it lives any more; and what can be done to it
 * meanwhile. It has a link to its keeper from its launch on (or from the agent's start) until then. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/jobs_private.h"
#include "proc/supervisor.h"

#define LOG_MODULE "jobs"
#include "agent/base/log.h"

static enum job_phase phase_of(const struct job_status *s)
{
        switch (s->reason) {
        case KEEPER_EXIT:
                return s->exit_code == 0 ? PHASE_COMPLETED : PHASE_FAILED;
        case KEEPER_TIMEOUT:
                return PHASE_TIMED_OUT;
        case KEEPER_KILLED:
                return PHASE_KILLED;
        case KEEPER_RUNS:
        case KEEPER_SIGNAL:
        case KEEPER_OOM:
        case KEEPER_CPU_LIMIT:
        case KEEPER_SPAWN:
        case KEEPER_LOST:
                break;
        }
        return PHASE_FAILED;
}

/* It has ended; nobody is told by this. */
void job_set_result(struct job *job, const struct job_status *status)
{
        job->result = *status;
        job->phase = phase_of(status);
        job->started_ms = status->started_ms;
        job->ended_ms = status->ended_ms;
        memcpy(job->totals, status->totals, sizeof(job->totals));
}

static void finish(struct job *job, const struct job_status *status)
{
        job_set_result(job, status);
        list_remove(&job->leader_link);
        job_keep(job);
        log_debug("job ended", "id=%s phase=%s reason=%s code=%d", job->process_id,
                  job_phase_name(job->phase), job_reason_name(status->reason), status->exit_code);
        job_store(job, STORE_SCRIPT);
        job_tell(job, TELL_GROWN | TELL_CHANGE);
}

/* One that no keeper ever had. */
static void finish_unborn(struct job *job, const struct job_status *status)
{
        finish(job, status);
        job_leave(job);
        job_tell(job, TELL_OWNER);
        job_remove_dropped(job);
}

/* See jobs_private.h. */
void job_end_killed(struct job *job)
{
        struct job_status status = job->result;

        job->is_ending = false;
        finish_unborn(job, &status);
}

/* --- what the keeper says --- */

/* The keeper has noted when it began; its own end says the same. */
static int64_t read_started_ms(const struct job *job)
{
        CLEANUP(fd_close) int fd = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP(mem_free) struct job_identity *who = xnew(struct job_identity);

        if (fd >= 0 && job_identity_read(fd, who) == 0 && who->started_ms > 0)
                return who->started_ms;
        return jobs_now_ms();
}

static void on_started(struct job_link *l, pid_t pid, void *arg)
{
        struct job *job = arg;

        if (job_phase_is_final(job->phase))
                return;
        job_set_pids(job, pid, job_link_keeper_pid(l));
        if (job->phase == PHASE_QUEUED)
                job->started_ms = read_started_ms(job);
        job->phase = PHASE_RUNNING;
        job_tell(job, TELL_CHANGE);
}

static void on_grown(struct job_link *l, const uint64_t totals[2], void *arg)
{
        struct job *job = arg;

        (void)l;
        if (job_phase_is_final(job->phase))
                return;
        memcpy(job->totals, totals, sizeof(job->totals));
        job_tell(job, TELL_GROWN);
}

static void on_input_drained(struct job_link *l, void *arg)
{
        (void)l;
        job_tell(arg, TELL_DRAINED);
}

static void on_end(struct job_link *l, const struct job_status *status, void *arg)
{
        struct job *job = arg;
        struct jobs *j = job->jobs;

        (void)l;
        if (job_phase_is_final(
                    job->phase)) /* known from its file: what lingers has been found again */
                return;
        finish(job, status);
        if (!job->is_gone)
                j->ops->on_end(j->arg, job);
}

static void on_gone(struct job_link *l, void *arg)
{
        struct job *job = arg;

        job->link_to_keeper = job_link_free(l);
        list_remove(&job->keeper_link);
        job_leave(job);
        /* For lack of space the keeper may have left nothing. */
        if (job->result.reason == KEEPER_SPAWN)
                job_store(job, STORE_STATUS);
        job_remove_dropped(job);
        job_keep(job);
        job_unref(job);
}

const struct job_callbacks jobs_link_callbacks = {
        .on_started = on_started,
        .on_grown = on_grown,
        .on_input_drained = on_input_drained,
        .on_end = on_end,
        .on_gone = on_gone,
};

/* --- its start --- */

/* False: it was killed meanwhile, or the agent is about to go; and what its owner has made is in nobody's way. */
static bool may_start(struct job *job)
{
        struct jobs *j = job->jobs;

        if (!j || j->is_closing)
                return false;
        if (job_is_starting(job) && !job->link_to_keeper)
                return true;
        if (job_phase_is_final(job->phase) || job->is_ending)
                job_store(job, STORE_SCRIPT);
        return false;
}

/* See the header. */
void job_refuse(struct job *job, const struct job_failure *why)
{
        struct job_status status = { .reason = KEEPER_SPAWN,
                                     .exit_code = 126,
                                     .failure = { .stage = KEEPER_STAGE },
                                     .ended_ms = jobs_now_ms() };

        if (!may_start(job))
                return;
        job_copy_failure(job, why);
        job_store(job, STORE_ERROR);
        finish_unborn(job, &status);
        job_store(job, STORE_STATUS);
}

/* See the header. */
void job_launch(struct job *job, const struct job_launch *o)
{
        struct jobs *j = job->jobs;
        struct job_options options = {
                .dir = job->dir,
                .id = job->execution_id,
                .argv = o->argv,
                .first = o->first,
                .envp = o->envp,
                .cwd = o->cwd,
                .input_fd = o->input_fd,
                .has_input = o->has_input,
                .has_terminal = o->has_terminal,
                .has_rich = o->has_rich,
                .size = o->size,
                .timeout_ms = o->timeout_ms,
                .grace_ms = o->grace_ms,
                .limits = o->limits,
        };
        struct error err = ERROR_INIT;
        pid_t keeper;
        int r;

        if (!may_start(job))
                return;
        options.log_capacity = j->options.log_capacity;
        options.rich_max_size = j->options.rich_max_size;
        r = job_link_start(&j->host, &options, &jobs_link_callbacks, job, &job->link_to_keeper,
                           &err);
        if (r < 0) {
                CLEANUP(mem_free)
                char *message = xasprintf("the job could not be started: %s", err.message);

                job_refuse(job, &(struct job_failure){ .message = message });
                job->result.failure.error = -r;
                return;
        }
        job_ref(job); /* the link's */
        keeper = job_link_keeper_pid(job->link_to_keeper);
        supervisor_spare(j->supervisor, keeper);
        job_set_pids(job, 0, keeper);
}

/* See the header. */
void job_set_failure(struct job *job, const struct job_failure *why)
{
        job_copy_failure(job, why);
        job_store(job, STORE_ERROR);
}

/* --- what is done to it --- */

/* See the header. */
void job_kill(struct job *job, uint32_t grace_ms)
{
        struct job_status status = { .reason = KEEPER_KILLED,
                                     .exit_code = 128 + SIGTERM }; /* though it got none */

        if (!job->jobs || job->jobs->is_closing)
                return;
        if (job->link_to_keeper) {
                job_link_kill(job->link_to_keeper, KEEPER_KILLED, grace_ms);
        } else if (job->phase == PHASE_QUEUED && !job->is_ending) {
                /* First on the disk: the next agent must not start what a client knows to be dead. */
                status.ended_ms = jobs_now_ms();
                job->result = status;
                job->is_ending = true;
                job_leave(job);
                job_store(job, STORE_STATUS);
        }
}

/* See the header. */
int job_signal(struct job *job, int signum)
{
        return job->link_to_keeper ? job_link_signal(job->link_to_keeper, signum) : -ESRCH;
}

/* See the header. */
int job_write(struct job *job, const void *data, size_t size)
{
        return job->link_to_keeper ? job_link_write(job->link_to_keeper, data, size) : -EPIPE;
}

/* See the header. */
int job_close_input(struct job *job)
{
        return job->link_to_keeper ? job_link_close_input(job->link_to_keeper) : -EPIPE;
}

/* See the header. */
int job_resize(struct job *job, const struct pty_size *size)
{
        if (!job->has_terminal)
                return -ENOTTY;
        return job->link_to_keeper ? job_link_resize(job->link_to_keeper, size) : -EPIPE;
}
