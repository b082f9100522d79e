/* SPDX-License-Identifier: Apache-2.0 */

/* Who talks to the keeper. A report tells the whole state, so nothing is queued for anybody: a connection has at most
 * one report coming, and a slow reader gets fewer of them. */

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "proc/keeper_private.h"

static char message[sizeof(struct keeper_command) + KEEPER_DATA_MAX] __attribute__((aligned(8)));

static void hang_up(struct connection *c)
{
        *c = (struct connection){ .fd = keeper_close(c->fd) };
}

/* Takes @fd. */
void keeper_connect(struct keeper *k, int fd, bool is_subscribed)
{
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++) {
                struct connection *c = &k->connections[i];

                if (c->fd >= 0)
                        continue;
                *c = (struct connection){ .fd = fd, .is_subscribed = is_subscribed };
                return;
        }
        (void)keeper_close(fd);
}

/* The directory lets in nobody but our own user, but let us be sure. */
static bool is_welcome(int fd)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        if (kernel(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return false;
        return peer.uid == 0 || peer.uid == (uid_t)kernel(SYS_geteuid);
}

/* Somebody has come. */
void keeper_listen_ready(struct keeper *k)
{
        long fd = kernel(SYS_accept4, k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        /* Out of descriptors, say: whoever has come waits, and poll would say so all the time. */
        if (fd < 0 && fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
                k->listen_us = keeper_now_us() + KEEPER_PAUSE_US;
        if (fd < 0)
                return;
        if (is_welcome((int)fd))
                keeper_connect(k, (int)fd, false);
        else
                (void)keeper_close((int)fd);
}

static void resize(const struct keeper *k, uint32_t value)
{
        struct winsize size = { .ws_col = (unsigned short)(value >> 16),
                                .ws_row = (unsigned short)value };

        if (k->config.flags & KEEPER_HAS_TERMINAL && k->input.fd >= 0)
                (void)kernel(SYS_ioctl, k->input.fd, TIOCSWINSZ, &size);
}

/* False: it does not know the protocol. */
static bool obey(struct keeper *k, struct connection *c, size_t size)
{
        const struct keeper_command *command = (const struct keeper_command *)message;

        if (size < sizeof(*command))
                return false;
        switch ((enum keeper_command_type)command->type) {
        case KEEPER_SUBSCRIBE:
                c->is_subscribed = c->is_urgent = true;
                return true;
        case KEEPER_KILL:
                keeper_kill(k, command->reason == KEEPER_TIMEOUT ? KEEPER_TIMEOUT : KEEPER_KILLED,
                            command->value);
                return true;
        case KEEPER_SEND:
                keeper_signal(k, (int)command->value);
                return true;
        case KEEPER_INPUT:
                return keeper_take_input(k, message + sizeof(*command), size - sizeof(*command));
        case KEEPER_EOF:
                keeper_end_input(k);
                return true;
        case KEEPER_RESIZE:
                resize(k, command->value);
                return true;
        default:
                return false;
        }
}

/* Something on a connection. One message per turn. */
void keeper_connection_ready(struct keeper *k, struct connection *c, short revents)
{
        long n;

        if (revents & POLLOUT)
                c->is_blocked = false;
        if (!(revents & (POLLIN | POLLHUP | POLLERR)) || c->fd < 0)
                return;
        n = kernel(SYS_recvfrom, c->fd, message, sizeof(message), MSG_TRUNC | MSG_DONTWAIT, NULL,
                   NULL);
        if (n == -EAGAIN || n == -EINTR)
                return;
        if (n <= 0 || n > (long)sizeof(message) || !obey(k, c, (size_t)n))
                hang_up(c);
}

/* See the header. */
void keeper_tell(struct keeper *k)
{
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++)
                k->connections[i].is_urgent |= k->connections[i].is_subscribed;
}

/* See the header. */
void keeper_tell_growth(struct keeper *k)
{
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++)
                k->connections[i].has_grown |= k->connections[i].is_subscribed;
}

static long send_report(const struct keeper *k, const struct connection *c)
{
        struct keeper_report report = {
                .version = KEEPER_VERSION,
                .leader = k->leader,
                .input_received = k->input.received,
                .input_done = k->input.done,
        };
        struct iovec parts[2] = { { &report, sizeof(report) },
                                  { (void *)k->status, k->status_size } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = 1 };

        for (unsigned i = 0; i < 2; i++) {
                report.totals[i] = k->streams[i].log.mark.total;
                report.dropped[i] = k->streams[i].log.mark.dropped;
        }
        if (k->has_started)
                report.flags |= KEEPER_STARTED;
        if (k->input.fd < 0 || k->input.is_ending || k->has_ended)
                report.flags |= KEEPER_INPUT_CLOSED;
        if (k->has_ended) {
                report.flags |= KEEPER_ENDED;
                report.status_size = (uint32_t)k->status_size;
                m.msg_iovlen = 2;
                if (k->has_children)
                        report.flags |= KEEPER_LINGERS;
        }
        return kernel(SYS_sendmsg, c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The end is told once it is in its file: who hears of it may look there. */
static bool is_due(const struct keeper *k, const struct connection *c, uint64_t now)
{
        if (c->fd < 0 || c->is_blocked || (k->has_ended && !k->is_saved && k->save_us == 0))
                return false;
        return c->is_urgent || (c->has_grown && now >= c->next_us);
}

/* See the header. */
void keeper_send_reports(struct keeper *k, uint64_t now)
{
        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++) {
                struct connection *c = &k->connections[i];
                long r;

                if (!is_due(k, c, now))
                        continue;
                r = send_report(k, c);
                if (r == -EAGAIN || r == -ENOBUFS || r == -EINTR) {
                        c->is_blocked = true;
                } else if (r < 0) {
                        hang_up(c);
                } else {
                        c->is_urgent = c->has_grown = false;
                        c->next_us = now + KEEPER_REPORT_MS * 1000;
                }
        }
}

/* See the header. */
uint64_t keeper_next_report(const struct keeper *k)
{
        uint64_t next = KEEPER_NEVER;

        for (unsigned i = 0; i < KEEPER_CONNECTIONS; i++) {
                const struct connection *c = &k->connections[i];

                if (c->fd >= 0 && !c->is_blocked && c->is_urgent)
                        return 0;
                if (c->fd >= 0 && !c->is_blocked && c->has_grown)
                        next = MIN(next, c->next_us);
        }
        return next;
}
