/* SPDX-License-Identifier: Apache-2.0 */

/* The life of one execution. Everything that happens to it (its leader was reaped, a pipe is at its end, its
 * tree is gone, the timer fired, somebody wants it dead) is noted where it happens, and then process_advance
 * decides, in one place, whether the result is final.
 *
 * It is final when
 *  - the leader has exited by itself and both pipes are at their end, or DRAIN_MS have passed (a grandchild
 *    holds them; what the leader wrote was read when it exited); or
 *  - it was killed, and the whole tree is gone; or ANSWER_MS have passed since SIGKILL, come what may.
 *
 * After that the object lives on until its tree is gone and its pipes are closed: LINGERING. Only the gate frees
 * it: the timer's handle stays open until leader and tree are gone, so that no other bit can be the last before
 * then, and functions here may go on using the object after they have marked something as done. */

#include "proc/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "proc/process_private.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

/* How long the end waits for pipes that somebody else holds. */
#define DRAIN_MS 50
/* How long after SIGKILL the answer may wait for the dying: within the 50 ms of the deadline contract. */
#define ANSWER_MS 40

static const char *const reason_names[] = {
        [END_NONE] = "none",           [END_EXIT] = "exit",   [END_SIGNAL] = "signal",
        [END_TIMEOUT] = "timeout",     [END_OOM] = "oom",     [END_OUTPUT_LIMIT] = "output_limit",
        [END_CANCELLED] = "cancelled", [END_SPAWN] = "spawn", [END_CPU_LIMIT] = "cpu_limit",
};

static void on_timer(uv_timer_t *t);

/* The one timer: what it stands for, on_timer knows. */
void process_start_timer(struct process *p, uint64_t ms)
{
        /* The loop's idea of now may be older than the work of this turn, and a deadline must not be early. */
        clock_deadline_set(&p->due, ms);
        uv_update_time(&p->supervisor->loop->uv);
        (void)uv_timer_start(&p->timer, on_timer, ms, 0);
}

/* Frees what nobody refers to any more, or what never was started. */
void process_free(struct process *p)
{
        (void)fd_close(p->status_fd);
        for (size_t i = 0; i < ARRAY_LEN(p->streams); i++) {
                (void)fd_close(p->streams[i].fd);
                output_free(p->streams[i].output);
        }
        rich_free(p->rich);
        (void)fd_close(p->input.fd);
        buf_done(&p->input.queue);
        supervisor_unref(p->supervisor);
        free(p);
}

/* The gate's callback: the last handle is closed, the last of the tree is dead. */
void process_on_gone(struct gate *g)
{
        struct process *p = container_of(g, struct process, gate);

        log_debug("process gone", "id=%s pid=%d", p->id, (int)p->pid);
        p->is_gone = true;
        supervisor_forget(p->supervisor, p);
        process_unref(p);
}

static void on_timer_closed(uv_handle_t *h)
{
        struct process *p = container_of((uv_timer_t *)h, struct process, timer);

        gate_done(&p->gate, OWED_TIMER);
}

/* Those that the end waits for. What the leader displayed is in its pipe when it has exited: that is nobody else's. */
static bool has_open_streams(const struct process *p)
{
        return p->streams[PROCESS_STDOUT].fd >= 0 || p->streams[PROCESS_STDERR].fd >= 0;
}

static int exit_code_of_end(enum end_reason reason)
{
        return reason == END_TIMEOUT ? 124 : 128 + SIGKILL;
}

/* Whether the leader ended by itself: nobody wanted it dead, or it was faster than SIGKILL. */
static bool ended_by_itself(const struct process *p)
{
        if (p->kill_reason == END_NONE)
                return true;
        return !p->was_termed &&
               !(WIFSIGNALED(p->wait_status) && WTERMSIG(p->wait_status) == SIGKILL);
}

/* Not for what it was asked to execute, or where. */
static bool is_for_want(const struct spawn_failure *f)
{
        return f->error == EAGAIN || f->error == ENOMEM || f->error == EMFILE || f->error == ENFILE;
}

