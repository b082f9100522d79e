/* SPDX-License-Identifier: Apache-2.0 */

/* The read end of one output pipe, or of a terminal. A poll handle instead of a libuv stream, because the end of
 * an execution has to read what is in the pipe at that very moment, outside of the loop's own turn.
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
/* More than the kernel keeps of what was written to a terminal. */
#define TERMINAL_SIZE ((int)MIB)
/* A read from a terminal that is worth another. */
#define BURST_SIZE 1024

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

/* Reads once. A terminal gives 4 KiB at most, and in a flood a few hundred bytes at a time: its reads are put
 * together as long as they are long ones. A short one is an echo, or the end of a burst, and handed over at once.
 * 0: the end; -EAGAIN: nothing now. */
static ssize_t read_some(const struct process_stream *s, char *buffer)
{
        size_t size = 0;
        ssize_t n;

        do {
                n = read(s->fd, buffer + size, READ_SIZE - size);
                if (n > 0)
                        size += (size_t)n;
        } while ((n < 0 && errno == EINTR) ||
                 (n >= BURST_SIZE && s->process->is_terminal && size < READ_SIZE));
        if (size > 0)
                return (ssize_t)size; /* what went wrong after that does so again */
        return n < 0 ? -errno : 0;
}

static void hand_over(struct process_stream *s, const char *data, size_t size)
{
        struct process *p = s->process;

        if (p->has_ended)
                return;
        if (s == &p->streams[STREAM_RICH])
                rich_append(p->rich, data, size);
        else if (!p->is_live)
                output_append(s->output, data, size);
        else if (p->on_output)
                p->on_output(p, s == &p->streams[0] ? PROCESS_STDOUT : PROCESS_STDERR, data, size,
                             p->arg);
}

/* Returns how much was read; 0 when there is nothing now, or nothing any more (then the stream is closed). The end
 * of a pipe is an empty read; of a terminal EIO, when the last descriptor of its other side has been closed and
 * everything was read. */
static ssize_t read_once(struct process_stream *s)
{
        char *buffer = s->process->supervisor->read_buffer;
        ssize_t n = read_some(s, buffer);

        if (n > 0) {
                hand_over(s, buffer, (size_t)n);
                return n;
        }
        if (n != -EAGAIN)
                process_stream_close(s);
        return 0;
}

/* What the program had written when it ended is in the pipe: no more than that is read here, as something it
 * left behind may write faster than we read. A terminal does not say how much it has. */
void process_stream_drain(struct process_stream *s)
{
        int in_pipe = 0;
        ssize_t left, n;

        if (s->fd < 0)
                return;
        if (s->process->is_terminal)
                in_pipe = TERMINAL_SIZE;
        else
                (void)ioctl(s->fd, FIONREAD, &in_pipe);
        left = in_pipe;
        do {
                n = read_once(s); /* once more than needed, to see the end */
                left -= n;
        } while (n > 0 && left >= 0);
}

/* What is displayed is kept for the end, within its limits, whether somebody takes the output or not. */
static bool is_wanted(const struct process_stream *s)
{
        return s->process->has_ended || !s->process->is_paused || s->owed == OWED_RICH;
}

static bool has_written_too_much(const struct process_stream *s)
{
        const struct process *p = s->process;

        if (s->owed == OWED_RICH)
                return p->max_rich_written && rich_total(p->rich) > p->max_rich_written;
        return p->max_written && output_total(s->output) > p->max_written;
}

static void on_readable(uv_poll_t *h, int status, int events)
{
        struct process_stream *s = container_of(h, struct process_stream, poll);
        struct process *p = s->process;
        /* What is displayed is not just copied, but looked at: that takes a millisecond for a whole slice. */
        ssize_t left = s->owed == OWED_RICH ? READ_SIZE : (ssize_t)LIMIT_READ_SLICE;
        ssize_t n;

        (void)status; /* an error shows when we read */
        (void)events;
        do {
                n = read_once(s);
                left -= n;
                /* A terminal makes its output while it is read, a buffer in milliseconds. */
        } while (n > 0 && left > 0 && is_wanted(s) && !p->is_terminal);

        if (!p->has_ended && has_written_too_much(s))
                process_kill_now(p, END_OUTPUT_LIMIT);
        process_advance(p);
}

/* See process_private.h. */
void process_stream_update(struct process_stream *s)
{
        if (s->fd < 0)
                return;
        if (!is_wanted(s))
                (void)uv_poll_stop(&s->poll);
        else if (!uv_is_active((uv_handle_t *)&s->poll))
                (void)uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

/* See process.h. */
void process_pause_output(struct process *p, bool pause)
{
        if (p->is_paused == pause)
                return;
        p->is_paused = pause;
        for (size_t i = 0; i < ARRAY_LEN(p->streams); i++)
                process_stream_update(&p->streams[i]);
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
