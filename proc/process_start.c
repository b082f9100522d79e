/* SPDX-License-Identifier: Apache-2.0 */

/* The beginning of an execution. What can fail comes before the child is born, so that a failure leaves nothing
 * to kill; the handles, which only the loop can close, come after. */

#include <stdlib.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/process_private.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

/* The caller's environment with the marker in front, in an array that owns nothing. */
static char **add_marker(char *const *envp, char *marker)
{
        size_t n = strv_len(envp);
        char **v = xcalloc(n + 2, sizeof(*v));

        v[0] = marker;
        for (size_t i = 0; i < n; i++)
                v[i + 1] = envp[i];
        return v;
}

static int start_program(struct process *p, const struct process_options *o, const int out[2],
                         struct error *err)
{
        struct supervisor *s = p->supervisor;
        CLEANUP(mem_free) char *marker = xasprintf(TREE_MARKER "=%s", p->id);
        CLEANUP(mem_free) char **envp = add_marker(o->envp, marker);
        bool is_self = s->user->uid == geteuid() &&
                       geteuid() != 0; /* then there is nothing to change, nor may we */
        struct spawn_spec spec = {
                .shim = s->options.shim,
                .argv = o->argv,
                .envp = envp,
                .cwd = o->cwd,
                .fds = { o->input_fd, out[0], o->merge_stderr ? out[0] : out[1] },
                .cgroup_fd = p->leaf.fd,
                .user = s->options.run_as && !is_self ? s->user : NULL,
                .max_memory = s->cgroup && cgroup_has_memory(s->cgroup) ? 0 : s->options.max_memory,
                .max_files = s->options.max_files,
        };

        return spawn(&spec, &p->pid, &p->status_fd, err);
}

/* Everything that can fail before there is a child. */
static int prepare(struct process *p, const struct process_options *o, int out[2],
                   struct error *err)
{
        struct supervisor *s = p->supervisor;
        struct cgroup_limits limits = {
                .max_memory = s->options.max_memory,
                .max_tasks = s->options.max_tasks,
        };
        int r;

        r = process_stream_open(&p->streams[0], &out[0]);
        if (r == 0 && !o->merge_stderr)
                r = process_stream_open(&p->streams[1], &out[1]);
        if (r < 0)
                return error_set(err, r, "output pipe");
        return s->cgroup ? cgroup_leaf_take(&p->leaf, s->cgroup, p->id, &limits, err) : 0;
}

static struct process *allocate(struct supervisor *s, const struct process_options *o)
{
        struct process *p = xnew(struct process);

        p->refs = 1;
        p->supervisor = supervisor_ref(s);
        list_init(&p->link);
        list_init(&p->pid_link);
        gate_init(&p->gate, process_on_gone);
        id_new(p->id, "exec_");
        p->status_fd = p->watch_fd = p->leaf.fd = -1;
        p->grace_ms = o->grace_ms;
        p->max_written = s->options.max_discard ? s->options.max_output + s->options.max_discard
                                                : 0;
        p->on_end = o->on_end;
        p->arg = o->arg;
        for (size_t i = 0; i < ARRAY_LEN(p->streams); i++) {
                p->streams[i].fd = -1;
                p->streams[i].output = output_new(s->options.max_output, s->options.keep_tail,
                                                  &s->budget);
        }
        return p;
}

/* Starts a program and hands the object to the supervisor, which holds the reference. */
int process_new(struct supervisor *s, const struct process_options *o, struct process **ret,
                struct error *err)
{
        struct process *p = allocate(s, o);
        int out[2] = { -1, -1 };
        int r;

        p->started_us = clock_now_us();
        r = prepare(p, o, out, err);
        if (r >= 0)
                r = start_program(p, o, out, err);
        (void)fd_close(out[0]);
        (void)fd_close(out[1]);
        if (r < 0) {
                (void)cgroup_leaf_remove(&p->leaf);
                process_free(p);
                return r;
        }

        gate_expect(&p->gate, OWED_LEADER | OWED_TREE | OWED_TIMER);
        (void)uv_timer_init(&s->loop->uv, &p->timer);
        supervisor_add(s, p);
        supervisor_count_as(s, p, COUNT_RUNNING);
        r = process_stream_start(&p->streams[0], p, OWED_STDOUT);
        if (r == 0 && !o->merge_stderr)
                r = process_stream_start(&p->streams[1], p, OWED_STDERR);
        if (r <
            0) { /* out of watches: the child is there, but as far as the caller knows it never was */
                p->on_end = NULL;
                process_kill_now(p, END_CANCELLED);
                return error_set(err, r, "watch a child's output");
        }
        if (o->timeout_ms)
                process_start_timer(p, o->timeout_ms);
        log_debug("process started", "id=%s pid=%d", p->id, (int)p->pid);
        *ret = p;
        return 0;
}
