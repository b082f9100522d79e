/* SPDX-License-Identifier: Apache-2.0 */

/* Live output through pipes, back-pressure, and signals. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>

#include "tests/lib/live_fixture.h"

/* Bytes in a pipe that we read, at most. */
#define PIPE_SIZE (256 * KIB)

/* One stream at a time, as the script is told to go on when a piece has come. */
static void test_order(void **state)
{
        struct live l = { 0 };

        live_start(*state, &l,
                   (struct process_options){ .argv = SCRIPT("echo 1; read x; echo 2 >&2; read x; "
                                                            "echo 3; read x; echo 4 >&2"),
                                             .has_input = true });
        live_expect(&l, "1\n");
        assert_int_equal(l.errors.size, 0);
        live_type(&l, "go\ngo\n");
        live_expect(&l, "3\n");
        assert_string_equal(l.errors.data, "2\n");
        live_type(&l, "go\n");
        live_wait(&l);
        assert_int_equal(l.output.size, 0);
        assert_string_equal(l.errors.data, "2\n4\n");
        assert_int_equal(l.run.result.exit_code, 0);
        live_done(&l);
}

static void test_merged(void **state)
{
        struct live l = { 0 };

        live_start(*state, &l,
                   (struct process_options){ .argv = SCRIPT("echo 1; echo 2 >&2; echo 3"),
                                             .merge_stderr = true });
        live_wait(&l);
        assert_string_equal(l.output.data, "1\n2\n3\n");
        assert_int_equal(l.errors.size, 0);
        live_done(&l);
}

/* Neither max_output nor what follows from it. */
static void test_no_output_limit(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        f->options.max_output = 1000;
        f->options.max_discard = 1000;
        f->options.max_output_total = 1000;
        supervisor_set_limits(f->supervisor, &f->options);
        live_start(f, &l, (struct process_options){ .argv = SCRIPT("head -c 3000000 /dev/zero") });
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.output.size, 3000000);
        live_done(&l);
}

static long read_number(const char *path)
{
        FILE *file = fopen(path, "re");
        long n = -1;

        if (file) {
                if (fscanf(file, "%ld", &n) != 1)
                        n = -1;
                (void)fclose(file);
        }
        return n;
}

struct producer {
        struct live *live;
        const char *path;
        long n_blocks; /* when it last slept */
};

/* It writes to a pipe and to a file, and only the pipe makes it sleep. */
static int is_blocked(void *arg)
{
        struct producer *p = arg;
        long before = read_number(p->path);
        bool sleeps = live_state_of(process_pid(p->live->process)) == 'S';

        p->n_blocks = read_number(p->path);
        return sleeps && before > 0 && before == p->n_blocks;
}

/* Pausing from inside on_output holds at once; the program gets no further than the pipe; nothing is lost. */
static void test_pause(void **state)
{
        enum { BLOCK = 4096, N_BLOCKS = 1000 };
        struct fixture *f = *state;
        CLEANUP(mem_free) char *path = live_new_path();
        CLEANUP(mem_free)
        char *script = xasprintf("for ((i = 1; i <= %d; i++)); do printf %%0%dd $i; echo $i > %s; "
                                 "done",
                                 N_BLOCKS, BLOCK, path);
        struct live l = { .pauses = true };
        struct producer producer = { .live = &l, .path = path };
        size_t received;

        live_start(f, &l, (struct process_options){ .argv = SCRIPT(script) });
        assert_true(live_poll_until(&l, is_blocked, &producer));
        received = l.output.size;
        assert_int_equal(l.n_pieces, 1);
        assert_in_range(received, 1, 64 * KIB); /* one read */
        assert_in_range(producer.n_blocks * BLOCK, received, received + PIPE_SIZE + BLOCK);
        live_linger(&l);
        assert_int_equal(l.output.size, received);
        assert_int_equal(read_number(path), producer.n_blocks);

        while (l.run.n_ends == 0) { /* one piece at a time */
                unsigned before = l.n_pieces;

                process_pause_output(l.process, false);
                while (l.n_pieces == before && l.run.n_ends == 0)
                        (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        }
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.output.size, (size_t)BLOCK * N_BLOCKS);
        for (long i = 0; i < N_BLOCKS; i++) {
                char block[BLOCK + 1];

                (void)snprintf(block, sizeof(block), "%0*ld", BLOCK, i + 1);
                assert_memory_equal(l.output.data + i * BLOCK, block, BLOCK);
        }
        unlink(path);
        live_done(&l);
}

static int is_asleep(void *arg)
{
        return live_state_of(process_pid(arg)) == 'S';
}

/* With much more to be had at once: the pause comes before the next read. */
static void test_pause_in_slice(void **state)
{
        enum { SIZE = 200000 };
        struct fixture *f = *state;
        struct live l = { .pauses = true };

        live_start(f, &l,
                   (struct process_options){ .argv = SCRIPT("printf %0200000d 7; read x"),
                                             .has_input = true });
        process_pause_output(l.process, true);
        assert_true(live_poll_until(&l, is_asleep, l.process));
        process_pause_output(l.process, false);
        live_linger(&l);
        assert_int_equal(l.n_pieces, 1);
        assert_in_range(l.output.size, 1, SIZE / 2);
        live_type(&l, "go\n");
        live_wait(&l);
        assert_int_equal(l.output.size, SIZE);
        live_done(&l);
}

