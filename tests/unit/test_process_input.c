/* SPDX-License-Identifier: Apache-2.0 */

/* Input through a pipe: more than fits, and to those who do not read. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "agent/base/limits.h"
#include "tests/lib/live_fixture.h"

/* Bytes in a pipe, at most. */
#define PIPE_SIZE (256 * KIB)

static char *pattern_new(size_t size)
{
        char *data = try_alloc(size + 1);

        assert_non_null(data);
        for (size_t i = 0; i < size; i++)
                data[i] = (char)('a' + (i ^ (i >> 8) ^ (i >> 16)) % 26);
        data[size] = '\0';
        return data;
}

/* More than fits anywhere at once, there and back. */
static void test_write(void **state)
{
        enum { SIZE = 3000000 };
        CLEANUP(mem_free) char *data = pattern_new(SIZE);
        struct live l = { 0 };

        live_start(*state, &l,
                   (struct process_options){ .argv = (char *[]){ (char *)"cat", NULL },
                                             .has_input = true });
        assert_int_equal(process_write(l.process, data, 0), 0);
        assert_int_equal(process_write(l.process, data, 1000), 0);
        assert_int_equal(process_write(l.process, data + 1000, SIZE - 2000), PROCESS_E_QUEUED);
        assert_int_equal(process_write(l.process, data + SIZE - 1000, 1000), PROCESS_E_QUEUED);
        assert_int_equal(l.n_drained, 0);
        assert_int_equal(process_close_input(l.process), PROCESS_E_QUEUED);
        assert_int_equal(process_write(l.process, "x", 1), -EPIPE);
        assert_int_equal(process_close_input(l.process), -EPIPE);
        live_wait(&l);
        assert_int_equal(l.run.result.exit_code, 0);
        assert_int_equal(l.n_drained, 1);
        assert_int_equal(l.output.size, SIZE);
        assert_memory_equal(l.output.data, data, SIZE);
        live_done(&l);
}

enum { N_ROUNDS = 40, ROUND_SIZE = 700000 };

struct feeder {
        struct live live;
        char *data;
        unsigned n_rounds;
};

/* Gives pieces of all sizes, as long as they are taken. */
static void feed(struct process *p, void *arg)
{
        struct feeder *feeder = container_of((struct live *)arg, struct feeder, live);
        int r = 0;

        feeder->live.n_drained++;
        while (r == 0 && feeder->n_rounds < N_ROUNDS) {
                feeder->n_rounds++;
                r = process_write(p, feeder->data, 1);
                assert_true(r >= 0);
                r = process_write(p, feeder->data + 1, ROUND_SIZE - 1);
                assert_true(r >= 0);
        }
        if (feeder->n_rounds == N_ROUNDS)
                (void)process_close_input(p);
}

/* A producer that goes on when it is told to. */
static void test_write_on(void **state)
{
        struct feeder feeder = { .data = pattern_new(ROUND_SIZE) };
        struct live *l = &feeder.live;

        live_start(*state, l,
                   (struct process_options){ .argv = (char *[]){ (char *)"cat", NULL },
                                             .has_input = true,
                                             .on_input_drained = feed });
        feed(l->process, l);
        live_wait(l);
        assert_int_equal(l->run.result.exit_code, 0);
        assert_true(l->n_drained > 1);
        assert_int_equal(l->output.size, N_ROUNDS * ROUND_SIZE);
        for (size_t i = 0; i < N_ROUNDS; i++)
                assert_memory_equal(l->output.data + i * ROUND_SIZE, feeder.data, ROUND_SIZE);
        live_done(l);
        free(feeder.data);
}

