/* SPDX-License-Identifier: Apache-2.0 */

/* The beginning of an execution. What can fail comes before the child is born, so that a failure leaves nothing
 * to kill; the handles, which only the loop can close, come after. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/process_private.h"
#include "proc/warm_private.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

/* The child's ends of what we hold the other ends of: stdin, stdout, stderr, rich output, or -1. */
struct ends {
        int fd[4];
};

#define RICH_END 3

static void ends_done(struct ends *e)
{
        for (size_t i = 0; i < ARRAY_LEN(e->fd); i++)
                e->fd[i] = fd_close(e->fd[i]);
}

static int start_program(struct process *p, const struct process_options *o, const struct ends *e,
                         struct error *err)
{
        struct supervisor *s = p->supervisor;
        CLEANUP(mem_free) char *marker = xasprintf(TREE_MARKER "=%s", p->id);
        char *const markers[] = { marker, s->instance, NULL };
        CLEANUP(mem_free) char **envp = tree_mark(o->envp, markers);
        struct spawn_spec spec = {
                .shim = s->options.shim,
                .argv = o->argv,
                .first = o->first,
                .envp = envp,
                .cwd = o->cwd,
                .fds = { e->fd[0] >= 0 ? e->fd[0] : o->input_fd, e->fd[1],
                         e->fd[2] >= 0 ? e->fd[2] : e->fd[1] },
                .extra_fds = { e->fd[RICH_END] },
                .n_extra = e->fd[RICH_END] >= 0 ? 1 : 0,
                .set_tty = p->is_terminal,
                .cgroup_fd = p->leaf.fd,
                .user = supervisor_other_user(s),
                .limits = p->limits.own,
                .max_files = s->options.max_files,
        };

        return spawn(&spec, &p->pid, &p->status_fd, err);
}

static int open_terminal(struct process *p, const struct pty_size *size, struct ends *e,
                         struct error *err)
{
        struct supervisor *s = p->supervisor;
        int r;

        r = pty_open(size, s->options.run_as ? s->user : NULL, &p->streams[0].fd, &e->fd[0], err);
        if (r < 0)
                return r;
        /* libuv watches a descriptor but once. */
        p->input.fd = fcntl(p->streams[0].fd, F_DUPFD_CLOEXEC, 0);
        e->fd[1] = fcntl(e->fd[0], F_DUPFD_CLOEXEC, 0);
        if (p->input.fd < 0 || e->fd[1] < 0)
                return error_set(err, -errno, "descriptors of a terminal");
        return 0;
}

/* Programs open /dev/stdout and its like, and may only if the pipe is theirs. */
static void give_away(const struct supervisor *s, const struct ends *e)
{
        if (!s->options.run_as || geteuid() != 0 || s->user->uid == 0)
                return;
        for (size_t i = 0; i < ARRAY_LEN(e->fd); i++)
                if (e->fd[i] >= 0 && fchown(e->fd[i], s->user->uid, s->user->gid) < 0)
                        log_debug("pipe not given away", "error=%s", strerror(errno));
}

/* Where what comes beside the output is collected. */
static void collect_rich(struct process *p)
{
        const struct supervisor_options *o = &p->supervisor->options;

        p->rich = rich_new(o->rich_max_size, o->rich_max_count, &p->supervisor->budget);
        if (o->max_discard)
                p->max_rich_written = o->rich_max_size + o->max_discard;
}

static int open_pipes(struct process *p, const struct process_options *o, struct ends *e,
                      struct error *err)
{
        int r;

        r = process_stream_open(&p->streams[0], &e->fd[1]);
        if (r == 0 && !o->merge_stderr)
                r = process_stream_open(&p->streams[1], &e->fd[2]);
        if (r < 0)
                return error_set(err, r, "output pipe");
        if (o->has_input)
                r = process_input_open(&p->input, &e->fd[0]);
        if (r < 0)
                return error_set(err, r, "input pipe");
        if (o->has_rich)
                r = process_stream_open(&p->streams[STREAM_RICH], &e->fd[RICH_END]);
        if (r < 0)
                return error_set(err, r, "pipe for rich output");
        if (o->has_rich)
                collect_rich(p);
        give_away(p->supervisor, e);
        return 0;
}

/* Everything that can fail before there is a child. */
static int prepare(struct process *p, const struct process_options *o, struct ends *e,
                   struct error *err)
{
        struct supervisor *s = p->supervisor;
        int r;

        r = o->tty ? open_terminal(p, o->tty, e, err) : open_pipes(p, o, e, err);
        if (r < 0)
                return r;
        return s->cgroup ? cgroup_leaf_take(&p->leaf, s->cgroup, p->id, &p->limits.leaf, err) : 0;
}

/* A process that waits for us has all of that already. What can fail comes first. But it gets a new id: its own may
 * have been drawn before the machine was saved, and be another machine's as well. */
