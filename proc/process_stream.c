/* SPDX-License-Identifier: Apache-2.0 */

/* The read end of one output pipe. A poll handle instead of a libuv stream, because the end of an execution has
 * to read what is in the pipe at that very moment, outside of the loop's own turn.
 *
 * One turn reads a slice, so that a flood does not starve the others. Once the execution has ended, whatever
 * still writes (a server started with '&') is read and dropped: it must neither block nor die of SIGPIPE. */

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "proc/process_private.h"

#define PIPE_SIZE (256 * KIB)

/* Makes the pipe; the stream gets the read end, the caller the other. */
int process_stream_open(struct process_stream *s, int *ret_write_fd)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        /* Fewer switches for talkative programs; refused when the user holds too many pages in pipes. */
        (void)fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE);
        s->fd = fds[0];
        *ret_write_fd = fds[1];
        return 0;
}

static void on_stream_closed(uv_handle_t *h)
{
        struct process_stream *s = container_of((uv_poll_t *)h, struct process_stream, poll);

        gate_done(&s->process->gate, s->owed);
}

/* Stops reading; harmless when it was closed before. */
void process_stream_close(struct process_stream *s)
{
        if (s->fd < 0)
                return;

        (void)uv_poll_stop(&s->poll);
        uv_close((uv_handle_t *)&s->poll, on_stream_closed);
        s->fd = fd_close(s->fd);
}

/* Returns how much was read; 0 when there is nothing now, or nothing any more (then the stream is closed). */
static ssize_t read_once(struct process_stream *s)
{
        struct process *p = s->process;
        char *buffer = p->supervisor->read_buffer;
        ssize_t n;

        do {
                n = read(s->fd, buffer, READ_SIZE);
        } while (n < 0 && errno == EINTR);

        if (n > 0) {
                if (!p->has_ended)
                        output_append(s->output, buffer, (size_t)n);
                return n;
        }
        if (n == 0 || errno != EAGAIN)
                process_stream_close(s);
        return 0;
}

/* What the program had written when it ended is in the pipe: no more than that is read here, as something it
 * left behind may write faster than we read. */
void process_stream_drain(struct process_stream *s)
{
        int in_pipe = 0;
        ssize_t left, n;

        if (s->fd < 0)
                return;
        (void)ioctl(s->fd, FIONREAD, &in_pipe);
        left = in_pipe;
        do {
                n = read_once(s); /* once more than needed, to see the end */
                left -= n;
        } while (n > 0 && left >= 0);
}

static void on_readable(uv_poll_t *h, int status, int events)
{
        struct process_stream *s = container_of(h, struct process_stream, poll);
        struct process *p = s->process;
        ssize_t left = (ssize_t)LIMIT_READ_SLICE;
        ssize_t n;

        (void)status; /* an error shows when we read */
        (void)events;
        do {
                n = read_once(s);
                left -= n;
        } while (n > 0 && left > 0);

        if (!p->has_ended && p->max_written && output_total(s->output) > p->max_written)
                process_kill_now(p, END_OUTPUT_LIMIT);
        process_advance(p);
}

/* Begins to read what @p writes. On failure the stream is closed. */
int process_stream_start(struct process_stream *s, struct process *p, unsigned owed)
{
        int r;

        s->process = p;
        s->owed = owed;
        r = uv_poll_init(&p->supervisor->loop->uv, &s->poll, s->fd);
        if (r < 0) {
                s->fd = fd_close(s->fd);
                return r;
        }
        gate_expect(&p->gate, owed);
        r = uv_poll_start(&s->poll, UV_READABLE, on_readable);
        if (r < 0)
                process_stream_close(s);
        return r;
}
