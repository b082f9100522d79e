/* SPDX-License-Identifier: Apache-2.0 */

/* The registry: what there is, and the line of those that wait for their start.
 *
 * Jobs stand in line in the order in which they were accepted, from the moment in which the writing of their files
 * begins. Room is given from the front; so those that have it are always the first ones, and one whose files are there
 * already never overtakes one whose files are not. */

#include "proc/jobs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "agent/loop/timer.h"
#include "proc/jobs_private.h"
#include "proc/supervisor.h"

static uint64_t now_us(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Unix time. */
int64_t jobs_now_ms(void)
{
        return (int64_t)(now_us() / 1000);
}

/* --- finding --- */

static size_t hash(const char *id)
{
        uint32_t h = 2166136261u; /* FNV-1a */

        for (; *id; id++)
                h = (h ^ (unsigned char)*id) * 16777619u;
        return h % JOBS_ID_BUCKETS;
}

/* See the header. */
struct job *jobs_find(struct jobs *j, const char *id)
{
        size_t h = hash(id);

        list_for_each(item, &j->processes[h]) {
                struct job *job = list_entry(item, struct job, process_link);

                if (!job->is_gone && strcmp(job->process_id, id) == 0)
                        return job;
        }
        list_for_each(item, &j->executions[h]) {
                struct job *job = list_entry(item, struct job, execution_link);

                if (!job->is_gone && strcmp(job->execution_id, id) == 0)
                        return job;
        }
        return NULL;
}

/* See the header. */
struct job *jobs_find_repeat(struct jobs *j, const char *id)
{
        list_for_each(item, &j->repeats[hash(id)]) {
                struct job *job = list_entry(item, struct job, repeat_link);

                if (!job->is_gone && strcmp(job->repeat_id, id) == 0)
                        return job;
        }
        return NULL;
}

/* See the header. */
struct job *jobs_find_leader(struct jobs *j, pid_t pid)
{
        list_for_each(item, &j->leaders[(unsigned)pid % JOBS_PID_BUCKETS]) {
                struct job *job = list_entry(item, struct job, leader_link);

                if (!job->is_gone && job->pid == pid)
                        return job;
        }
        return NULL;
}

/* See the header. */
bool jobs_has_keeper(const struct jobs *j, pid_t pid)
{
        list_for_each(item, &j->keepers[(unsigned)pid % JOBS_PID_BUCKETS])
                if (list_entry(item, struct job, keeper_link)->keeper == pid)
                        return true;
        return false;
}

/* The known one at @item or before it. */
static struct job *older(struct jobs *j, struct list *item)
{
        for (; item != &j->known; item = item->prev) {
                struct job *job = list_entry(item, struct job, link);

                if (!job->is_gone)
                        return job;
        }
        return NULL;
}

/* See the header. */
struct job *jobs_newest(struct jobs *j)
{
        return older(j, j->known.prev);
}

/* See the header. */
struct job *jobs_older(struct job *job)
{
        if (!job->jobs || list_is_empty(&job->process_link)) /* it has no place any more */
                return NULL;
        return older(job->jobs, job->link.prev);
}

/* Takes @job's reference. Files are written side by side, so it may have to go before some that came later. */
void jobs_insert(struct jobs *j, struct job *job)
{
        struct list *where = &j->known;

        while (where->prev != &j->known &&
               list_entry(where->prev, struct job, link)->order > job->order)
                where = where->prev;
        list_insert_before(where, &job->link);
        list_append(&j->processes[hash(job->process_id)], &job->process_link);
        list_append(&j->executions[hash(job->execution_id)], &job->execution_link);
        if (job->repeat_id)
                list_append(&j->repeats[hash(job->repeat_id)], &job->repeat_link);
        j->n_known++;
}

/* 0: not known. What has ended has no leader: its pid may belong to somebody else. */
void job_set_pids(struct job *job, pid_t leader, pid_t keeper)
{
        struct jobs *j = job->jobs;

        list_remove(&job->leader_link);
        list_remove(&job->keeper_link);
        job->pid = leader;
        job->keeper = keeper;
        if (leader > 0 && !job_phase_is_final(job->phase))
                list_append(&j->leaders[(unsigned)leader % JOBS_PID_BUCKETS], &job->leader_link);
        if (keeper > 0)
                list_append(&j->keepers[(unsigned)keeper % JOBS_PID_BUCKETS], &job->keeper_link);
}

/* --- the line --- */

static void take_room(struct job *job)
{
        job->has_room = true;
        job->jobs->n_rooms++;
}

/* See jobs_private.h. */
void jobs_force_room(struct job *job)
{
        supervisor_force_room(job->jobs->supervisor);
        take_room(job);
}

/* At the end of the line. */
void jobs_line_up(struct jobs *j, struct job *job)
{
        list_append(&j->line, &job->line_link);
        if (j->n_waiting == 0 && supervisor_take_room(j->supervisor))
                take_room(job);
        else
                j->n_waiting++;
}

/* See jobs_private.h. */
void job_leave(struct job *job)
{
        struct jobs *j = job->jobs;

        if (!list_is_empty(&job->line_link) && !job->has_room)
                j->n_waiting--;
        list_remove(&job->line_link);
        if (!job->has_room)
                return;
        job->has_room = false;
        j->n_rooms--;
        supervisor_give_room(j->supervisor); /* and we hear of it, later */
}

static void give_rooms(struct jobs *j)
{
        list_for_each(item, &j->line) {
                struct job *job = list_entry(item, struct job, line_link);

                if (j->n_waiting == 0)
                        return;
                if (job->has_room)
                        continue;
                if (!supervisor_take_room(j->supervisor))
                        return;
                j->n_waiting--;
                take_room(job);
        }
}

static void start_ready(struct jobs *j)
{
        while (!j->is_closing && !list_is_empty(&j->line)) {
                struct job *job = list_entry(j->line.next, struct job, line_link);

                if (!job->has_room || !job->is_written)
                        return;
                list_remove(&job->line_link);
                job_ref(job);
                j->ops->start(j->arg, job);
                job_unref(job);
        }
}

/* See jobs_private.h. */
void jobs_pump(struct jobs *j)
{
        give_rooms(j);
        start_ready(j);
}

/* --- accepting --- */

static uint64_t next_order(struct jobs *j)
{
        j->last_order = MAX(j->last_order + 1, now_us());
        return j->last_order;
}

static char *dup_or_null(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

static void describe(struct job *job, const struct job_new *spec)
{
        size_t size = MIN(strlen(spec->command), LIMIT_JOB_LABEL);

        job->order = next_order(job->jobs);
        job->queued_ms = jobs_now_ms();
        job->name = xstrdup(spec->name ? spec->name : "");
        job->language = dup_or_null(spec->language);
        job->command = xstrndup(spec->command, utf8_complete_prefix(spec->command, size));
        job->callback_url = dup_or_null(spec->callback_url);
        job->repeat_id = dup_or_null(spec->repeat_id);
        job->repeat_body = dup_or_null(spec->repeat_body);
        job->timeout_ms = spec->timeout_ms;
        job->has_terminal = spec->has_terminal;
        job->is_base64 = spec->is_base64;
        job->ignores_tasks = spec->ignores_tasks;
        job->program = spec->program;
}

/* See the header. */
int jobs_add(struct jobs *j, const struct job_new *spec,
             void (*on_added)(void *arg, struct job *job, const struct error *err), void *arg,
             struct error *err)
{
        char process_id[ID_SIZE], execution_id[ID_SIZE];
        struct job *job;

        if (j->is_closing)
                return error_set_field(err, -ESHUTDOWN, "", "the agent is shutting down");
        job = job_new(j, id_new(process_id, "proc_"), id_new(execution_id, "exec_"));
        jobs_line_up(j, job);
        if (!job->has_room && j->n_waiting > j->options.max_queued) {
                job_leave(job);
                job_unref(job);
                return error_set_field(err, -ENOBUFS, "", "%zu background jobs are queued already",
                                       j->n_waiting);
        }
        describe(job, spec);
        job_owe_callback(job, job->callback_url != NULL);
        job->on_added = on_added;
        job->on_added_arg = arg;
        job_store(job, STORE_NEW);
        return 0;
}

/* --- options, beginning and end --- */

/* See the header. */
void jobs_set_options(struct jobs *j, const struct jobs_options *o)
{
        struct jobs_options before = j->options;

        j->options = *o;
        j->options.state_dir = before.state_dir;
        j->options.shim = before.shim;
        j->options.keeper = before.keeper;
        j->host.max_memory = o->max_memory;
        j->host.max_tasks = o->max_tasks;
        j->host.max_files = o->max_files;
        jobs_want_eviction(j);
}

static void free_timers(struct jobs *j)
{
        j->soon = timer_free(j->soon);
        j->sweep = timer_free(j->sweep);
        j->retry = timer_free(j->retry);
}

static void on_soon(void *arg)
{
        struct jobs *j = arg;

        j->is_soon = false;
        if (j->is_closing) {
                free_timers(j);
                j->on_closed(j->on_closed_arg); /* may free the registry */
                return;
        }
        jobs_tell_all(j);
        if (j->wants_eviction && !j->is_closing)
                jobs_evict(j);
}

static void on_sweep(void *arg)
{
        jobs_want_eviction(arg);
}

static void on_retry(void *arg)
{
        jobs_store_retry(arg);
}

static void on_room(void *arg)
{
        jobs_pump(arg);
}

static void init_lists(struct jobs *j)
{
        list_init(&j->known);
        list_init(&j->leaving);
        list_init(&j->line);
        list_init(&j->ended);
        list_init(&j->dirty);
        for (size_t i = 0; i < JOBS_ID_BUCKETS; i++) {
                list_init(&j->processes[i]);
                list_init(&j->executions[i]);
                list_init(&j->repeats[i]);
        }
        for (size_t i = 0; i < JOBS_PID_BUCKETS; i++) {
                list_init(&j->leaders[i]);
                list_init(&j->keepers[i]);
        }
}

static struct jobs *free_registry(struct jobs *j)
{
        (void)fd_close(j->lock_fd);
        free((char *)j->options.state_dir);
        free((char *)j->options.shim);
        free((char *)j->options.keeper);
        free(j->jobs_root);
        free(j->scripts_root);
        free(j);
        return NULL;
}

/* See the header. */
int jobs_new(struct loop *l, struct supervisor *s, const struct jobs_options *o,
             const struct jobs_ops *ops, void *arg, struct jobs **ret, struct error *err)
{
        struct jobs *j = xnew(struct jobs);
        int r;

        init_lists(j);
        j->loop = l;
        j->supervisor = s;
        j->ops = ops;
        j->arg = arg;
        j->lock_fd = -1;
        j->options.state_dir = xstrdup(o->state_dir);
        j->options.shim = xstrdup(o->shim);
        j->options.keeper = xstrdup(o->keeper);
        j->host = (struct job_host){ .loop = l,
                                     .shim = j->options.shim,
                                     .keeper = j->options.keeper,
                                     .user = supervisor_other_user(s),
                                     .cgroup = supervisor_cgroup(s) };
        j->jobs_root = xasprintf("%s/jobs", o->state_dir);
        j->scripts_root = xasprintf("%s/scripts", o->state_dir);
        r = jobs_open(j, err);
        if (r < 0) {
                free_registry(j);
                return r;
        }
        j->soon = timer_new(l, on_soon, j);
        j->sweep = timer_new(l, on_sweep, j);
        j->retry = timer_new(l, on_retry, j);
        jobs_set_options(j, o);
        supervisor_on_room(s, on_room, j);
        jobs_scan(j);
        *ret = j;
        return 0;
}

static void let_go(struct job *job)
{
        struct job_link *l = STEAL(job->link_to_keeper);

        job_leave(job);
        if (!l)
                return;
        job_link_free(l);
        job_unref(job);
}

/* See the header. */
void jobs_close(struct jobs *j, void (*on_closed)(void *arg), void *arg)
{
        j->is_closing = true;
        j->on_closed = on_closed;
        j->on_closed_arg = arg;
        supervisor_on_room(j->supervisor, NULL, NULL);
        list_for_each_safe(item, &j->known)
                let_go(list_entry(item, struct job, link));
        list_for_each_safe(item, &j->line) /* those that are being written */
                job_leave(list_entry(item, struct job, line_link));
        while (!list_is_empty(&j->dirty)) {
                struct job *job = list_entry(j->dirty.next, struct job, dirty_link);

                list_remove(&job->dirty_link);
                job->tell = 0;
                job_unref(job);
        }
        j->n_dirty = 0;
        timer_stop(j->sweep);
        timer_stop(j->retry);
        timer_stop(j->soon);
        jobs_worker_begins(j); /* this function: so it ends in one place, later */
        jobs_worker_ended(j);
}

/* Closing waits for it. */
void jobs_worker_begins(struct jobs *j)
{
        j->n_workers++;
}

/* The last thing that a worker's end does. */
void jobs_worker_ended(struct jobs *j)
{
        j->n_workers--;
        if (j->is_closing && j->n_workers == 0)
                timer_start(j->soon, 0);
}

static void free_all(struct list *jobs)
{
        list_for_each_safe(item, jobs) {
                struct job *job = list_entry(item, struct job, link);
                struct list *links[] = { &job->link,           &job->line_link,   &job->ended_link,
                                         &job->process_link,   &job->leader_link, &job->keeper_link,
                                         &job->execution_link, &job->repeat_link };

                for (size_t i = 0; i < ARRAY_LEN(links); i++)
                        list_remove(links[i]);
                job->jobs = NULL;
                job_unref(job);
        }
}

/* See the header. */
struct jobs *jobs_free(struct jobs *j)
{
        if (!j)
                return NULL;
        free_all(&j->known);
        free_all(&j->leaving);
        return free_registry(j);
}
