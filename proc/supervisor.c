/* SPDX-License-Identifier: Apache-2.0 */

/* The table of processes, and the one place where children are waited for.
 *
 * Reaping is wait4(-1) in a loop whenever SIGCHLD comes. That would steal the children of anybody else in this
 * process who waits for theirs, but there is nobody: uv_spawn is not used, and no library that we link forks. So
 * whoever is not a leader in the table is an orphan that the kernel gave to us, the subreaper, and is done with
 * once it is reaped; or a keeper of a background job, which is in a table of its own, because it must neither look like
 * an orphan nor end with us. A pid stays in the table, and stays its own, until it was reaped here: between
 * spawn and reaping nobody else can get that number. */

#include "proc/supervisor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/loop/job.h"
#include "proc/process_private.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

enum {
        OWED_SIGCHLD = 1 << 0,
        OWED_RESCAN = 1 << 1,
        OWED_ROOM = 1 << 2,
};

/* Deaths come in crowds; one look for all of them. */
#define RESCAN_MS 20

/* One reference more. */
struct supervisor *supervisor_ref(struct supervisor *s)
{
        s->refs++;
        return s;
}

/* One less; the last one frees. */
struct supervisor *supervisor_unref(struct supervisor *s)
{
        if (!s || --s->refs > 0)
                return NULL;

        supervisor_wards_free(s);
        (void)fd_close(s->runtime_lock_fd);
        free(s->instance);
        free(s->sweep_spared);
        cgroup_free(s->cgroup);
        credentials_free(s->user);
        free((char *)s->options.shim);
        free((char *)s->options.runtime_dir);
        free((char *)s->options.run_as);
        free(s);
        return NULL;
}

static struct process *find(struct supervisor *s, pid_t pid)
{
        struct list *bucket = &s->pids[(unsigned)pid % N_PID_BUCKETS];

        list_for_each(item, bucket) {
                struct process *p = list_entry(item, struct process, pid_link);

                if (p->pid == pid)
                        return p;
        }
        return NULL;
}

static void reap(struct supervisor *s)
{
        bool had_orphans = false;
        struct rusage usage;
        int status;
        pid_t pid;

        while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
                struct process *p = find(s, pid);

                if (p)
                        process_on_reaped(p, status, &usage);
                else if (!supervisor_ward_died(s, pid, status))
                        had_orphans = true;
        }
        if (had_orphans && !s->cgroup)
                supervisor_rescan(s);
}

static void advance_close(struct supervisor *s);

static void on_sigchld(uv_signal_t *h, int signum)
{
        struct supervisor *s = container_of(h, struct supervisor, sigchld);

        (void)signum;
        reap(s);
        advance_close(s); /* it may have waited for somebody who is guarded */
}

static void on_rescan(uv_timer_t *t)
{
        struct supervisor *s = container_of(t, struct supervisor, rescan);

        /* Nothing leaves the list here: that happens when handles have been closed, in the loop's own turn. */
        list_for_each(item, &s->processes) {
                struct process *p = list_entry(item, struct process, link);

                if (process_owes(p, OWED_LEADER))
                        continue;
                process_tree_check(p);
                process_advance(p);
        }
}

/* See process_private.h. */
void supervisor_rescan(struct supervisor *s)
{
        if (!uv_is_closing((uv_handle_t *)&s->rescan) && !uv_is_active((uv_handle_t *)&s->rescan))
                (void)uv_timer_start(&s->rescan, on_rescan, RESCAN_MS, 0);
}

/* Keeps the counters. */
void supervisor_count_as(struct supervisor *s, struct process *p, enum count as)
{
        bool was_full = supervisor_is_full(s);

        if (p->counted_as != COUNT_NOT)
                s->n_counted[p->counted_as]--;
        if (as != COUNT_NOT)
                s->n_counted[as]++;
        p->counted_as = as;
        supervisor_room_changed(s, was_full);
}

/* A started process; its reference is the supervisor's now. */
void supervisor_add(struct supervisor *s, struct process *p)
{
        s->n_started++;
        list_append(&s->processes, &p->link);
        list_append(&s->pids[(unsigned)p->pid % N_PID_BUCKETS], &p->pid_link);
}

