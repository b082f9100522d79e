/* SPDX-License-Identifier: Apache-2.0 */

/* What a link says to its keeper. Commands go out at once, in front of all input; what does not fit into the socket
 * waits here, and so does input that the keeper has no room for yet. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/base/limits.h"
#include "proc/job_link_private.h"

/* The program will read no more. */
void job_link_lose_reader(struct job_link *l)
{
        bool was_waiting = l->is_waiting;

        l->is_input_closed = true;
        l->is_waiting = l->is_ending = false;
        l->n_sent = 0;
        buf_done(&l->input);
        if (was_waiting && l->callbacks.on_input_drained)
                l->callbacks.on_input_drained(l, l->arg);
}

/* See job_link_private.h. */
int job_link_send(const struct job_link *l, const struct keeper_command *c, const void *data,
                  size_t size)
{
        struct iovec parts[2] = { { (void *)c, sizeof(*c) }, { (void *)data, size } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = size ? 2 : 1 };

        if (sendmsg(l->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                return 0;
        return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
}

static size_t n_queued(const struct job_link *l)
{
        return l->input.size - l->n_sent;
}

/* What the keeper has room for. */
static size_t credit(const struct job_link *l)
{
        uint64_t underway = l->sent_total - l->received_done;

        return l->has_credit && underway < KEEPER_INPUT_WINDOW ? KEEPER_INPUT_WINDOW - underway : 0;
}

static bool flush_commands(struct job_link *l)
{
        size_t done = 0;
        int r = 0;

        while (done < l->commands.size && r == 0) {
                struct keeper_command c;

                memcpy(&c, l->commands.data + done, sizeof(c));
                r = job_link_send(l, &c, NULL, 0);
                if (r != -EAGAIN)
                        done += sizeof(c);
        }
        if (done == l->commands.size) {
                buf_done(&l->commands);
        } else if (done > 0) {
                memmove(l->commands.data, l->commands.data + done, l->commands.size - done);
                l->commands.size -= done;
        }
        return r == 0;
}

static size_t piece_size(const struct job_link *l)
{
        size_t size = MIN(n_queued(l), credit(l));

        return MIN(size, (size_t)KEEPER_DATA_MAX);
}

static bool flush_input(struct job_link *l)
{
        static const struct keeper_command input = { .type = KEEPER_INPUT };
        static const struct keeper_command end = { .type = KEEPER_EOF };

        while (n_queued(l) > 0) {
                size_t size = piece_size(l);

                if (size == 0)
                        return true; /* a report will bring more credit */
                if (job_link_send(l, &input, l->input.data + l->n_sent, size) < 0)
                        return false;
                l->n_sent += size;
                l->sent_total += size;
        }
        l->n_sent = 0;
        buf_done(&l->input);
        if (l->is_ending && (!l->has_terminal || credit(l) > 0)) {
                if (job_link_send(l, &end, NULL, 0) < 0)
                        return false;
                l->is_ending = false;
                l->sent_total += l->has_terminal; /* its character */
                l->is_input_closed = !l->has_terminal;
        }
        return true;
}

/* Sends what can be sent, and waits for room for the rest. */
void job_link_flush(struct job_link *l)
{
        bool is_blocked;
        int events = UV_READABLE;

        if (l->fd < 0)
                return;
        is_blocked = !flush_commands(l) || !flush_input(l);
        if (is_blocked)
                events |= UV_WRITABLE;
        (void)uv_poll_start(&l->poll, events, job_link_on_ready);
}

/* Behind flush, where callbacks are allowed. */
void job_link_say_drained(struct job_link *l)
{
        if (!l->is_waiting || n_queued(l) > 0 || l->is_ending)
                return;
        l->is_waiting = false;
        if (l->callbacks.on_input_drained)
                l->callbacks.on_input_drained(l, l->arg);
}

/* -ENOBUFS: see JOB_LINK_COMMANDS. */
static int command(struct job_link *l, const struct keeper_command *c)
{
        int r = buf_append(&l->commands, c, sizeof(*c));

        /* What is to be killed needs nothing of what waits. */
        if (r < 0 && c->type == KEEPER_KILL) {
                l->commands.size = 0;
                r = buf_append(&l->commands, c, sizeof(*c));
        }
        job_link_flush(l);
        return r < 0 ? -ENOBUFS : 0;
}

/* See the header. */
void job_link_kill(struct job_link *l, enum keeper_reason reason, uint32_t grace_ms)
{
        (void)command(/* there is room for it */
                      l, &(struct keeper_command){ .type = KEEPER_KILL,
                                                   .value = grace_ms,
                                                   .reason = (uint32_t)reason });
}

/* See the header. */
int job_link_signal(struct job_link *l, int signum)
{
        if (signum < 1 || signum > SIGRTMAX)
                return -EINVAL;
        if (job_link_is_over(l))
                return -ESRCH;
        return command(l,
                       &(struct keeper_command){ .type = KEEPER_SEND, .value = (uint32_t)signum });
}

/* See the header. */
int job_link_resize(struct job_link *l, const struct pty_size *size)
{
        if (!l->has_terminal)
                return -ENOTTY;
        if (job_link_is_over(l))
                return -EPIPE;
        if (size->columns < 1 || size->columns > PTY_MAX_SIZE || size->rows < 1 ||
            size->rows > PTY_MAX_SIZE)
                return -EINVAL;
        return command(l, &(struct keeper_command){ .type = KEEPER_RESIZE,
                                                    .value = size->columns << 16 | size->rows });
}

/* See the header. */
int job_link_write(struct job_link *l, const void *data, size_t size)
{
        int r;

        if (l->is_input_closed || l->is_ending || job_link_is_over(l))
                return -EPIPE;
        if (size > LIMIT_INPUT_QUEUE - n_queued(l))
                return -ENOBUFS;
        /* Never moves more than has been sent since it did so before. */
        if (l->n_sent > 0 && l->n_sent >= n_queued(l)) {
                size_t left = n_queued(l);

                memmove(l->input.data, l->input.data + l->n_sent, left);
                l->input.size = left;
                l->n_sent = 0;
        }
        r = buf_append(&l->input, data, size);
        if (r < 0)
                return r;
        job_link_flush(l);
        l->is_waiting |= n_queued(l) > 0;
        return n_queued(l) > 0 ? JOB_LINK_E_QUEUED : 0;
}

/* See the header. */
int job_link_close_input(struct job_link *l)
{
        if (l->is_input_closed || l->is_ending || job_link_is_over(l))
                return -EPIPE;
        l->is_ending = true;
        job_link_flush(l);
        l->is_waiting |= l->is_ending;
        return l->is_ending ? JOB_LINK_E_QUEUED : 0;
}