/* The end does not wait for somebody to resume, and brings the rest. */
static void test_exit_while_paused(void **state)
{
        struct live l = { 0 };

        live_start(*state, &l,
                   (struct process_options){
                           .argv = SCRIPT("printf %050000d 7; printf %050000d 8 >&2; exit 3") });
        process_pause_output(l.process, true);
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.run.result.exit_code, 3);
        assert_int_equal(l.output.size, 50000);
        assert_int_equal(l.output.data[49999], '7');
        assert_int_equal(l.errors.size, 50000);
        assert_int_equal(l.errors.data[49999], '8');
        live_done(&l);
}

static void test_deadline_while_paused(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){ .argv = SCRIPT("yes & yes"), .timeout_ms = 300 });
        process_pause_output(l.process, true);
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_TIMEOUT);
        assert_in_range(l.run.result.duration_us, 300000, 2000000);
        /* A full pipe, and what was written while it was emptied. */
        assert_in_range(l.output.size, 64 * KIB, 2 * PIPE_SIZE);
        assert_true(fixture_wait_idle(f));
        live_done(&l);
}

/* What an execution leaves behind must not wait for somebody who reads no more. */
static void test_lingering_after_pause(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *path = live_new_path();
        CLEANUP(mem_free)
        char *script = xasprintf("(while [ ! -e %s.go ]; do sleep 0.01; done; "
                                 "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; "
                                 "rm %s.go; touch %s) & echo started",
                                 path, path, path);
        CLEANUP(mem_free) char *go = xasprintf("%s.go", path);
        struct live l = { 0 };
        FILE *file;

        live_start(f, &l, (struct process_options){ .argv = SCRIPT(script) });
        process_pause_output(l.process, true);
        live_wait(&l);
        assert_string_equal(l.output.data, "started\n");
        assert_in_range(l.run.result.duration_us, 0, 2000000);
        file = fopen(go, "we");
        assert_non_null(file);
        (void)fclose(file);
        live_expect_path(&l, path);
        assert_string_equal(l.output.data, "started\n");
        assert_true(fixture_wait_idle(f));
        live_done(&l);
}

static void test_detach_while_paused(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *path = live_new_path();
        CLEANUP(mem_free)
        char *script = xasprintf("head -c 3000000 /dev/zero; touch %s", path);
        struct live l = { 0 };

        live_start(f, &l, (struct process_options){ .argv = SCRIPT(script) });
        process_pause_output(l.process, true);
        process_detach(l.process);
        live_expect_path(&l, path);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(l.n_pieces, 0);
        assert_int_equal(l.run.n_ends, 0);
        live_done(&l);
}

static void kill_it(struct live *l)
{
        process_kill(l->process, END_CANCELLED);
}

static void detach_it(struct live *l)
{
        process_detach(l->process);
}

/* on_output may do what it likes: also while the end is being dealt with. */
static void test_kill_in_callback(void **state)
{
        static const char *const scripts[] = {
                "yes", "echo a", "echo a; exec >&- 2>&-", "sleep 1000 & echo a", "echo a & exit 7",
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(scripts) * 4; i++) {
                struct live l = { .on_piece = kill_it };

                live_start(f, &l,
                           (struct process_options){ .argv = SCRIPT(scripts[i / 4]),
                                                     .grace_ms = i % 2 ? 50 : 0 });
                /* Then the output is read when the leader has been reaped. */
                process_pause_output(l.process, i % 4 > 1 && i / 4 > 0);
                live_wait(&l);
                assert_true(l.n_pieces > 0);
                assert_true(fixture_wait_idle(f));
                assert_true(live_wait_dead(&l));
                live_done(&l);
        }
}

static void test_detach_in_callback(void **state)
{
        struct fixture *f = *state;
        struct live l = { .on_piece = detach_it };

        live_start(f, &l, (struct process_options){ .argv = SCRIPT("head -c 3000000 /dev/zero") });
        assert_true(fixture_wait_idle(f));
        assert_int_equal(l.n_pieces, 1);
        assert_int_equal(l.run.n_ends, 0);
        live_done(&l);
}

/* Late is harmless; also while something that could read lives on. */
static void test_after_the_end(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){ .argv = SCRIPT("sleep 1000 <&0 & echo started"),
                                             .has_input = true });
        live_wait(&l);
        assert_int_equal(process_write(l.run.process, "x", 1), -EPIPE);
        assert_int_equal(process_close_input(l.run.process), -EPIPE);
        assert_int_equal(process_resize(l.run.process, &(struct pty_size){ 80, 24 }), -ENOTTY);
        assert_int_equal(process_signal(l.run.process, SIGINT), -ESRCH);
        process_pause_output(l.run.process, true);
        process_pause_output(l.run.process, false);
        process_kill(l.run.process, END_CANCELLED);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(process_write(l.run.process, "x", 1), -EPIPE);
        assert_int_equal(process_signal(l.run.process, SIGINT), -ESRCH);
        live_done(&l);
}

