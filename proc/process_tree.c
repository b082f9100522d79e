/* SPDX-License-Identifier: Apache-2.0 */

/* What an execution started besides its leader, in the two ways there are of knowing it.
 *
 * With a leaf the kernel knows: killing is one write, and cgroup.events says whether it is empty and tells when
 * it becomes so.
 *
 * Without one a worker thread walks /proc (tree.c). The last of a tree to die is always our own child, as the
 * agent is a subreaper; so it is enough to look again when an unknown child was reaped (supervisor_rescan). */

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/loop/job.h"
#include "proc/process_private.h"

struct walk_job {
        struct process *process; /* not for the worker */
        struct tree_target target;
        enum walk kind;
        int term_signal;
        unsigned n_left;
};

static void walk_start(struct process *p, enum walk kind);

static void run_walk(void *arg)
{
        struct walk_job *job = arg;

        if (job->kind == WALK_COUNT)
                job->n_left = tree_count(&job->target);
        else if (job->kind == WALK_TERM)
                tree_signal(&job->target, job->term_signal);
        else
                job->n_left = tree_kill(&job->target);
}

static void on_walked(void *arg)
{
        CLEANUP(mem_free) struct walk_job *job = arg;
        struct process *p = job->process;
        enum walk wanted = p->walk_wanted;

        p->walk_wanted = WALK_NONE;
        gate_done(&p->gate, OWED_WALK); /* never the last one: OWED_TREE outlives each walk */

        if (job->kind != WALK_TERM) {
                p->has_survivors = job->n_left > 0;
                if (job->n_left == 0 && !process_owes(p, OWED_LEADER))
                        gate_done(&p->gate, OWED_TREE); /* nor this: the timer's handle is open */
                else if (job->kind == WALK_KILL && job->n_left > 0)
                        supervisor_rescan(p->supervisor);
        }
        if (wanted != WALK_NONE && process_owes(p, OWED_TREE))
                walk_start(p, wanted);
        process_advance(p);
}

/* One at a time; the strongest of those asked for meanwhile follows. */
static void walk_start(struct process *p, enum walk kind)
{
        struct walk_job *job;

        if (process_owes(p, OWED_WALK)) {
                p->walk_wanted = MAX(p->walk_wanted, kind);
                return;
        }

        job = xnew(struct walk_job);
        job->process = p;
        job->kind = kind;
        job->term_signal = p->term_signal;
        job->target.leader = p->pid;
        job->target.leader_is_gone = !process_owes(p, OWED_LEADER);
        memcpy(job->target.marker, p->id, sizeof(job->target.marker));
        gate_expect(&p->gate, OWED_WALK);
        if (job_run(p->supervisor->loop, job, run_walk, on_walked) < 0) {
                gate_done(&p->gate, OWED_WALK);
                free(job);
                supervisor_rescan(p->supervisor); /* try again */
        }
}

static void on_watch_closed(uv_handle_t *h)
{
        struct process *p = container_of((uv_poll_t *)h, struct process, watch);

        gate_done(&p->gate, OWED_WATCH);
}

static void watch_close(struct process *p)
{
        if (p->watch_fd < 0)
                return;

        (void)uv_poll_stop(&p->watch);
        uv_close((uv_handle_t *)&p->watch, on_watch_closed);
        p->watch_fd = fd_close(p->watch_fd);
}

/* Asks the leaf; true when it was empty and is gone. */
static bool leaf_is_gone(struct process *p)
{
        process_tree_account(p);
        if (cgroup_leaf_give_back(&p->leaf) == -EBUSY)
                return false;

        watch_close(p);
        p->has_survivors = false;
        gate_done(&p->gate, OWED_TREE);
        return true;
}

static void on_watch(uv_poll_t *h, int status, int events)
{
        struct process *p = container_of(h, struct process, watch);

        (void)status;
        (void)events;
        if (cgroup_events_populated(p->watch_fd))
                return;
        (void)leaf_is_gone(p);
        process_advance(p);
}