static void on_gate_empty(struct gate *g)
{
        struct supervisor *s = container_of(g, struct supervisor, gate);

        s->cgroup = cgroup_free(s->cgroup);
        if (s->on_closed)
                s->on_closed(s->arg);
        supervisor_unref(s);
}

static void on_sigchld_closed(uv_handle_t *h)
{
        gate_done(&container_of((uv_signal_t *)h, struct supervisor, sigchld)->gate, OWED_SIGCHLD);
}

static void on_rescan_closed(uv_handle_t *h)
{
        gate_done(&container_of((uv_timer_t *)h, struct supervisor, rescan)->gate, OWED_RESCAN);
}

static void on_room_closed(uv_handle_t *h)
{
        gate_done(&container_of((uv_timer_t *)h, struct supervisor, room)->gate, OWED_ROOM);
}

static void close_handles(struct supervisor *s)
{
        uv_close((uv_handle_t *)&s->room, on_room_closed);
        uv_close((uv_handle_t *)&s->sigchld, on_sigchld_closed);
        uv_close((uv_handle_t *)&s->rescan, on_rescan_closed);
}

/* Closing, second half: when nothing lives any more. */
static void advance_close(struct supervisor *s)
{
        if (!s->is_closing || s->is_sweeping || !list_is_empty(&s->processes) || s->n_wards > 0 ||
            uv_is_closing((uv_handle_t *)&s->sigchld))
                return;

        reap(s); /* orphans whose signal has not been delivered yet */
        close_handles(s);
}

/* The process is gone, its handles are closed. */
void supervisor_forget(struct supervisor *s, struct process *p)
{
        list_remove(&p->link);
        supervisor_count_as(s, p, COUNT_NOT);
        advance_close(s);
}

static void run_sweep(void *arg)
{
        const struct supervisor *s = arg; /* only what is ours while is_sweeping */
        const struct tree_target everybody = {
                .kind = TREE_OF_THIS_AGENT,
                .spared = s->sweep_spared,
                .n_spared = s->n_sweep_spared,
        };

        (void)tree_kill(&everybody);
}

static void on_swept(void *arg)
{
        struct supervisor *s = arg;

        s->is_sweeping = false;
        advance_close(s);
}

/* See the header. */
void supervisor_close(struct supervisor *s, void (*on_closed)(void *arg), void *arg)
{
        s->is_closing = true;
        s->on_room = NULL;
        s->on_closed = on_closed;
        s->arg = arg;
        list_for_each(item, &s->processes)
                process_kill_now(list_entry(item, struct process, link), END_CANCELLED);
        supervisor_wards_spare_from_sweep(s);
        /* Something may have escaped its tree, but not us: we are everybody's ancestor. */
        s->is_sweeping = job_run(s->loop, s, run_sweep, on_swept) == 0;
        advance_close(s);
}

static char *dup_or_null(const char *s)
{
        return s ? xstrdup(s) : NULL;
}

static void take_cgroup(struct supervisor *s)
{
        struct error err = ERROR_INIT;

        if (s->options.use_cgroups && cgroup_new(&s->cgroup, &err) < 0)
                log_debug("no cgroups", "error=%s", log_quote(err.message));
}

/* See the header. */
int supervisor_new(struct loop *l, const struct supervisor_options *o, struct supervisor **ret,
                   struct error *err)
{
        CLEANUP(credentials_free) struct credentials *user = NULL;
        struct supervisor *s;
        int r;

        r = credentials_new(o->run_as, &user, err);
        if (r < 0)
                return r;
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return error_set(err, -errno, "become a subreaper");

        s = xnew(struct supervisor);
        s->refs = 1;
        s->runtime_lock_fd = -1;
        s->loop = l;
        s->user = STEAL(user);
        s->options.shim = dup_or_null(o->shim);
        s->options.runtime_dir = dup_or_null(o->runtime_dir);
        s->options.run_as = dup_or_null(o->run_as);
        s->options.use_cgroups = o->use_cgroups;
        supervisor_set_limits(s, o);
        list_init(&s->processes);
        for (size_t i = 0; i < N_PID_BUCKETS; i++)
                list_init(&s->pids[i]);
        supervisor_wards_init(s);

