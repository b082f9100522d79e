/* SPDX-License-Identifier: Apache-2.0 */

/* The conversation with a keeper. A link is connected or it is trying to be: its timer drives the attempts, each of
 * which finds out one of three things. The keeper lives (it holds a lock on the directory): connect, or come again. It
 * is dead and has left a status file: that is the end. It is dead and has left nothing: it was killed, and a worker
 * thread ends what it kept.
 *
 * Callbacks may free the link. Its memory stays until its handles are closed, in a later turn of the loop, so what
 * calls out only has to look at is_freed before it goes on. */

#include "proc/job_link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/loop/job.h"
#include "agent/loop/loop.h"
#include "proc/cgroup.h"
#include "proc/job_link_private.h"

#define LOG_MODULE "job"
#include "agent/base/log.h"

#define MIN_DELAY_MS 2u
#define MAX_DELAY_MS 250u
/* Reports that are read in one turn of the loop. */
#define MAX_REPORTS 16
static void on_timer(uv_timer_t *t);

/* See job_link_private.h. */
bool job_link_is_over(const struct job_link *l)
{
        return l->state == JOB_ENDED || l->state == JOB_LOST;
}

static void on_gate_empty(struct gate *g)
{
        struct job_link *l = container_of(g, struct job_link, gate);

        buf_done(&l->commands);
        buf_done(&l->input);
        free(l->dir);
        free(l);
}

static void on_timer_closed(uv_handle_t *h)
{
        gate_done(&container_of((uv_timer_t *)h, struct job_link, timer)->gate, LINK_TIMER);
}

static void try_later(struct job_link *l)
{
        (void)uv_timer_start(&l->timer, on_timer, l->delay_ms, 0);
        l->delay_ms = MIN(l->delay_ms ? 2 * l->delay_ms : MIN_DELAY_MS, MAX_DELAY_MS);
}

static void on_poll_closed(uv_handle_t *h)
{
        struct job_link *l = container_of((uv_poll_t *)h, struct job_link, poll);

        if (l->wants_connection && !l->is_freed)
                try_later(l);
        gate_done(&l->gate, LINK_POLL);
}

/* See job_link_private.h. */
void job_link_retry(struct job_link *l)
{
        l->wants_connection = true;
        if (!gate_is_pending(&l->gate, LINK_POLL))
                try_later(l);
}

static void disconnect(struct job_link *l)
{
        if (l->fd < 0)
                return;
        (void)uv_poll_stop(&l->poll);
        uv_close((uv_handle_t *)&l->poll, on_poll_closed);
        l->fd = fd_close(l->fd);
}

/* See the header. */
struct job_link *job_link_free(struct job_link *l)
{
        if (!l || l->is_freed)
                return NULL;
        l->is_freed = true;
        l->callbacks = (struct job_callbacks){ 0 };
        disconnect(l);
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
        return NULL;
}

/* See job_link_private.h. */
int job_link_new(const struct job_host *h, const char *dir, const char *id,
                 const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                 struct error *err)
{
        struct job_link *l;

        if (strlen(id) >= sizeof(l->id) || strchr(id, '/') || !*id || *id == '.')
                return error_set(err, -EINVAL, "job id");
        l = xnew(struct job_link);
        l->host = h;
        l->callbacks = *callbacks;
        l->arg = arg;
        l->dir = xstrdup(dir);
        memcpy(l->id, id, strlen(id));
        l->fd = -1;
        buf_init(&l->commands, JOB_LINK_COMMANDS);
        buf_init(&l->input, 0);
        gate_init(&l->gate, on_gate_empty);
        gate_expect(&l->gate, LINK_TIMER);
        (void)uv_timer_init(&h->loop->uv, &l->timer);
        *ret = l;
        return 0;
}

static void finish(struct job_link *l, enum job_state state, const struct job_status *status)
{
        l->state = state;
        l->status = *status;
        memcpy(l->totals, status->totals, sizeof(l->totals));
        l->is_waiting = false;
        job_link_lose_reader(l);
        log_debug("job ended", "id=%s reason=%s code=%d", l->id, job_reason_name(status->reason),
                  status->exit_code);
        if (l->callbacks.on_end)
                l->callbacks.on_end(l, &l->status, l->arg);
}