static void test_signal(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){
                           .argv = SCRIPT("trap 'echo leader' INT; trap 'echo stop; exit 3' TERM; "
                                          "bash -c 'trap \"echo member\" INT; echo ready; "
                                          "read x'; while :; do sleep 0.01; done"),
                           .has_input = true });
        live_expect(&l, "ready\n");
        assert_int_equal(process_signal(l.process, 12345), -EINVAL);
        assert_int_equal(process_signal(l.process, SIGINT), 0);
        live_expect(&l, "member\n");
        live_type(&l, "\n");
        live_expect(&l, "leader\n");
        assert_int_equal(process_signal(l.process, SIGTERM), 0);
        live_wait(&l);
        assert_int_equal(l.run.result.reason, END_EXIT);
        assert_int_equal(l.run.result.exit_code, 3);
        live_done(&l);

        /* At any time after the start. */
        for (unsigned i = 0; i < 50; i++) {
                live_start(f, &l, (struct process_options){ .argv = SCRIPT("sleep 1000") });
                for (unsigned n = 0; n < i; n++)
                        (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
                assert_int_equal(process_signal(l.process, SIGINT), 0);
                live_wait(&l);
                assert_int_equal(l.run.result.reason, END_SIGNAL);
                assert_int_equal(l.run.result.signal, SIGINT);
                live_done(&l);
        }
}

static int is_stopped(void *arg)
{
        return live_state_of(process_pid(arg)) == 'T';
}

/* What a kill with grace begins with; somebody who is stopped gets it too. */
static void test_term_signal(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){
                           .argv = SCRIPT("trap '' TERM; trap 'echo hup; exit 3' HUP; echo ready; "
                                          "kill -STOP $$; while :; do sleep 0.01; done"),
                           .term_signal = SIGHUP,
                           .grace_ms = HANG_MS });
        live_expect(&l, "ready\n");
        assert_true(live_poll_until(&l, is_stopped, l.process));
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        assert_string_equal(l.output.data, "hup\n");
        assert_int_equal(l.run.result.reason, END_CANCELLED);
        assert_int_equal(l.run.result.exit_code, 3);
        assert_true(fixture_wait_idle(f));
        live_done(&l);
}

/* Whoever kills may say for how long it may tidy up, and may lose patience; others do not shorten that. */
static void test_kill_gently(void **state)
{
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){
                           .argv = SCRIPT("trap 'echo tidy; exit 7' TERM; echo ready; "
                                          "while :; do sleep 0.01; done") });
        live_expect(&l, "ready\n");
        process_kill_gently(l.process, END_CANCELLED, HANG_MS);
        process_kill(l.process, END_CANCELLED); /* its own grace is none */
        live_wait(&l);
        assert_string_equal(l.output.data, "tidy\n");
        assert_int_equal(l.run.result.reason, END_CANCELLED);
        assert_int_equal(l.run.result.exit_code, 7);
        assert_true(fixture_wait_idle(f));
        live_done(&l);

        for (uint64_t grace_ms = 0; grace_ms <= 50; grace_ms += 50) {
                l = (struct live){ 0 };
                live_start(f, &l,
                           (struct process_options){ .argv = SCRIPT("trap '' TERM; echo ready; "
                                                                    "while :; do sleep 1000; done"),
                                                     .grace_ms = HANG_MS });
                live_expect(&l, "ready\n");
                process_kill_gently(l.process, END_CANCELLED, 1000 * HANG_MS);
                process_kill_gently(l.process, END_CANCELLED, grace_ms);
                process_kill_gently(l.process, END_CANCELLED, HANG_MS); /* makes it no longer */
                live_wait(&l);
                assert_int_equal(l.run.result.reason, END_CANCELLED);
                assert_int_equal(l.run.result.signal, SIGKILL);
                assert_int_equal(l.run.result.exit_code, 137);
                process_kill_gently(l.run.process, END_CANCELLED, grace_ms); /* late */
                assert_true(fixture_wait_idle(f));
                live_done(&l);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_order),
                SUPERVISED(test_merged),
                SUPERVISED(test_no_output_limit),
                SUPERVISED(test_pause),
                SUPERVISED(test_pause_in_slice),
                SUPERVISED(test_exit_while_paused),
                SUPERVISED(test_deadline_while_paused),
                SUPERVISED(test_lingering_after_pause),
                SUPERVISED(test_detach_while_paused),
                SUPERVISED(test_kill_in_callback),
                SUPERVISED(test_detach_in_callback),
                SUPERVISED(test_after_the_end),
                SUPERVISED(test_signal),
                SUPERVISED(test_term_signal),
                SUPERVISED(test_kill_gently),
        };

        (void)signal(SIGPIPE, SIG_IGN); /* as the agent does */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
