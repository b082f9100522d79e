/* SPDX-License-Identifier: Apache-2.0 */

/* One job: its memory, and what is known of it; and of all, how many there are. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/utf8.h"
#include "proc/jobs_private.h"

/* See the header. */
const char *job_phase_name(enum job_phase p)
{
        static const char *const names[] = {
                [PHASE_QUEUED] = "queued",       [PHASE_RUNNING] = "running",
                [PHASE_COMPLETED] = "completed", [PHASE_FAILED] = "failed",
                [PHASE_KILLED] = "killed",       [PHASE_TIMED_OUT] = "timeout",
        };

        return names[p];
}

/* With one reference, and without what job_facts_read or jobs_add add. */
struct job *job_new(struct jobs *j, const char *process_id, const char *execution_id)
{
        struct job *job = xnew(struct job);
        struct list *links[] = { &job->link,        &job->line_link,    &job->ended_link,
                                 &job->dirty_link,  &job->process_link, &job->execution_link,
                                 &job->leader_link, &job->keeper_link,  &job->repeat_link,
                                 &job->watches };

        job->refs = 1;
        job->jobs = j;
        for (size_t i = 0; i < ARRAY_LEN(links); i++)
                list_init(links[i]);
        memcpy(job->process_id, process_id, strlen(process_id) + 1);
        memcpy(job->execution_id, execution_id, strlen(execution_id) + 1);
        job->dir = xasprintf("%s/%s", j->jobs_root, process_id);
        job->script = xasprintf("%s/%s", j->scripts_root, execution_id);
        return job;
}

/* See the header. */
struct job *job_ref(struct job *job)
{
        job->refs++;
        return job;
}

static void free_failure(struct job *job)
{
        free((char *)job->failure.field);
        free((char *)job->failure.message);
}

/* See the header. */
struct job *job_unref(struct job *job)
{
        if (!job || --job->refs > 0)
                return NULL;

        /* Watchers may outlive what they watch. */
        list_for_each_safe(item, &job->watches)
                list_remove(item);
        job_owe_callback(job, false);
        free_failure(job);
        json_decref(job->callback);
        free(job->name);
        free(job->language);
        free(job->command);
        free(job->callback_url);
        free(job->repeat_id);
        free(job->repeat_body);
        free(job->dir);
        free(job->script);
        free(job);
        return NULL;
}

/* @why is copied. */
void job_copy_failure(struct job *job, const struct job_failure *why)
{
        free_failure(job);
        job->has_failure = true;
        job->failure = (struct job_failure){
                .problem = why->problem,
                .field = why->field ? xstrdup(why->field) : NULL,
                .message = xstrdup(why->message ? why->message : "it could not be started"),
        };
        utf8_repair((char *)job->failure.message); /* it becomes JSON, here and elsewhere */
}

/* See the header, as all that follow. */
const char *job_process_id(const struct job *job)
{
        return job->process_id;
}

/* See the header. */
const char *job_execution_id(const struct job *job)
{
        return job->execution_id;
}

/* See the header. */
const char *job_name(const struct job *job)
{
        return job->name;
}

/* See the header. */
const char *job_language(const struct job *job)
{
        return job->language;
}

/* See the header. */
const char *job_command(const struct job *job)
{
        return job->command;
}

/* See the header. */
const char *job_callback_url(const struct job *job)
{
        return job->callback_url;
}

/* See the header. */
const char *job_repeat_body(const struct job *job)
{
        return job->repeat_body;
}

/* See the header. */
uint64_t job_timeout_ms(const struct job *job)
{
        return job->timeout_ms;
}

/* See the header. */
bool job_has_terminal(const struct job *job)
{
        return job->has_terminal;
}

/* See the header. */
bool job_ignores_tasks(const struct job *job)
{
        return job->ignores_tasks;
}

/* See the header. */
bool job_is_base64(const struct job *job)
{
        return job->is_base64;
}

/* See the header. */
uint64_t job_order(const struct job *job)
{
        return job->order;
}

/* See the header. */
const char *job_dir(const struct job *job)
{
        return job->dir;
}

/* See the header. */
enum job_phase job_phase(const struct job *job)
{
        return job->phase;
}

/* See the header. */
bool job_is_starting(const struct job *job)
{
        return job->phase == PHASE_QUEUED && job->has_room;
}

/* See the header. */
bool job_is_lingering(const struct job *job)
{
        const struct job_link *l = job->link_to_keeper;

        if (!job_phase_is_final(job->phase) || !l)
                return false;
        /* After a restart, until its keeper says so itself: that it lives says the same. */
        return job_link_is_lingering(l) || job_link_state(l) == JOB_STARTING;
}

/* See the header. */
bool job_is_gone(const struct job *job)
{
        return job->is_gone;
}

/* See the header. */
int64_t job_queued_ms(const struct job *job)
{
        return job->queued_ms;
}

/* See the header. */
int64_t job_started_ms(const struct job *job)
{
        return job->started_ms;
}

/* See the header. */
int64_t job_ended_ms(const struct job *job)
{
        return job->ended_ms;
}

/* See the header. */
pid_t job_pid(const struct job *job)
{
        return job->pid;
}

/* See the header. */
const uint64_t *job_totals(const struct job *job)
{
        return job->totals;
}

/* See the header. */
const struct job_status *job_result(const struct job *job)
{
        return job_phase_is_final(job->phase) ? &job->result : NULL;
}

/* See the header. */
const struct job_failure *job_failure(const struct job *job)
{
        return job->has_failure ? &job->failure : NULL;
}

/* See the header. */
const json_t *job_callback(const struct job *job)
{
        return job->callback;
}

/* See the header. */
bool job_callback_is_final(const struct job *job)
{
        return job->is_callback_final;
}

/* --- the registry --- */

/* See the header. */
size_t jobs_n_queued(const struct jobs *j)
{
        return j->n_waiting;
}

/* See the header. */
size_t jobs_n_running(const struct jobs *j)
{
        return j->n_rooms;
}

/* See the header. */
size_t jobs_n_callbacks(const struct jobs *j)
{
        return j->n_callbacks;
}

/* See the header. */
size_t jobs_n_known(const struct jobs *j)
{
        return j->n_known;
}

/* See the header. */
const char *jobs_script_root(const struct jobs *j)
{
        return j->scripts_root;
}
