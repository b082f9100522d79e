/* SPDX-License-Identifier: Apache-2.0 */

/* One process that waits. It has all that an execution has, but for the object: an id, three pipes and one for rich
 * output, a leaf of the cgroup tree. An execution that is started from it takes these over (process_start.c), and only
 * the record is left, for its owner to free. One that is not wanted any more is killed; since nothing has run in it
 * there is no tree to look for. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "proc/cgroup_file.h"
#include "proc/driver_protocol.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"

#define LOG_MODULE "warm"
#include "agent/base/log.h"

/* One that dies so soon is no accident. */
#define TOO_SOON_MS 1000
#define BIRTHS_MS   1000
/* How often a leaf is looked at in which somebody is dying. */
#define MAX_LEAF_TRIES 100

/* --- its leaf --- */

/* Not later than the supervisor's: the tree above goes with it. */
static void give_back_leaf(struct warm *w, struct cgroup_leaf *leaf)
{
        struct warm_leaf *busy;

        if (leaf->fd < 0 || cgroup_leaf_give_back(leaf) != -EBUSY)
                return;
        (void)cgroup_leaf_kill(leaf);
        if (w->is_closing) {
                (void)cgroup_leaf_remove(leaf);
                leaf->fd = fd_close(leaf->fd);
                return;
        }
        busy = xnew(struct warm_leaf);
        busy->leaf = *leaf;
        leaf->fd = -1;
        list_append(&w->leaves, &busy->link);
}

/* See the header. */
void warm_leaves_give_back(struct warm *w, bool is_last)
{
        list_for_each_safe(item, &w->leaves) {
                struct warm_leaf *busy = list_entry(item, struct warm_leaf, link);

                if (cgroup_leaf_remove(&busy->leaf) == -EBUSY && !is_last &&
                    ++busy->n_tries < MAX_LEAF_TRIES)
                        continue;
                busy->leaf.fd = fd_close(busy->leaf.fd);
                list_remove(&busy->link);
                free(busy);
        }
}

static int take_leaf(struct warm_child *c, struct error *err)
{
        const struct supervisor *s = c->pool->warm->supervisor;
        const struct process_limits nothing = { 0 };
        struct process_limits_plan plan;

        supervisor_plan_limits(s, &nothing, &plan);
        return s->cgroup ? cgroup_leaf_take(&c->leaf, s->cgroup, c->id, &plan.leaf, err) : 0;
}

/* --- its life --- */

/* See the header. */
void warm_child_move(struct warm_child *c, enum child_state to)
{
        list_remove(&c->link);
        c->pool->n_children[c->state]--;
        c->state = to;
        c->pool->n_children[to]++;
        list_append(&c->pool->children[to], &c->link);
}

static void close_fds(struct warm_child *c)
{
        for (size_t i = 0; i < N_ENDS; i++)
                c->fds[i] = fd_close(c->fds[i]);
        c->status_fd = fd_close(c->status_fd);
}

/* When nobody refers to it any more. */
static void settle(struct warm_child *c)
{
        struct warm *w = c->pool->warm;

        if (c->has_process)
                return;
        give_back_leaf(w, &c->leaf);
        if (c->is_with_worker)
                return;
        list_remove(&c->link);
        c->pool->n_children[c->state]--;
        free(c);
        warm_unlive(w);
}

static void on_death(struct supervisor_ward *ward, int status)
{
        struct warm_child *c = container_of(ward, struct warm_child, ward);
        struct warm_pool *pool = c->pool;
        bool is_unexpected = c->state != CHILD_ENDING || c->was_lost;
        bool is_soon = is_unexpected && clock_now_ms() < c->since_ms + TOO_SOON_MS;

        if (is_unexpected)
                log_debug("a waiting process died", "pool=%s pid=%d status=%d",
                          warm_pool_names[pool->kind], (int)ward->pid, status);
        c->has_process = false;
        if (c->state != CHILD_ENDING)
                warm_child_end(c);
        else
                settle(c);
        if (is_soon)
                warm_pool_failed(pool, "a waiting process died at once");
        else if (is_unexpected)
                warm_pool_kick(pool, 0);
}

/* See the header. */
int warm_child_born(struct warm_child *c, pid_t pid)
{
        int r;

        c->ward.pid = pid;
        c->ward.on_death = on_death;
        r = supervisor_guard(c->pool->warm->supervisor, &c->ward);
        c->has_process = r == 0;
        return r;
}

/* See the header. */
void warm_child_end(struct warm_child *c)
{
        if (c->state == CHILD_ENDING)
                return;
        warm_child_move(c, CHILD_ENDING);
        close_fds(c);
        if (c->has_process)
                (void)kill(c->ward.pid, SIGKILL);
        settle(c);
}

