/* SPDX-License-Identifier: Apache-2.0 */

/* Where output is cut, and what becomes of it when some is lost. */

#include "tests/unit/follower_fixture.h"

static void test_a_character_in_pieces(void **state)
{
        static const char text[] = "a\xe2\x82\xac\xf0\x9f\x98\x80z";
        struct fixture *f = *state;
        const size_t ends[] = { 1, 1, 1, 4, 4, 4, 4, 8, 9 };

        make_logs(f, CAPACITY);
        follow(f, FOLLOWER_EVER);
        for (size_t i = 0; i < sizeof(text) - 1; i++) {
                append(f, CHANNEL_STDOUT, &text[i], 1);
                tell_grown(f);
                (void)uv_run(&f->loop->uv, UV_RUN_DEFAULT); /* until no worker is left */
                assert_int_equal(f->output[CHANNEL_STDOUT].size, ends[i]);
        }
        end_job(f);
        wait_for_end(f);
        expect_text(f, CHANNEL_STDOUT, text);
}

static void test_a_character_that_never_ends(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        follow(f, FOLLOWER_EVER);
        append_text(f, CHANNEL_STDOUT, "a\xe2\x82");
        append_text(f, CHANNEL_STDERR, "\xf0\x9f");
        tell_grown(f);
        (void)uv_run(&f->loop->uv, UV_RUN_DEFAULT);
        expect_text(f, CHANNEL_STDOUT, "a");
        expect_text(f, CHANNEL_STDERR, "");
        end_job(f);
        wait_for_end(f);
        expect_text(f, CHANNEL_STDOUT, "a\xe2\x82");
        expect_text(f, CHANNEL_STDERR, "\xf0\x9f");
}

static void test_up_to_an_offset(void **state)
{
        struct fixture *f = *state;

        make_logs(f, CAPACITY);
        append_text(f, CHANNEL_STDOUT, "1234567\xe2\x82\xac");
        append_text(f, CHANNEL_STDERR, "123456789");
        tell_grown(f);
        follow(f, 8); /* inside the character */
        wait_for_end(f);
        expect_text(f, CHANNEL_STDOUT, "1234567");
        expect_text(f, CHANNEL_STDERR, "12345678");
        assert_int_equal(follower_offsets(f->follower)[CHANNEL_STDOUT], 7);
        assert_false(follower_is_complete(f->follower));
}

static void test_overrun(void **state)
{
        enum { SMALL = 4096, SIZE = 3 * SMALL + 1 };
        struct fixture *f = *state;
        char data[SIZE];

        for (size_t i = 0; i < SIZE; i++)
                data[i] = (char)('a' + i % 23);
        make_logs(f, SMALL);
        f->encoding = DOCUMENT_BASE64;
        follow(f, FOLLOWER_EVER);
        append(f, CHANNEL_STDOUT, data, 10);
        tell_grown(f);
        wait_for_sizes(f, 10, 0);
        append(f, CHANNEL_STDOUT, data + 10, SIZE - 10);
        tell_grown(f);
        wait_for_sizes(f, 10 + SMALL, 0);
        assert_int_equal(f->lost[CHANNEL_STDOUT], SIZE - SMALL - 10);
        assert_memory_equal(f->output[CHANNEL_STDOUT].data + 10, data + SIZE - SMALL, SMALL);
        end_job(f);
        wait_for_end(f);
}

/* A character that has lost its beginning is lost as a whole. */
static void test_overrun_of_text(void **state)
{
        struct fixture *f = *state;

        for (size_t cut = 0; cut < 4; cut++) {
                make_logs(f, 4096);
                follow(f, FOLLOWER_EVER);
                for (size_t i = 0; i < 2048; i++)
                        append_text(f, CHANNEL_STDOUT, "\xf0\x9f\x98\x80");
                append(f, CHANNEL_STDOUT, "zzzz", cut);
                tell_grown(f);
                end_job(f);
                wait_for_end(f);
                assert_true(utf8_is_valid(f->output[CHANNEL_STDOUT].data,
                                          f->output[CHANNEL_STDOUT].size));
                assert_int_equal(f->lost[CHANNEL_STDOUT], 4096 + (cut ? 4 : 0));
                assert_int_equal(f->output[CHANNEL_STDOUT].size, 4096 + cut - (cut ? 4 : 0));
                f->follower = follower_free(f->follower);
                buf_done(&f->output[CHANNEL_STDOUT]);
                f->lost[CHANNEL_STDOUT] = 0;
                f->has_ended = false;
                f->job.phase = PHASE_RUNNING;
                f->job.totals[CHANNEL_STDOUT] = 0;
                f->fds[0] = fd_close(f->fds[0]);
                f->fds[1] = fd_close(f->fds[1]);
        }
}

/* Where a follower leaves another one goes on. Text is cut nowhere inside a character. */
static void follow_at_random(struct fixture *f, enum document_encoding encoding)
{
        static const char *const characters[] = { "a", "\xc3\xa9", "\xe2\x82\xac",
                                                  "\xf0\x9f\x98\x80", "\n" };
        struct buf written[N_CHANNELS];
        unsigned seed = 42;
        size_t at[N_CHANNELS] = { 0 };

        for (int c = 0; c < N_CHANNELS; c++) {
                buf_init(&written[c], 0);
                while (written[c].size < 100000)
                        (void)buf_append_str(
                                &written[c],
                                characters[(unsigned)rand_r(&seed) % ARRAY_LEN(characters)]);
        }
        f->encoding = encoding;
        make_logs(f, 1 * MIB);
        follow(f, FOLLOWER_EVER);
        while (at[0] < written[0].size || at[1] < written[1].size) {
                int c = rand_r(&seed) % N_CHANNELS;
                size_t n = MIN((size_t)rand_r(&seed) % 500, written[c].size - at[c]);

                append(f, (enum output_channel)c, written[c].data + at[c], n);
                at[c] += n;
                f->most = (size_t)rand_r(&seed) % 300;
                if (rand_r(&seed) % 3)
                        tell_grown(f);
                for (int i = rand_r(&seed) % 4; i > 0; i--)
                        (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
                if (encoding == DOCUMENT_UTF8)
                        assert_true(utf8_is_valid(f->output[c].data ? f->output[c].data : "",
                                                  f->output[c].size));
                if (rand_r(&seed) % 10 == 0) {
                        f->follower = follower_free(f->follower);
                        follow(f, FOLLOWER_EVER);
                }
        }
        end_job(f);
        wait_for_end(f);
        for (int c = 0; c < N_CHANNELS; c++) {
                assert_int_equal(f->output[c].size, written[c].size);
                assert_memory_equal(f->output[c].data, written[c].data, written[c].size);
                buf_done(&written[c]);
        }
}

static void test_text_at_random(void **state)
{
        follow_at_random(*state, DOCUMENT_UTF8);
}

static void test_bytes_at_random(void **state)
{
        follow_at_random(*state, DOCUMENT_BASE64);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FOLLOWER_TEST(test_a_character_in_pieces),
                FOLLOWER_TEST(test_a_character_that_never_ends),
                FOLLOWER_TEST(test_up_to_an_offset),
                FOLLOWER_TEST(test_overrun),
                FOLLOWER_TEST(test_overrun_of_text),
                FOLLOWER_TEST(test_text_at_random),
                FOLLOWER_TEST(test_bytes_at_random),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