/* The keeper is gone, too; the last callback. */
static void say_gone(struct job_link *l)
{
        if (!l->is_freed && l->callbacks.on_gone)
                l->callbacks.on_gone(l, l->arg);
}

static void on_lost(void *arg)
{
        CLEANUP(mem_free) struct lost_job *job = arg;
        struct job_link *l = job->link;

        if (!l->is_freed && job->result < 0) {
                try_later(l);
        } else if (!l->is_freed) {
                finish(l, JOB_LOST, &job->status);
                say_gone(l);
        }
        free(job->dir);
        gate_done(&l->gate, LINK_LOST);
}

/* Nobody knows how it ended. */
static void clear_up(struct job_link *l)
{
        struct lost_job *job = xnew(struct lost_job);

        log_debug("keeper lost", "id=%s", l->id);
        job->link = l;
        job->dir = xstrdup(l->dir);
        memcpy(job->id, l->id, sizeof(job->id));
        gate_expect(&l->gate, LINK_LOST);
        if (job_run(l->host->loop, job, job_lost_run, on_lost) == 0)
                return;
        free(job->dir);
        free(job);
        try_later(l);
        gate_done(&l->gate, LINK_LOST);
}

static void take_input_report(struct job_link *l, const struct keeper_report *r)
{
        if (!l->has_credit)
                l->sent_total = r->input_received;
        l->has_credit = true;
        l->sent_total = MAX(l->sent_total, r->input_received);
        l->received_done = MIN(r->input_done, l->sent_total);
        if (r->flags & KEEPER_INPUT_CLOSED && !l->is_input_closed) {
                job_link_lose_reader(l);
                return;
        }
        job_link_flush(l);
        job_link_say_drained(l);
}

static void take_totals(struct job_link *l, const struct keeper_report *r)
{
        if (memcmp(l->totals, r->totals, sizeof(l->totals)) == 0)
                return;
        memcpy(l->totals, r->totals, sizeof(l->totals));
        if (l->callbacks.on_grown)
                l->callbacks.on_grown(l, l->totals, l->arg);
}

/* False: no more is to be read. */
static bool take_report(struct job_link *l, const struct keeper_report *r, char *text)
{
        struct job_status status;

        l->leader = r->leader;
        l->lingers = (r->flags & KEEPER_LINGERS) != 0;
        if (r->flags & KEEPER_STARTED && !l->is_started) {
                l->is_started = true;
                l->state = JOB_RUNNING;
                if (l->callbacks.on_started)
                        l->callbacks.on_started(l, l->leader, l->arg);
        }
        if (!l->is_freed)
                take_totals(l, r);
        if (!l->is_freed)
                take_input_report(l, r);
        if (l->is_freed || !(r->flags & KEEPER_ENDED) || job_link_is_over(l))
                return !l->is_freed;
        text[r->status_size] = '\0';
        if (job_status_parse(text, &status) < 0)
                return false;
        finish(l, JOB_ENDED, &status);
        return !l->is_freed;
}

static void on_hang_up(struct job_link *l)
{
        bool was_over = job_link_is_over(l);

        l->has_credit = false;
        l->wants_connection = !was_over;
        disconnect(l);
        if (was_over)
                say_gone(l);
}

/* One report. 1: taken. 0: nothing now, or freed. Negative: no more will come. */
static int receive(struct job_link *l)
{
        struct keeper_report report;
        char text[KEEPER_STATUS_MAX + 1];
        struct iovec parts[2] = { { &report, sizeof(report) }, { text, KEEPER_STATUS_MAX } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };
        ssize_t n = recvmsg(l->fd, &m, MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n < (ssize_t)sizeof(report) || report.version != KEEPER_VERSION ||
            (size_t)n != sizeof(report) + report.status_size)
                return -EPIPE;
        l->delay_ms = 0; /* it speaks our language: the next attempt need not wait */
        return take_report(l, &report, text);
}

