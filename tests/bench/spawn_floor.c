/* SPDX-License-Identifier: Apache-2.0 */

/* The least that running a program and reading its output can cost with the library the agent
 * uses: a bare uv_spawn with stdout and stderr as pipes, finished when the program has exited and
 * both pipes have ended. One run after the other; the durations' percentiles are printed as JSON.
 * What is read is kept in memory, because the agent has to keep it too. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/bench/samples.h"

struct output {
        uv_pipe_t pipe;
        char *data;
        size_t size;
        size_t capacity;
};

struct run {
        uv_process_t process;
        struct output out;
        struct output err;
        int64_t status;
        int signal;
};

static void fail(const char *what, int r)
{
        fprintf(stderr, "%s: %s\n", what, uv_strerror(r));
        exit(1);
}

/* Reads land where they stay: the buffer grows by doubling and is handed to libuv at its end. */
static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
        struct output *o = handle->data;

        if (o->capacity - o->size < suggested) {
                o->capacity = 2 * o->capacity + suggested;
                o->data = realloc(o->data, o->capacity);
                if (!o->data)
                        fail("realloc", UV_ENOMEM);
        }
        *ret = uv_buf_init(o->data + o->size, (unsigned)(o->capacity - o->size));
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
        struct output *o = stream->data;

        (void)buffer;
        if (n < 0) {
                if (n != UV_EOF)
                        fail("read", (int)n);
                uv_close((uv_handle_t *)stream, NULL);
                return;
        }
        o->size += (size_t)n;
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
        struct run *run = process->data;

        run->status = status;
        run->signal = signal;
        uv_close((uv_handle_t *)process, NULL);
}

static void output_open(uv_loop_t *loop, struct output *o, uv_stdio_container_t *stdio)
{
        int r = uv_pipe_init(loop, &o->pipe, 0);

        if (r < 0)
                fail("pipe", r);
        o->pipe.data = o;
        stdio->flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        stdio->data.stream = (uv_stream_t *)&o->pipe;
}

/* One run from before the spawn until all three handles are closed: then uv_run has nothing left
 * to do. */
static void run_once(uv_loop_t *loop, char **argv, struct run *run)
{
        uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE } };
        uv_process_options_t options = {
                .file = argv[0],
                .args = argv,
                .exit_cb = on_exit_status,
                .stdio = stdio,
                .stdio_count = 3,
        };
        int r;

        output_open(loop, &run->out, &stdio[1]);
        output_open(loop, &run->err, &stdio[2]);
        run->process.data = run;
        r = uv_spawn(loop, &run->process, &options);
        if (r < 0)
                fail(argv[0], r);
        (void)uv_read_start((uv_stream_t *)&run->out.pipe, on_buffer, on_output);
        (void)uv_read_start((uv_stream_t *)&run->err.pipe, on_buffer, on_output);
        uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
        uv_loop_t *loop = uv_default_loop();
        struct samples samples;
        size_t stdout_size = 0;
        uint64_t deadline;
        size_t count;

        if (argc < 4) {
                fprintf(stderr, "usage: spawn_floor COUNT MAX_SECONDS PROGRAM [ARG...]\n");
                return 2;
        }
        count = strtoul(argv[1], NULL, 10);
        if (count == 0) {
                fprintf(stderr, "COUNT must be at least 1\n");
                return 2;
        }
        deadline = now_ns() + strtoul(argv[2], NULL, 10) * 1000000000U;
        samples_init(&samples, count);

        while (samples.n < count) {
                struct run run = { 0 };
                uint64_t start = now_ns();

                if (start > deadline) {
                        fprintf(stderr, "only %zu of %zu runs in time\n", samples.n, count);
                        return 1;
                }
                run_once(loop, argv + 3, &run);
                samples_add(&samples, now_ns() - start);
                if (run.status != 0 || run.signal != 0) {
                        fprintf(stderr, "%s: exit status %d, signal %d\n%.*s", argv[3],
                                (int)run.status, run.signal, (int)run.err.size, run.err.data);
                        return 1;
                }
                stdout_size = run.out.size;
                free(run.out.data);
                free(run.err.data);
        }

        printf("{\"count\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"stdout_bytes\": %zu}\n",
               samples.n, samples_percentile_us(&samples, 50), samples_percentile_us(&samples, 99),
               stdout_size);
        samples_done(&samples);
        return 0;
}