static void test_input_limit(void **state)
{
        enum { CHUNK = 1000000 };
        CLEANUP(mem_free) char *data = pattern_new(LIMIT_INPUT_QUEUE + 1);
        struct live l = { 0 };
        size_t taken = 0;
        int r;

        live_start(*state, &l,
                   (struct process_options){
                           .argv = SCRIPT("read -rn 1; echo ready; read -rd '' go < <(sleep 1000 "
                                          "<&- & wait; printf '\\0'); cat | cksum"),
                           .has_input = true });
        live_type(&l, "x");
        live_expect(&l, "ready");
        assert_int_equal(process_write(l.process, data, LIMIT_INPUT_QUEUE + 1), -ENOBUFS);
        while ((r = process_write(l.process, data, CHUNK)) >= 0)
                taken += CHUNK;
        assert_int_equal(r, -ENOBUFS);
        assert_in_range(taken, LIMIT_INPUT_QUEUE - CHUNK, LIMIT_INPUT_QUEUE + PIPE_SIZE);
        /* What was refused was not taken in part; what fits is still taken. */
        assert_int_equal(process_write(l.process, "abc", 3), PROCESS_E_QUEUED);
        assert_int_equal(l.n_drained, 0);
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        live_done(&l);
}

static int was_drained(void *arg)
{
        return ((struct live *)arg)->n_drained > 0;
}

/* A program that closes its stdin: at once, and with input in the queue. */
static void test_lost_reader(void **state)
{
        CLEANUP(mem_free) char *data = pattern_new(MIB);
        struct fixture *f = *state;
        struct live l = { 0 };

        live_start(f, &l,
                   (struct process_options){ .argv = SCRIPT("exec <&-; echo closed; sleep 1000"),
                                             .has_input = true });
        live_expect(&l, "closed");
        assert_int_equal(process_write(l.process, "x", 1), -EPIPE);
        assert_int_equal(process_write(l.process, "x", 1), -EPIPE);
        assert_int_equal(process_close_input(l.process), -EPIPE);
        assert_int_equal(l.n_drained, 0);
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        live_done(&l);

        live_start(f, &l,
                   (struct process_options){
                           .argv = SCRIPT("trap 'exec <&-; echo closed' USR1; sleep 1000 & "
                                          "echo ready; wait; sleep 1000"),
                           .has_input = true });
        live_expect(&l, "ready");
        assert_int_equal(process_write(l.process, data, MIB), PROCESS_E_QUEUED);
        assert_int_equal(process_signal(l.process, SIGUSR1), 0);
        live_expect(&l, "closed");
        assert_true(live_poll_until(&l, was_drained, &l));
        assert_int_equal(l.n_drained, 1);
        assert_int_equal(process_write(l.process, "x", 1), -EPIPE);
        process_kill(l.process, END_CANCELLED);
        live_wait(&l);
        live_done(&l);

        /* It exits, and nobody has read a byte. */
        live_start(f, &l, (struct process_options){ .argv = SCRIPT("exit 3"), .has_input = true });
        assert_int_equal(process_write(l.process, data, MIB), PROCESS_E_QUEUED);
        live_wait(&l);
        assert_int_equal(l.run.result.exit_code, 3);
        assert_in_range(l.n_drained, 0, 1);
        live_done(&l);
}

static void test_close_input(void **state)
{
        struct live l = { 0 };

        live_start(*state, &l,
                   (struct process_options){ .argv = SCRIPT("cat; echo eof"), .has_input = true });
        live_type(&l, "one\n");
        live_expect(&l, "one\n");
        assert_int_equal(process_close_input(l.process), 0);
        assert_int_equal(process_write(l.process, "two\n", 4), -EPIPE);
        live_wait(&l);
        assert_string_equal(l.output.data, "eof\n");
        live_done(&l);
}

static void test_no_input(void **state)
{
        struct live l = { 0 };

        live_start(*state, &l, (struct process_options){ .argv = SCRIPT("cat; echo eof") });
        assert_int_equal(process_write(l.process, "x", 1), -EPIPE);
        assert_int_equal(process_close_input(l.process), -EPIPE);
        assert_int_equal(process_resize(l.process, &(struct pty_size){ 80, 24 }), -ENOTTY);
        live_wait(&l);
        assert_string_equal(l.output.data, "eof\n");
        live_done(&l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_write),       SUPERVISED(test_write_on),
                SUPERVISED(test_input_limit), SUPERVISED(test_lost_reader),
                SUPERVISED(test_close_input), SUPERVISED(test_no_input),
        };

        (void)signal(SIGPIPE, SIG_IGN); /* as the agent does */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