/* The socket's poll handle. */
void job_link_on_ready(uv_poll_t *h, int status, int events)
{
        struct job_link *l = container_of(h, struct job_link, poll);
        int r = 1;

        (void)status; /* an error shows when we read */
        if (events & UV_WRITABLE) {
                job_link_flush(l);
                job_link_say_drained(l);
        }
        for (unsigned i = 0; i < MAX_REPORTS && r > 0 && !l->is_freed; i++)
                r = receive(l);
        if (r < 0 && !l->is_freed)
                on_hang_up(l);
}

/* See job_link_private.h. */
int job_link_listen(struct job_link *l, int fd)
{
        int r = uv_poll_init(&l->host->loop->uv, &l->poll, fd);

        if (r < 0) {
                (void)fd_close(fd);
                return r;
        }
        l->fd = fd;
        gate_expect(&l->gate, LINK_POLL);
        r = uv_poll_start(&l->poll, UV_READABLE, job_link_on_ready);
        if (r < 0)
                disconnect(l);
        return r;
}

static int dial(int dir_fd)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        CLEANUP(fd_close)
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        /* However long the path of the directory is. */
        (void)snprintf(address.sun_path, sizeof(address.sun_path),
                       "/proc/self/fd/%d/" KEEPER_CONTROL, dir_fd);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        return STEAL_FD(fd);
}

static bool connect_keeper(struct job_link *l, int dir_fd)
{
        static const struct keeper_command subscribe = { .type = KEEPER_SUBSCRIBE };
        CLEANUP(mem_free) struct job_identity *who = xnew(struct job_identity);
        int fd = dial(dir_fd);

        if (fd < 0)
                return false;
        if (job_identity_read(dir_fd, who) == 0) {
                const struct process_limits had = { .max_memory = who->limits.max_memory,
                                                    .max_tasks = who->limits.max_tasks };
                struct process_limits_plan plan;

                job_link_plan_limits(l->host, &had, cgroup_controllers(l->host->cgroup), &plan);
                l->keeper = who->pid;
                l->leader = who->leader;
                l->has_terminal = who->has_terminal;
                if (l->host->cgroup && who->leaf[0] &&
                    (plan.leaf.max_memory || plan.leaf.max_tasks))
                        cgroup_limit_job(l->host->cgroup, who->leaf, &plan.leaf);
        }
        if (job_link_listen(l, fd) < 0)
                return false;
        l->wants_connection = false;
        if (job_link_send(l, &subscribe, NULL, 0) < 0) {
                on_hang_up(l);
                return true;
        }
        job_link_flush(l);
        return true;
}

/* The next attempt: see the top of the file. */
static void on_timer(uv_timer_t *t)
{
        struct job_link *l = container_of(t, struct job_link, timer);
        CLEANUP(fd_close) int dir_fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct job_status status;
        int r = dir_fd < 0 ? -errno : job_is_kept(dir_fd);

        /* First the lock, then the file: who has let go of the lock has written the file before. */
        if (r == 1) {
                if (!connect_keeper(l, dir_fd) && l->fd < 0)
                        try_later(l);
                return;
        }
        if (r == 0)
                r = job_status_read(dir_fd, &status);
        if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EBADMSG) { /* out of descriptors, say */
                try_later(l);
                return;
        }
        l->wants_connection = false;
        if (r == 0) {
                finish(l, status.reason == KEEPER_LOST ? JOB_LOST : JOB_ENDED, &status);
                say_gone(l);
                return;
        }
        clear_up(l);
}

/* See the header. */
int job_link_connect(const struct job_host *h, const char *dir, const char *id,
                     const struct job_callbacks *callbacks, void *arg, struct job_link **ret,
                     struct error *err)
{
        struct job_link *l;
        int r = job_link_new(h, dir, id, callbacks, arg, &l, err);

        if (r < 0)
                return r;
        job_link_retry(l); /* in the loop's next turn */
        *ret = l;
        return 0;
}
