/* SPDX-License-Identifier: Apache-2.0 */

/* What is delivered when, and how it ends. */

#include "tests/unit/follower_fixture.h"

static void test_what_is_there_and_what_comes(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        append_text(f, CHANNEL_STDOUT, "there ");
        follow(f, FOLLOWER_EVER); /* the registry does not know of it yet: the log does */
        wait_for_sizes(f, 6, 0);
        append_text(f, CHANNEL_STDOUT, "comes");
        append_text(f, CHANNEL_STDERR, "error");
        tell_grown(f);
        wait_for_sizes(f, 11, 5);
        assert_false(f->has_ended);
        assert_false(follower_is_complete(f->follower));
        end_job(f);
        assert_true(f->has_ended);
        wait_for_end(f);
        expect_text(f, CHANNEL_STDOUT, "there comes");
        expect_text(f, CHANNEL_STDERR, "error");
}

static void test_output_and_end_are_told_together(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        follow(f, FOLLOWER_EVER);
        append_text(f, CHANNEL_STDERR, "last words");
        end_job(f);
        wait_for_end(f);
        expect_text(f, CHANNEL_STDERR, "last words");
}

static void test_of_a_job_that_never_ran(void **state)
{
        struct fixture *f = *state;

        f->job.phase = PHASE_QUEUED;
        follow(f, FOLLOWER_EVER);
        assert_int_equal(log_reader_error(f->reader, CHANNEL_STDOUT), -ENOENT);
        assert_false(f->has_ended);
        f->job.phase = PHASE_KILLED;
        tell_change(f);
        wait_for_end(f);
}

static void test_from_before_the_start(void **state)
{
        struct fixture *f = *state;

        f->job.phase = PHASE_QUEUED;
        follow(f, FOLLOWER_EVER);
        make_logs(f, CAPACITY);
        f->job.phase = PHASE_RUNNING;
        tell_change(f);
        append_text(f, CHANNEL_STDOUT, "hello");
        tell_grown(f);
        wait_for_sizes(f, 5, 0);
        end_job(f);
        wait_for_end(f);
}

static void test_dropped_while_queued(void **state)
{
        struct fixture *f = *state;

        f->job.phase = PHASE_QUEUED;
        follow(f, FOLLOWER_EVER);
        f->job.is_gone = true;
        tell_change(f);
        assert_true(f->has_ended);
        assert_false(follower_is_complete(f->follower));
}

/* What was opened can be read to the end; what was not is gone, and that is told. */
static void test_evicted(void **state)
{
        struct fixture *f = *state;
        char path[80];

        make_logs(f, CAPACITY);
        append_text(f, CHANNEL_STDOUT, "kept");
        f->job.phase = PHASE_COMPLETED;
        f->is_lazy = true;
        follow(f, FOLLOWER_EVER);
        (void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[CHANNEL_STDOUT]);
        assert_int_equal(unlink(path), 0);
        f->job.is_gone = true;
        end_job(f);
        f->is_lazy = false;
        ask(f);
        wait_for_end(f);
        expect_text(f, CHANNEL_STDOUT, "kept");
}

static void test_evicted_before_it_was_read(void **state)
{
        struct fixture *f = *state;

        f->job.phase = PHASE_QUEUED;
        follow(f, FOLLOWER_EVER);
        f->job.totals[CHANNEL_STDOUT] = 10;
        f->job.phase = PHASE_COMPLETED;
        f->job.is_gone = true;
        tell_change(f);
        assert_true(loop_run_until(f->loop, is_set, &f->has_ended, HANG_MS));
        assert_int_equal(f->r, -ENOENT);
}

/* A read brings nothing although the registry knows of more, and the last news come before it is over. */
static void test_the_end_comes_during_a_read(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        f->job.totals[CHANNEL_STDOUT] = 10;
        follow(f, FOLLOWER_EVER); /* it reads now */
        f->job.phase = PHASE_COMPLETED;
        tell_change(f);
        wait_for_end(f);
        assert_int_equal(f->output[CHANNEL_STDOUT].size, 0);
}

