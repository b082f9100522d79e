/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An execution whose output is handed over live, and what has come of it so far. */

#include <stdio.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "tests/lib/supervisor_fixture.h"

struct live {
        struct run run; /* first: also the callbacks' argument */
        struct fixture *f;
        struct process *process; /* borrowed; until the end */
        struct buf output;
        struct buf errors;
        unsigned n_pieces;
        unsigned n_drained;
        const char *awaited;

        /* In each on_output: */
        bool pauses;
        void (*on_piece)(struct live *l);
};

static inline void live_on_output_(struct process *p, enum process_channel from, const char *data,
                                   size_t size, void *arg)
{
        struct live *l = arg;

        assert_int_equal(l->run.n_ends, 0);
        assert_false(process_has_ended(p));
        assert_ptr_equal(p, l->process);
        assert_true(size > 0);
        assert_int_equal(buf_append(from == PROCESS_STDOUT ? &l->output : &l->errors, data, size),
                         0);
        l->n_pieces++;
        if (l->pauses)
                process_pause_output(p, true);
        if (l->on_piece)
                l->on_piece(l);
}

static inline void live_on_drained_(struct process *p, void *arg)
{
        struct live *l = arg;

        assert_false(process_has_ended(p));
        l->n_drained++;
}

static inline void live_start(struct fixture *f, struct live *l, struct process_options o)
{
        void (*on_piece)(struct live *) = l->on_piece;
        bool pauses = l->pauses;

        *l = (struct live){ .f = f, .on_piece = on_piece, .pauses = pauses };
        o.input_fd = -1;
        o.on_output = live_on_output_;
        if (!o.on_input_drained)
                o.on_input_drained = live_on_drained_;
        l->process = run_start(f, &l->run, o);
        assert_int_equal(l->n_pieces, 0);
}

/* Not before the end, unless the process was detached. */
static inline void live_done(struct live *l)
{
        run_done(&l->run);
        buf_done(&l->output);
        buf_done(&l->errors);
}

static inline void live_wait(struct live *l)
{
        run_wait(l->f, &l->run);
        assert_string_equal(l->run.output, "");
        assert_string_equal(l->run.errors, "");
}

static inline int live_is_dead_(void *arg)
{
        return run_count_survivors(&((struct live *)arg)->run) == 0;
}

/* Nothing of it is alive, or will be in a moment: a walk may see somebody off who takes a little longer to die. */
static inline bool live_wait_dead(struct live *l)
{
        if (l->f->options.use_cgroups)
                return live_is_dead_(l);
        return loop_run_until(l->f->loop, live_is_dead_, l, 2000);
}

static inline int live_is_there_(void *arg)
{
        struct live *l = arg;

        return l->output.data && strstr(l->output.data, l->awaited) != NULL;
}

/* Until @text has come since the last call. */
static inline void live_expect(struct live *l, const char *text)
{
        l->awaited = text;
        if (!loop_run_until(l->f->loop, live_is_there_, l, HANG_MS))
                fail_msg("no \"%s\" in \"%s\"", text, l->output.data ? l->output.data : "");
        buf_done(&l->output);
}

static inline void live_type(struct live *l, const char *text)
{
        assert_int_equal(process_write(l->process, text, strlen(text)), 0);
}

static inline int live_never_(void *arg)
{
        (void)arg;
        return 0;
}

/* For what the loop does not hear of. */
static inline bool live_poll_until(struct live *l, int (*is_true)(void *arg), void *arg)
{
        uint64_t end_ms = clock_now_ms() + HANG_MS;

        while (!is_true(arg)) {
                if (clock_now_ms() > end_ms)
                        return false;
                (void)uv_run(&l->f->loop->uv, UV_RUN_NOWAIT);
        }
        return true;
}

/* The letter of /proc: 'S' sleeps, 'T' is stopped. */
static inline char live_state_of(pid_t pid)
{
        char path[64];
        char c = '?';
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        file = fopen(path, "re");
        if (file) {
                if (fscanf(file, "%*d (%*[^)]) %c", &c) != 1)
                        c = '?';
                (void)fclose(file);
        }
        return c;
}

/* Gives what should not happen the time to happen. */
static inline void live_linger(struct live *l)
{
        (void)loop_run_until(l->f->loop, live_never_, NULL, 100);
}

/* A file that a script writes to; it does not exist yet. */
static inline char *live_new_path(void)
{
        char path[] = "/tmp/test-live-XXXXXX";
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        close(fd);
        unlink(path);
        return xstrdup(path);
}

static inline int live_path_exists_(void *arg)
{
        return access(arg, F_OK) == 0;
}

/* Until the script has made the file; then removes it. */
static inline void live_expect_path(struct live *l, char *path)
{
        if (!live_poll_until(l, live_path_exists_, path))
                fail_msg("no %s", path);
        unlink(path);
}