        r = uv_signal_init(&l->uv, &s->sigchld);
        if (r < 0) {
                supervisor_unref(s);
                return error_set(err, r, "watch SIGCHLD");
        }
        (void)uv_timer_init(&l->uv, &s->rescan);
        supervisor_room_init(s);
        gate_init(&s->gate, on_gate_empty);
        gate_expect(&s->gate, OWED_SIGCHLD | OWED_RESCAN | OWED_ROOM);
        r = uv_signal_start(&s->sigchld, on_sigchld, SIGCHLD);
        if (r < 0) {
                close_handles(s);
                return error_set(err, r, "watch SIGCHLD");
        }
        take_cgroup(s);
        *ret = s;
        return 0;
}

/* See the header. */
void supervisor_set_limits(struct supervisor *s, const struct supervisor_options *o)
{
        bool was_full = supervisor_is_full(s);

        s->options.max_processes = o->max_processes;
        s->options.max_output = o->max_output;
        s->options.max_output_total = o->max_output_total;
        s->options.max_discard = o->max_discard;
        s->options.rich_max_size = o->rich_max_size;
        s->options.rich_max_count = o->rich_max_count;
        s->options.keep_tail = o->keep_tail;
        s->options.max_memory = o->max_memory;
        s->options.max_tasks = o->max_tasks;
        s->options.max_files = o->max_files;
        s->budget.max = o->max_output_total;
        supervisor_room_changed(s, was_full);
}

/* See the header. */
int supervisor_start(struct supervisor *s, const struct process_options *o, struct process **ret,
                     struct error *err)
{
        int r;

        if (s->is_closing)
                return error_set(err, SUPERVISOR_E_CLOSED, "shutting down");
        if (!supervisor_has_room(s))
                return error_set(err, SUPERVISOR_E_LIMIT, "%llu processes are running already",
                                 (unsigned long long)s->options.max_processes);
        r = process_new(s, o, ret, err);
        if (r < 0)
                s->n_failed++;
        return r;
}

/* See the header. */
const struct credentials *supervisor_user(const struct supervisor *s)
{
        return s->user;
}

/* See the header. For root it may be about groups. */
const struct credentials *supervisor_other_user(const struct supervisor *s)
{
        bool is_self = s->user->uid == geteuid() && geteuid() != 0;

        return s->options.run_as && !is_self ? s->user : NULL;
}

/* See the header. */
void supervisor_plan_limits(const struct supervisor *s, const struct process_limits *asked,
                            struct process_limits_plan *ret)
{
        const struct process_limits allowed = { .max_memory = s->options.max_memory,
                                                .max_tasks = s->options.max_tasks };

        process_limits_plan(asked, &allowed, cgroup_controllers(s->cgroup),
                            supervisor_other_user(s), ret);
}

/* See the header. */
struct cgroup *supervisor_cgroup(const struct supervisor *s)
{
        return s->cgroup;
}

/* See the header. */
struct process *supervisor_find(struct supervisor *s, const char *id)
{
        list_for_each(item, &s->processes) {
                struct process *p = list_entry(item, struct process, link);

                if (strcmp(p->id, id) == 0)
                        return p;
        }
        return NULL;
}

/* See the header. */
struct process *supervisor_find_leader(struct supervisor *s, pid_t pid)
{
        return find(s, pid);
}

/* See the header. */
const char *supervisor_runtime_dir(const struct supervisor *s)
{
        return s->options.runtime_dir;
}

/* See the header. */
const char *supervisor_tracking(const struct supervisor *s)
{
        return s->cgroup ? "cgroup" : "subreaper";
}

/* See the header. */
void supervisor_count(const struct supervisor *s, struct supervisor_counts *ret)
{
        ret->running = s->n_counted[COUNT_RUNNING];
        ret->lingering = s->n_counted[COUNT_LINGERING];
        ret->jobs = s->n_rooms;
        ret->started = s->n_started;
        ret->failed = s->n_failed;
}