/* See the header. */
bool warm_child_is_alive(const struct warm_child *c)
{
        char byte;

        return recv(c->fds[END_JOB], &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* --- its birth --- */

static int open_output(int *ret_ours, int *ret_theirs)
{
        struct process_stream stream = { .fd = -1 };
        int r = process_stream_open(&stream, ret_theirs);

        if (r == 0)
                *ret_ours = stream.fd;
        return r;
}

static int open_ends(struct warm_child *c, int ends[N_ENDS])
{
        struct process_input input = { .fd = -1 };
        int pair[2];
        int r = process_input_open(&input, &ends[END_STDIN]);

        if (r < 0)
                return r;
        c->fds[END_STDIN] = input.fd;
        for (int i = END_STDOUT; r == 0 && i <= END_RICH; i++)
                r = open_output(&c->fds[i], &ends[i]);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        c->fds[END_JOB] = pair[0];
        ends[END_JOB] = pair[1];
        return fd_set_nonblock(pair[0], true);
}

/* As process_start.c does it. */
static void give_away(const struct supervisor *s, const int ends[N_ENDS])
{
        if (!s->options.run_as || geteuid() != 0 || s->user->uid == 0)
                return;
        for (int i = END_STDIN; i <= END_RICH; i++)
                if (fchown(ends[i], s->user->uid, s->user->gid) < 0)
                        log_debug("pipe not given away", "error=%s", strerror(errno));
}

/* See the header. */
uint64_t warm_child_due(struct warm_pool *pool)
{
        uint64_t now = clock_now_ms(), end = pool->births_since_ms + BIRTHS_MS;

        if (now >= end) {
                pool->births_since_ms = now;
                pool->n_births = 0;
        }
        return pool->n_births < LIMIT_WARM_BIRTHS ? 0 : end - now;
}

/* See the header. */
int warm_child_new(struct warm_pool *pool, struct warm_child **ret, int ret_ends[N_ENDS],
                   struct error *err)
{
        struct warm_child *c = xnew(struct warm_child);
        int r;

        c->pool = pool;
        c->status_fd = c->leaf.fd = -1;
        c->since_ms = clock_now_ms();
        list_init(&c->ward.link);
        for (int i = 0; i < N_ENDS; i++)
                c->fds[i] = ret_ends[i] = -1;
        id_new(c->id, "exec_");
        list_append(&pool->children[CHILD_ASKED], &c->link);
        pool->n_children[CHILD_ASKED]++;
        pool->n_births++;
        pool->warm->n_live++;

        r = open_ends(c, ret_ends);
        if (r < 0)
                r = error_set(err, r, "pipes of a waiting process");
        else
                r = take_leaf(c, err);
        if (r < 0) {
                for (int i = 0; i < N_ENDS; i++)
                        ret_ends[i] = fd_close(ret_ends[i]);
                warm_child_end(c);
                return r;
        }
        give_away(pool->warm->supervisor, ret_ends);
        *ret = c;
        return 0;
}

static int spawn_node(struct warm_child *c, const int ends[N_ENDS], struct error *err)
{
        struct warm *w = c->pool->warm;
        struct supervisor *s = w->supervisor;
        CLEANUP(mem_free)
        char *driver = xasprintf("%s/javascript/driver.cjs", w->options.driver_dir);
        CLEANUP(mem_free) char *wait = xasprintf("--wait=%d", DRIVER_JOB_FD);
        CLEANUP(mem_free) char *rich = xasprintf("--rich=%d", DRIVER_RICH_FD);
        CLEANUP(mem_free) char *marker = xasprintf(TREE_MARKER "=%s", c->id);
        char *const markers[] = { marker, s->instance, NULL };
        CLEANUP(mem_free) char **envp = tree_mark(c->pool->envp, markers);
        char *const argv[] = { (char *)"node", driver, wait, rich, NULL };
        const struct process_limits nothing = { 0 };
        struct process_limits_plan plan;
        struct spawn_spec spec = {
                .shim = s->options.shim,
                .argv = argv,
                .envp = envp,
                .cwd = "/",
                .fds = { ends[END_STDIN], ends[END_STDOUT], ends[END_STDERR] },
                .extra_fds = { ends[END_RICH], ends[END_JOB] },
                .n_extra = 2,
                .cgroup_fd = c->leaf.fd,
                .user = supervisor_other_user(s),
                .max_files = s->options.max_files,
        };
        pid_t pid;
        int r;

        supervisor_plan_limits(s, &nothing, &plan);
        spec.limits = plan.own;
        r = spawn(&spec, &pid, &c->status_fd, err);
        return r < 0 ? r : warm_child_born(c, pid);
}

/* See the header. */
int warm_child_spawn(struct warm_pool *pool, struct error *err)
{
        struct warm_child *c;
        int ends[N_ENDS];
        int r;

        r = warm_child_new(pool, &c, ends, err);
        if (r < 0)
                return r;
        r = spawn_node(c, ends, err);
        for (int i = 0; i < N_ENDS; i++)
                ends[i] = fd_close(ends[i]);
        if (r < 0)
                warm_child_end(c);
        else
                warm_child_move(c, CHILD_READY);
        return r;
}

/* --- into its leaf --- */

struct place_job {
        struct warm_child *child; /* not for the worker */
        int leaf_fd;
        int pid_fd;
        pid_t pid;
        int result;
};

/* Writing waits for all processors to have passed through the scheduler: some 20 ms. And the workers may have been busy
 * for long, so that the process has died and its number is a stranger's, who would be killed with the leaf. */
static void run_place(void *arg)
{
        struct place_job *job = arg;
        struct pollfd death = { .fd = job->pid_fd, .events = POLLIN };
        char text[16];

        if (poll(&death, 1, 0) != 0) {
                job->result = -ESRCH;
                return;
        }
        (void)snprintf(text, sizeof(text), "%d", (int)job->pid);
        job->result = cgroup_file_write(job->leaf_fd, "cgroup.procs", text);
}

static void on_placed(void *arg)
{
        CLEANUP(mem_free) struct place_job *job = arg;
        struct warm_child *c = job->child;
        struct warm_pool *pool = c->pool;

        (void)fd_close(job->leaf_fd);
        (void)fd_close(job->pid_fd);
        c->is_with_worker = false;
        if (c->state == CHILD_ENDING) {
                settle(c);
        } else if (job->result < 0) {
                warm_child_end(c);
                warm_pool_failed(pool, "a waiting process could not be moved into its cgroup");
        } else {
                warm_child_move(c, CHILD_READY);
                warm_pool_deliver(pool);
        }
}

/* See the header. */
void warm_child_place(struct warm_child *c)
{
        struct place_job *job = xnew(struct place_job);

        job->child = c;
        job->pid = c->ward.pid;
        job->leaf_fd = fcntl(c->leaf.fd, F_DUPFD_CLOEXEC, 0);
        /* It is not reaped yet. Where it cannot be had, -1 is what poll takes for somebody alive. */
        job->pid_fd = (int)syscall(SYS_pidfd_open, job->pid, 0);
        if (job->leaf_fd < 0 || job_run(c->pool->warm->loop, job, run_place, on_placed) < 0) {
                (void)fd_close(job->leaf_fd);
                (void)fd_close(job->pid_fd);
                free(job);
                warm_child_end(c);
                return;
        }
        c->is_with_worker = true;
        warm_child_move(c, CHILD_PLACING);
}

/* --- its job --- */

/* What was asked for beyond the configuration, which it was born with. What it has used up until now is nobody's. */
static int set_limits(struct warm_child *c, const struct process_limits_plan *limits)
{
        const struct process_limits more = { .cpu_seconds = limits->own.cpu_seconds,
                                             .max_tasks = limits->own.max_tasks };
        int r = process_limits_apply(c->ward.pid, &more);

        if (r < 0 || c->leaf.fd < 0)
                return r;
        cgroup_leaf_limit(&c->leaf, &limits->leaf);
        cgroup_leaf_restart(&c->leaf);
        return 0;
}

/* See the header. A socket's buffer is larger than the largest job, and this one is empty. */
int warm_child_send(struct warm_child *c, const char *cwd, bool has_input, char *const *envp,
                    const struct process_limits_plan *limits, struct error *err)
{
        CLEANUP(buf_done) struct buf job;
        ssize_t n;
        int r;

        r = warm_job_build(cwd, c->request->script, has_input, envp, &job);
        if (r < 0)
                return error_set(err, r, "the job of a waiting process");
        r = set_limits(c, limits);
        if (r < 0) {
                /* Root without CAP_SYS_RESOURCE, as in many containers. No other process is sacrificed for that. */
                if (r == -EPERM)
                        c->pool->warm->may_not_limit = true;
                c->fds[END_JOB] = fd_close(c->fds[END_JOB]); /* it may have some */
                return error_set(err, r, "limit a waiting process");
        }
        n = send(c->fds[END_JOB], job.data, job.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n != (ssize_t)job.size) {
                r = n < 0 ? -errno : -EAGAIN;
                c->fds[END_JOB] = fd_close(c->fds[END_JOB]); /* it may have half of one */
                return error_set(err, r, "give a waiting process its job");
        }
        return 0;
}

/* See the header. */
void warm_child_started(struct warm_child *c)
{
        supervisor_release(c->pool->warm->supervisor, &c->ward);
        c->has_process = false;
        c->is_started = true;
        close_fds(c);
}

/* See warm.h. */
bool warm_child_done(struct warm_child *c)
{
        struct warm_pool *pool = c->pool;
        bool is_started = c->is_started;

        c->request = NULL;
        if (is_started) {
                pool->hits++;
                pool->n_births -= pool->n_births > 0;
                warm_child_end(c); /* the record */
        } else if (c->has_process && warm_child_is_alive(c)) {
                warm_child_move(c, CHILD_READY);
        } else {
                pool->misses[WARM_MISS_FAILED]++;
                warm_child_end(c);
        }
        warm_pool_kick(pool, 0);
        return is_started;
}