static int take_over(struct process *p, const struct process_options *o, struct error *err)
{
        struct warm_child *c = o->warm;
        CLEANUP(mem_free) char *marker = xasprintf(TREE_MARKER "=%s", p->id);
        char *const markers[] = { marker, p->supervisor->instance, NULL };
        CLEANUP(mem_free) char **envp = tree_mark(o->envp, markers);
        int r;

        r = warm_child_send(c, o->cwd, o->has_input, envp, &p->limits, err);
        if (r < 0)
                return r;
        p->pid = c->ward.pid;
        p->leaf = c->leaf;
        c->leaf.fd = -1;
        p->streams[0].fd = STEAL_FD(c->fds[END_STDOUT]);
        p->streams[1].fd = STEAL_FD(c->fds[END_STDERR]);
        if (o->has_input)
                p->input.fd = STEAL_FD(c->fds[END_STDIN]);
        if (o->has_rich) {
                p->streams[STREAM_RICH].fd = STEAL_FD(c->fds[END_RICH]);
                collect_rich(p);
        }
        p->status_fd = STEAL_FD(c->fds[END_JOB]); /* the same struct comes from there, or its end */
        warm_child_started(c);
        return 0;
}

static struct process *allocate(struct supervisor *s, const struct process_options *o)
{
        struct process *p = xnew(struct process);
        bool is_live = o->on_output != NULL;

        p->refs = 1;
        p->supervisor = supervisor_ref(s);
        list_init(&p->link);
        list_init(&p->pid_link);
        gate_init(&p->gate, process_on_gone);
        id_new(p->id, "exec_");
        p->status_fd = p->watch_fd = p->leaf.fd = p->input.fd = -1;
        p->grace_ms = o->grace_ms;
        p->term_signal = o->term_signal ? o->term_signal : SIGTERM;
        if (!is_live && s->options.max_discard)
                p->max_written = s->options.max_output + s->options.max_discard;
        supervisor_plan_limits(s, &o->limits, &p->limits);
        p->is_terminal = o->tty != NULL;
        p->is_live = is_live;
        p->on_end = o->on_end;
        p->on_output = o->on_output;
        p->on_input_drained = o->on_input_drained;
        p->arg = o->arg;
        for (size_t i = 0; i < ARRAY_LEN(p->streams); i++) {
                p->streams[i].fd = -1;
                if (i != STREAM_RICH)
                        p->streams[i].output = output_new(is_live ? 0 : s->options.max_output,
                                                          s->options.keep_tail, &s->budget);
        }
        return p;
}

/* Begins to watch what is open. What cannot be watched is closed: nobody has a handle to close it with. */
static int watch(struct process *p)
{
        int r;

        r = process_stream_start(&p->streams[0], p, OWED_STDOUT);
        if (r == 0 && p->streams[1].fd >= 0)
                r = process_stream_start(&p->streams[1], p, OWED_STDERR);
        if (r == 0 && p->streams[STREAM_RICH].fd >= 0)
                r = process_stream_start(&p->streams[STREAM_RICH], p, OWED_RICH);
        if (r == 0 && p->input.fd >= 0)
                r = process_input_start(p);
        if (!process_owes(p, OWED_STDERR))
                p->streams[1].fd = fd_close(p->streams[1].fd);
        if (!process_owes(p, OWED_RICH))
                p->streams[STREAM_RICH].fd = fd_close(p->streams[STREAM_RICH].fd);
        if (!process_owes(p, OWED_INPUT))
                p->input.fd = fd_close(p->input.fd);
        return r;
}

/* Starts a program and hands the object to the supervisor, which holds the reference. */
int process_new(struct supervisor *s, const struct process_options *o, struct process **ret,
                struct error *err)
{
        struct process *p = allocate(s, o);
        struct ends ends = { { -1, -1, -1, -1 } };
        int r;

        p->started_us = clock_now_us();
        if (o->warm) {
                r = take_over(p, o, err);
        } else {
                r = prepare(p, o, &ends, err);
                if (r >= 0)
                        r = start_program(p, o, &ends, err);
                ends_done(&ends);
        }
        if (r < 0) {
                (void)cgroup_leaf_remove(&p->leaf);
                process_free(p);
                return r;
        }

        gate_expect(&p->gate, OWED_LEADER | OWED_TREE | OWED_TIMER);
        (void)uv_timer_init(&s->loop->uv, &p->timer);
        supervisor_add(s, p);
        supervisor_count_as(s, p, COUNT_RUNNING);
        r = watch(p);
        if (r < 0) {
                /* Out of watches: the child is there, but as far as the caller knows it never was. */
                process_detach(p);
                process_kill_now(p, END_CANCELLED);
                return error_set(err, r, "watch a child's output and input");
        }
        if (o->timeout_ms)
                process_start_timer(p, o->timeout_ms);
        log_debug("process started", "id=%s pid=%d", p->id, (int)p->pid);
        *ret = p;
        return 0;
}