static void compute_end(struct process *p, struct process_result *r)
{
        int status = p->wait_status;

        if (process_owes(p,
                         OWED_LEADER)) { /* SIGKILL is on its way; the deadline waits for nobody */
                r->reason = p->kill_reason;
                r->exit_code = exit_code_of_end(r->reason);
                return;
        }

        r->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        r->exit_code = r->signal ? 128 + r->signal : WEXITSTATUS(status);
        spawn_read_failure(p->status_fd, &r->failure);
        if (r->failure.stage == SPAWN_LOST && p->kill_reason != END_NONE)
                r->failure.stage = SPAWN_OK; /* it was us */
        if (r->failure.stage != SPAWN_OK) {
                r->reason = END_SPAWN;
                if (is_for_want(&r->failure))
                        p->supervisor->n_failed++;
        } else if (!ended_by_itself(p)) {
                r->reason = p->kill_reason;
                /* Who was told to go and went says more than we could. */
                if (r->reason != END_CANCELLED)
                        r->exit_code = exit_code_of_end(r->reason);
        } else if (r->exit_code == 128 + SIGKILL && p->usage.oom_kills > 0) {
                /* the leader, or what a shell tells of its child */
                r->reason = END_OOM;
        } else if (process_limits_ended(p->limits.own.cpu_seconds, status,
                                        usage_cpu_us(&p->rusage))) {
                r->reason = END_CPU_LIMIT;
                r->exit_code = PROCESS_CPU_EXIT_CODE;
        } else {
                r->reason = r->signal ? END_SIGNAL : END_EXIT;
        }
}

static void compute_usage(struct process *p, struct process_result *r)
{
        bool is_reaped = !process_owes(p, OWED_LEADER);

        usage_compute(&p->usage, is_reaped ? &p->rusage : NULL, &r->usage);
        r->duration_us = clock_now_us() - p->started_us;
        r->cpu_seconds = p->limits.own.cpu_seconds;
        r->ignores_tasks = p->limits.ignores_tasks;
}

/* Lets go of handles that nothing needs any more, and says as what the process counts. */
static void settle(struct process *p)
{
        bool is_gone = p->has_ended && !process_owes(p, OWED_LEADER | OWED_TREE);
        /* The answer did not wait for it, and nobody has seen its end yet. */
        bool is_dying = p->kill_state == KILL_KILL && process_owes(p, OWED_TREE);

        if (is_gone && p->kill_state == KILL_KILL)
                for (size_t i = 0; i < ARRAY_LEN(p->streams); i++)
                        process_stream_close(&p->streams[i]);
        if (is_gone && !uv_is_closing((uv_handle_t *)&p->timer))
                uv_close((uv_handle_t *)&p->timer, on_timer_closed);

        if (!p->has_ended)
                supervisor_count_as(p->supervisor, p, COUNT_RUNNING);
        else if (process_owes(p, OWED_LEADER) || p->has_survivors || is_dying ||
                 (is_gone && (has_open_streams(p) || p->streams[STREAM_RICH].fd >= 0)))
                supervisor_count_as(p->supervisor, p, COUNT_LINGERING);
        else
                supervisor_count_as(p->supervisor, p, COUNT_NOT);
}

static void finish(struct process *p)
{
        void (*on_end)(struct process *, void *) = STEAL(p->on_end);

        process_ref(p);
        (void)uv_timer_stop(&p->timer);
        if (p->is_tree_unchecked)
                process_start_timer(p, 0); /* in the loop's next turn, behind the answer */
        process_tree_account(p);
        p->has_ended = true;
        if (p->rich)
                rich_end(p->rich);
        process_input_close(p);
        if (p->is_paused) /* whoever writes on must not wait for nothing */
                for (size_t i = 0; i < ARRAY_LEN(p->streams); i++)
                        process_stream_update(&p->streams[i]);
        compute_end(p, &p->result);
        compute_usage(p, &p->result);
        log_debug("process ended", "id=%s pid=%d reason=%s code=%d", p->id, (int)p->pid,
                  process_reason_name(p->result.reason), p->result.exit_code);
        settle(p);
        if (on_end)
                on_end(p, p->arg);
        process_unref(p);
}

/* Reads what is in the pipes, paused or not. */
static void drain(struct process *p)
{
        for (size_t i = 0; i < ARRAY_LEN(p->streams); i++)
                process_stream_drain(&p->streams[i]);
}

static bool is_final(struct process *p)
{
        if (process_owes(p, OWED_LEADER))
                return false;
        if (process_owes(p, OWED_TREE))
                return p->kill_state == KILL_NONE && !has_open_streams(p);

        /* Nobody is left to write; if a pipe is not at its end, a stranger was handed it. */
        drain(p);
        return true;
}

/* See the header. */
void process_advance(struct process *p)
{
        if (!p->has_ended && is_final(p))
                finish(p);
        else
                settle(p);
}

/* What process_on_reaped has put off. */
static void look_at_tree(struct process *p)
{
        if (!p->is_tree_unchecked)
                return;
        p->is_tree_unchecked = false;
        process_tree_check(p);
        process_advance(p); /* calls nobody: the end was before */
}

/* What has not come until now comes too late. */
static void stop_waiting(struct process *p)
{
        enum kill_state before = p->kill_state;

        if (p->is_paused)
                drain(p);
        /* on_output may have wanted it killed, and that takes its own time. */
        if (p->kill_state == before)
                finish(p);
        else
                process_advance(p);
}

