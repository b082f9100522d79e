/* SPDX-License-Identifier: Apache-2.0 */

/* Output into the logs, input from a queue. Once the job has ended, output is read and dropped: who still writes must
 * neither block nor die of SIGPIPE. */

#include <asm/termbits.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc/keeper_private.h"

/* More than the kernel keeps of what was written to a terminal. */
#define TERMINAL_SIZE ((int)MIB)
#define CTRL_D        4

char keeper_buffer[KEEPER_READ_SIZE];
static char queue[KEEPER_INPUT_WINDOW] __attribute__((aligned(4096)));

static bool is_terminal(const struct keeper *k)
{
        return (k->config.flags & KEEPER_HAS_TERMINAL) != 0;
}

/* Reads once. 0: nothing now, or the end; then the stream is closed. EIO from a terminal: nobody has its other side
 * open, and everything was read. That is the end only when the leader is dead: it may open /dev/tty again. */
static long read_once(struct keeper *k, struct stream *s)
{
        long n = kernel(SYS_read, s->fd, keeper_buffer, sizeof(keeper_buffer));

        if (n == -EAGAIN || n == -EINTR)
                return 0;
        if (n == -EIO && is_terminal(k) && k->leader_lives) {
                s->pause_us = keeper_now_us() + KEEPER_PAUSE_US;
                return 0;
        }
        if (n <= 0) {
                s->fd = keeper_close(s->fd);
                return 0;
        }
        if (!k->has_ended && s->log_fd >= 0) {
                joblog_write(&s->log, keeper_buffer, (size_t)n);
                keeper_tell_growth(k);
        }
        return n;
}

/* What poll found something about. */
void keeper_read_stream(struct keeper *k, struct stream *s)
{
        if (s->fd >= 0)
                (void)read_once(k, s);
}

/* No more than what is there now: something that was left behind may write faster than we read. */
static void drain(struct keeper *k, struct stream *s)
{
        int left = 0;
        long n = 1;

        if (s->fd < 0)
                return;
        if (is_terminal(k))
                left = TERMINAL_SIZE;
        else
                (void)kernel(SYS_ioctl, s->fd, FIONREAD, &left);
        /* Once more than needed, to see the end. */
        for (; n > 0 && left >= 0 && s->fd >= 0; left -= (int)n)
                n = read_once(k, s);
}

/* Reads what was written until now. */
void keeper_drain(struct keeper *k)
{
        drain(k, &k->streams[0]);
        drain(k, &k->streams[1]);
        keeper_drain_rich(k);
}

/* Whether somebody may still write. */
bool keeper_has_streams(const struct keeper *k)
{
        return k->streams[0].fd >= 0 || k->streams[1].fd >= 0;
}

static void drop_queue(struct keeper *k)
{
        k->input.done += k->input.size;
        k->input.size = k->input.head = 0;
        (void)kernel(SYS_madvise, queue, sizeof(queue), MADV_DONTNEED);
}

/* Nobody reads, or nobody writes, any more. */
void keeper_close_input(struct keeper *k)
{
        drop_queue(k);
        if (k->input.fd >= 0)
                k->input.fd = keeper_close(k->input.fd);
        keeper_tell(k);
}

/* A terminal stays open to the end: closing its last descriptor hangs up on its session. */
static void lose_reader(struct keeper *k)
{
        if (!is_terminal(k)) {
                keeper_close_input(k);
                return;
        }
        drop_queue(k);
        keeper_tell(k);
}

static void close_if_done(struct keeper *k)
{
        if (k->input.size == 0 && k->input.is_ending && k->input.fd >= 0)
                keeper_close_input(k);
}

/* Writes what fits now. Called with an empty queue only when poll has found that nobody reads the pipe. */
void keeper_write_input(struct keeper *k)
{
        struct input *in = &k->input;
        uint64_t before = in->done;
        bool had_much = in->size > KEEPER_INPUT_WINDOW / 2;

        if (in->fd < 0)
                return;
        if (in->size == 0) {
                lose_reader(k);
                return;
        }
        while (in->size > 0) {
                uint32_t wanted = MIN(in->size, (uint32_t)sizeof(queue) - in->head);
                long n = kernel(SYS_write, in->fd, queue + in->head, wanted);

                if (n == -EINTR)
                        continue;
                if (n == -EAGAIN)
                        break;
                if (n <= 0) {
                        lose_reader(k);
                        return;
                }
                in->head = (in->head + (uint32_t)n) % (uint32_t)sizeof(queue);
                in->size -= (uint32_t)n;
                in->done += (uint64_t)n;
        }
        if (in->size == 0)
                drop_queue(k);
        /* Who waits for room wants to hear of it when it is worth it, and when all is written. */
        if (in->done != before &&
            (in->size == 0 || (had_much && in->size <= KEEPER_INPUT_WINDOW / 2)))
                keeper_tell(k);
        close_if_done(k);
}

/* See keeper_private.h. */
bool keeper_take_input(struct keeper *k, const char *data, size_t size)
{
        struct input *in = &k->input;
        size_t done = 0;

        if (size > sizeof(queue) - in->size)
                return false;
        in->received += size;
        if (in->fd < 0 || in->is_ending || k->has_ended) {
                in->done += size;
                keeper_tell(k);
                return true;
        }
        while (done < size) {
                size_t at = (in->head + in->size) % sizeof(queue);
                size_t n = MIN(size - done, sizeof(queue) - at);

                __builtin_memcpy(queue + at, data + done, n);
                in->size += (uint32_t)n;
                done += n;
        }
        if (size > 0)
                keeper_write_input(k);
        return true;
}

/* Behind what is queued. For a terminal: its end-of-file character. */
void keeper_end_input(struct keeper *k)
{
        struct termios line;
        char end = CTRL_D;

        if (k->input.fd < 0 || k->input.is_ending)
                return;
        if (!is_terminal(k)) {
                k->input.is_ending = true;
                close_if_done(k);
                return;
        }
        if (kernel(SYS_ioctl, k->input.fd, TCGETS, &line) == 0 && line.c_cc[VEOF] != 0)
                end = (char)line.c_cc[VEOF];
        /* When the queue is full it is lost, as a key would be. */
        (void)keeper_take_input(k, &end, 1);
}