static int watch_open(struct process *p)
{
        int fd, r;

        fd = cgroup_leaf_open_events(&p->leaf);
        if (fd < 0)
                return fd;
        r = uv_poll_init(&p->supervisor->loop->uv, &p->watch, fd);
        if (r < 0) {
                (void)fd_close(fd);
                return r;
        }
        p->watch_fd = fd;
        gate_expect(&p->gate, OWED_WATCH);
        r = uv_poll_start(&p->watch, UV_PRIORITIZED, on_watch);
        if (r < 0)
                watch_close(p);
        return r;
}

/* See the header. */
void process_tree_check(struct process *p)
{
        if (!process_owes(p, OWED_TREE))
                return;
        if (p->leaf.fd < 0) {
                if (process_owes(p, OWED_WALK) || supervisor_has_orphans(p->supervisor)) {
                        walk_start(p, p->kill_state == KILL_KILL ? WALK_KILL : WALK_COUNT);
                } else {
                        p->has_survivors = false;
                        gate_done(&p->gate, OWED_TREE);
                }
                return;
        }

        if (leaf_is_gone(p))
                return;
        p->has_survivors = true;
        /* Without an event we ask again from time to time. The first read arms the event; what was between our
         * question and it shows in its answer. */
        if (p->watch_fd < 0 && watch_open(p) < 0)
                supervisor_rescan(p->supervisor);
        else if (!cgroup_events_populated(p->watch_fd))
                (void)leaf_is_gone(p);
}

/* The leader and its group, wherever they are: a process can leave its leaf (systemd-run, su, container tools). The
 * number is the leader's until it is reaped. */
static void signal_leader(const struct process *p, int sig)
{
        if (!process_owes(p, OWED_LEADER))
                return;
        (void)kill(p->pid, sig);
        (void)kill(-p->pid, sig); /* no such group until the shim has made it */
}

/* See the header. */
void process_tree_terminate(struct process *p)
{
        if (p->leaf.fd < 0) {
                walk_start(p, WALK_TERM);
                return;
        }
        if (!cgroup_leaf_signal(&p->leaf, p->term_signal, p->pid)) /* once only: programs count */
                signal_leader(p, p->term_signal);
        /* Who is stopped would not notice. */
        if (!cgroup_leaf_signal(&p->leaf, SIGCONT, p->pid))
                signal_leader(p, SIGCONT);
}

/* The terminal's foreground process group, or 0. Its number outlives it: it could be a stranger's by now. */
static pid_t foreground_group(const struct process *p)
{
        pid_t group = p->is_terminal && p->input.fd >= 0 ? tcgetpgrp(p->input.fd) : 0;
        pid_t session;

        if (group <= 1)
                return 0;
        session = getsid(
                group); /* fails when its first process has died: the others hold the number */
        return session < 0 || session == p->pid ? group : 0;
}

/* See process.h. */
int process_signal(struct process *p, int signum)
{
        pid_t group;

        if (!process_owes(p, OWED_LEADER))
                return -ESRCH;
        assert(p->pid > 1);
        group = foreground_group(p);
        if (group > 1 && kill(-group, signum) == 0)
                return 0;
        if (group > 1 && errno != ESRCH)
                return -errno;
        if (kill(-p->pid, signum) == 0)
                return 0;
        /* No such group until the shim has made it. */
        return kill(p->pid, signum) == 0 ? 0 : -errno;
}

/* See the header. */
void process_tree_kill(struct process *p)
{
        if (p->leaf.fd < 0) {
                walk_start(p, WALK_KILL);
                return;
        }
        (void)cgroup_leaf_kill(
                &p->leaf); /* fails without descriptors; what follows is better than nothing */
        signal_leader(p, SIGKILL);
}

/* See the header. */
void process_tree_account(struct process *p)
{
        if (p->leaf.fd >= 0 && !p->has_ended)
                cgroup_leaf_usage(&p->leaf, &p->usage);
}