static void on_timer(uv_timer_t *t)
{
        struct process *p = container_of(t, struct process, timer);
        uint64_t rest_ms = clock_deadline_rest_ms(&p->due);

        if (rest_ms > 0) /* it could not use the time of a pause, and gets it back */
                process_start_timer(p, rest_ms);
        else if (p->is_tree_unchecked)
                look_at_tree(p);
        else if (p->kill_state == KILL_TERM)
                process_kill_now(p, p->kill_reason);
        else if (p->has_ended)
                return;
        else if (p->kill_state == KILL_KILL || !process_owes(p, OWED_LEADER))
                stop_waiting(p);
        else
                process_kill(p, END_TIMEOUT);
}

/* The leader is dead and no zombie any more. */
void process_on_reaped(struct process *p, int status, const struct rusage *usage)
{
        list_remove(&p->pid_link);
        p->wait_status = status;
        p->rusage = *usage;
        gate_done(&p->gate, OWED_LEADER); /* from here on nobody signals that number */
        if (!p->has_ended)
                drain(p);
        /* When nothing else is waited for, the answer goes first. */
        p->is_tree_unchecked = !p->has_ended && p->kill_state == KILL_NONE && !has_open_streams(p);
        if (!p->is_tree_unchecked)
                process_tree_check(p);
        if (!p->has_ended && p->kill_state == KILL_NONE)
                process_start_timer(p, DRAIN_MS);
        process_advance(p);
}

/* See the header. */
void process_kill(struct process *p, enum end_reason reason)
{
        if (p->kill_state == KILL_NONE)
                process_kill_gently(p, reason, p->grace_ms);
}

/* See the header. */
void process_kill_gently(struct process *p, enum end_reason reason, uint64_t grace_ms)
{
        look_at_tree(p);
        if (p->is_gone || p->kill_state == KILL_KILL)
                return;
        if (grace_ms == 0 || !process_owes(p, OWED_TREE)) {
                process_kill_now(p, reason);
                return;
        }
        if (p->kill_state == KILL_TERM) {
                if (grace_ms < uv_timer_get_due_in(&p->timer))
                        process_start_timer(p, grace_ms);
                return;
        }

        if (process_owes(p, OWED_LEADER))
                p->kill_reason = reason;
        p->kill_state = KILL_TERM;
        p->was_termed = true;
        process_tree_terminate(p);
        process_start_timer(p, grace_ms);
}

/* SIGKILL for the tree, without grace. Never calls on_end. */
void process_kill_now(struct process *p, enum end_reason reason)
{
        look_at_tree(p);
        if (p->kill_state == KILL_KILL || p->is_gone)
                return;

        if (process_owes(p, OWED_LEADER) && p->kill_reason == END_NONE)
                p->kill_reason = reason;
        p->kill_state = KILL_KILL;
        if (process_owes(p, OWED_TREE))
                process_tree_kill(p);
        if (!p->has_ended)
                process_start_timer(p, ANSWER_MS);
        settle(p);
}

/* See the header. */
struct process *process_ref(struct process *p)
{
        p->refs++;
        return p;
}

/* See the header. */
struct process *process_unref(struct process *p)
{
        if (!p)
                return NULL;

        p->refs--;
        if (p->refs == 0) {
                process_free(p);
        } else if (p->refs == 1 && p->has_ended && !p->is_gone) {
                /* Only the supervisor is left, which does not read: a lingering tree holds no output. */
                for (size_t i = 0; i < ARRAY_LEN(p->streams); i++)
                        p->streams[i].output = output_free(p->streams[i].output);
                p->rich = rich_free(p->rich);
        }
        return NULL;
}

/* See the header. */
const char *process_id(const struct process *p)
{
        return p->id;
}

/* See the header. */
pid_t process_pid(const struct process *p)
{
        return p->pid;
}

/* See the header. */
bool process_has_ended(const struct process *p)
{
        return p->has_ended;
}

/* See the header. */
const struct process_result *process_result(const struct process *p)
{
        return &p->result;
}

/* See the header. */
struct output *process_stdout(struct process *p)
{
        return p->streams[0].output;
}

/* See the header. */
struct output *process_stderr(struct process *p)
{
        return p->streams[1].output;
}

/* See the header. */
struct rich *process_rich(struct process *p)
{
        return p->rich;
}

/* See the header. */
void process_detach(struct process *p)
{
        p->on_end = NULL;
        p->on_output = NULL;
        p->on_input_drained = NULL;
        process_pause_output(p, false);
}

/* See the header. */
const char *process_reason_name(enum end_reason reason)
{
        return reason_names[reason];
}