static void test_a_damaged_log(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        follow(f, FOLLOWER_EVER);
        append_text(f, CHANNEL_STDOUT, "text");
        assert_int_equal(ftruncate(f->fds[CHANNEL_STDOUT], 10), 0);
        tell_grown(f);
        assert_true(loop_run_until(f->loop, is_set, &f->has_ended, HANG_MS));
        assert_true(f->r < 0);
}

static void test_streams_take_turns(void **state)
{
        struct fixture *f = *state;
        char *data = xcalloc(1, 3 * FOLLOWER_PIECE);

        make_logs(f, CAPACITY);
        append(f, CHANNEL_STDOUT, data, 3 * FOLLOWER_PIECE);
        append(f, CHANNEL_STDERR, data, 2 * FOLLOWER_PIECE + 1);
        f->job.phase = PHASE_COMPLETED;
        end_job(f);
        follow(f, FOLLOWER_EVER);
        wait_for_end(f);
        assert_int_equal(f->n_pieces, 6);
        for (unsigned i = 0; i < 6; i++)
                assert_int_equal(f->order[i], i % 2);
        free(data);
}

/* Asked for nothing, it reads nothing; asked once, it delivers once. */
static void test_reads_what_is_asked_for(void **state)
{
        struct fixture *f = *state;

        f->is_lazy = true;
        make_logs(f, CAPACITY);
        follow(f, FOLLOWER_EVER);
        append_text(f, CHANNEL_STDOUT, "one");
        tell_grown(f);
        (void)uv_run(&f->loop->uv, UV_RUN_DEFAULT);
        assert_int_equal(f->n_pieces, 0);
        ask(f);
        wait_for_sizes(f, 3, 0);
        append_text(f, CHANNEL_STDOUT, "two");
        tell_grown(f);
        (void)uv_run(&f->loop->uv, UV_RUN_DEFAULT);
        assert_int_equal(f->n_pieces, 1);
        end_job(f);
        assert_false(f->has_ended);
        ask(f);
        wait_for_sizes(f, 6, 0);
        assert_false(f->has_ended);
        ask(f);
        assert_true(f->has_ended);
}

static void test_limit(void **state)
{
        static const struct follower_ops ops = { on_piece, on_end };
        struct fixture *f = *state;
        struct follower *followers[LIMIT_JOB_FOLLOWERS];
        struct follower_options o = { .job = &f->job };

        for (unsigned i = 0; i < LIMIT_JOB_FOLLOWERS; i++) {
                look(f);
                o.reader = f->reader;
                followers[i] = follower_new(&o, &ops, f);
                assert_non_null(followers[i]);
        }
        look(f);
        o.reader = f->reader;
        assert_null(follower_new(&o, &ops, f));
        (void)follower_free(followers[0]);
        followers[0] = follower_new(&o, &ops, f);
        assert_non_null(followers[0]);
        for (unsigned i = 0; i < LIMIT_JOB_FOLLOWERS; i++)
                (void)follower_free(followers[i]);
}

static void test_freed_while_it_reads(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        append_text(f, CHANNEL_STDOUT, "text");
        follow(f, FOLLOWER_EVER); /* a worker reads from here on */
        f->follower = follower_free(f->follower);
        (void)uv_run(&f->loop->uv, UV_RUN_DEFAULT);
        assert_int_equal(f->n_pieces, 0);
        assert_false(f->has_ended);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FOLLOWER_TEST(test_what_is_there_and_what_comes),
                FOLLOWER_TEST(test_output_and_end_are_told_together),
                FOLLOWER_TEST(test_of_a_job_that_never_ran),
                FOLLOWER_TEST(test_from_before_the_start),
                FOLLOWER_TEST(test_dropped_while_queued),
                FOLLOWER_TEST(test_evicted),
                FOLLOWER_TEST(test_evicted_before_it_was_read),
                FOLLOWER_TEST(test_the_end_comes_during_a_read),
                FOLLOWER_TEST(test_a_damaged_log),
                FOLLOWER_TEST(test_streams_take_turns),
                FOLLOWER_TEST(test_reads_what_is_asked_for),
                FOLLOWER_TEST(test_limit),
                FOLLOWER_TEST(test_freed_while_it_reads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
