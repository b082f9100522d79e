/* SPDX-License-Identifier: Apache-2.0 */

/* What a program reads: a pipe to its stdin, or the keys of its terminal. Written at once when it fits; what does
 * not is queued, and only then the descriptor is watched.
 *
 * A terminal stays open to the end even if nobody has it open on the other side: a program may do so again
 * (/dev/tty), and closing the last descriptor of a master hangs up on its session. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "proc/process_private.h"

/* Makes the pipe; the input gets the write end, the caller the other. */
int process_input_open(struct process_input *in, int *ret_read_fd)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        in->fd = fds[1];
        *ret_read_fd = fds[0];
        return 0;
}

/* Makes the handle, and with it the descriptor non-blocking. */
int process_input_start(struct process *p)
{
        int r = uv_poll_init(&p->supervisor->loop->uv, &p->input.poll, p->input.fd);

        if (r == 0)
                gate_expect(&p->gate, OWED_INPUT);
        return r;
}

static void on_input_closed(uv_handle_t *h)
{
        struct process *p = container_of((uv_poll_t *)h, struct process, input.poll);

        gate_done(&p->gate, OWED_INPUT);
}

static void drop_queue(struct process_input *in)
{
        buf_done(&in->queue);
        in->n_written = 0;
}

/* See process_private.h. */
void process_input_close(struct process *p)
{
        struct process_input *in = &p->input;

        drop_queue(in);
        if (in->fd < 0)
                return;
        (void)uv_poll_stop(&in->poll);
        uv_close((uv_handle_t *)&in->poll, on_input_closed);
        in->fd = fd_close(in->fd);
}

/* Nobody reads any more. */
static void lose_reader(struct process *p)
{
        if (!p->is_terminal) {
                process_input_close(p);
                return;
        }
        (void)uv_poll_stop(&p->input.poll);
        drop_queue(&p->input);
}

static size_t n_queued(const struct process_input *in)
{
        return in->queue.size - in->n_written;
}

/* As much as fits now, but no more than a slice. Returns how much that was, or -EPIPE. */
static ssize_t write_some(int fd, const char *data, size_t size)
{
        size_t done = 0;

        size = MIN(size, LIMIT_READ_SLICE);
        while (done < size) {
                ssize_t n = write(fd, data + done, size - done);

                if (n > 0)
                        done += (size_t)n;
                else if (n < 0 && errno == EINTR)
                        continue;
                else if (n == 0 || errno == EAGAIN)
                        break;
                else
                        return -EPIPE; /* a terminal says EIO */
        }
        return (ssize_t)done;
}

static void on_writable(uv_poll_t *h, int status, int events)
{
        struct process *p = container_of(h, struct process, input.poll);
        struct process_input *in = &p->input;
        ssize_t n;

        (void)status; /* an error shows when we write */
        (void)events;
        n = write_some(in->fd, in->queue.data + in->n_written, n_queued(in));
        if (n < 0) {
                lose_reader(p);
        } else {
                in->n_written += (size_t)n;
                if (n_queued(in) > 0) {
                        if (!uv_is_active((uv_handle_t *)h)) /* libuv stops it with an error */
                                (void)uv_poll_start(h, UV_WRITABLE, on_writable);
                        return;
                }
                (void)uv_poll_stop(h);
                drop_queue(in);
                if (in->is_ending)
                        process_input_close(p);
        }
        if (p->on_input_drained)
                p->on_input_drained(p, p->arg);
}

static int enqueue(struct process *p, const char *data, size_t size)
{
        struct process_input *in = &p->input;
        int r;

        /* Never moves more than has been written since it did so before. */
        if (in->n_written > 0 && in->n_written >= n_queued(in)) {
                size_t left = n_queued(in);

                memmove(in->queue.data, in->queue.data + in->n_written, left);
                in->queue.size = left;
                in->n_written = 0;
        }
        r = buf_append(&in->queue, data, size);
        if (r < 0)
                return r;
        if (!uv_is_active((uv_handle_t *)&in->poll))
                r = uv_poll_start(&in->poll, UV_WRITABLE, on_writable);
        return r < 0 ? r : PROCESS_E_QUEUED;
}

/* See process.h. */
int process_write(struct process *p, const void *data, size_t size)
{
        struct process_input *in = &p->input;
        ssize_t n = 0;

        if (in->fd < 0 || in->is_ending)
                return -EPIPE;
        if (size > LIMIT_INPUT_QUEUE - n_queued(in))
                return -ENOBUFS;

        if (n_queued(in) == 0) {
                n = write_some(in->fd, data, size);
                if (n < 0) {
                        lose_reader(p);
                        return -EPIPE;
                }
        }
        if ((size_t)n == size)
                return n_queued(in) ? PROCESS_E_QUEUED : 0;
        return enqueue(p, (const char *)data + n, size - (size_t)n);
}

/* See process.h. */
int process_close_input(struct process *p)
{
        struct process_input *in = &p->input;
        char end;

        if (in->fd < 0 || in->is_ending)
                return -EPIPE;
        if (p->is_terminal) {
                end = pty_end_of_file(in->fd);
                return process_write(p, &end, 1);
        }
        if (n_queued(in) > 0) {
                in->is_ending = true;
                return PROCESS_E_QUEUED;
        }
        process_input_close(p);
        return 0;
}

/* See process.h. */
int process_resize(struct process *p, const struct pty_size *size)
{
        if (!p->is_terminal)
                return -ENOTTY;
        return p->input.fd < 0 ? -EPIPE : pty_resize(p->input.fd, size);
}
