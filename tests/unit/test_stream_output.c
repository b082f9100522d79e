/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "handlers/execution/stream_output.h"

static int set_up(void **state)
{
        struct stream_output *o = xnew(struct stream_output);

        stream_output_init(o);
        *state = o;
        return 0;
}

static int tear_down(void **state)
{
        struct stream_output *o = *state;

        stream_output_done(o);
        assert_int_equal(stream_output_size(o), 0);
        free(o);
        return 0;
}

static void append(struct stream_output *o, enum process_channel from, const char *text)
{
        stream_output_append(o, from, text, strlen(text));
}

static void out(struct stream_output *o, const char *text)
{
        append(o, PROCESS_STDOUT, text);
}

static void err(struct stream_output *o, const char *text)
{
        append(o, PROCESS_STDERR, text);
}

/* As the channel does: whole characters, and no more than @max bytes. */
static size_t sendable(const struct stream_piece *piece, const char *joined, size_t size,
                       size_t max)
{
        size_t n = MIN(size, max);

        return piece->is_end && n == size ? n : utf8_complete_prefix(joined, n);
}

/* Takes the next frame, which must be @expected at @offset. */
static void expect(struct stream_output *o, enum process_channel from, uint64_t offset,
                   const char *expected)
{
        char joined[256];
        struct stream_piece piece;
        size_t size = 0, n = 0;

        while (n == 0) {
                assert_true(stream_output_peek(o, &piece));
                size = piece.slices[0].size + (piece.n_slices > 1 ? piece.slices[1].size : 0);
                assert_in_range(size, 1, sizeof(joined));
                memcpy(joined, piece.slices[0].data, piece.slices[0].size);
                if (piece.n_slices > 1)
                        memcpy(joined + piece.slices[0].size, piece.slices[1].data,
                               piece.slices[1].size);
                n = sendable(&piece, joined, size, size);
                stream_output_take(o, n);
        }
        assert_int_equal(piece.from, from);
        assert_int_equal(piece.offset, offset);
        assert_int_equal(n, strlen(expected));
        assert_memory_equal(joined, expected, n);
}

static void expect_out(struct stream_output *o, uint64_t offset, const char *expected)
{
        expect(o, PROCESS_STDOUT, offset, expected);
}

static void expect_err(struct stream_output *o, uint64_t offset, const char *expected)
{
        expect(o, PROCESS_STDERR, offset, expected);
}

/* Nothing can be sent, although the beginning of a character may be there. */
static void expect_nothing(struct stream_output *o)
{
        struct stream_piece piece;

        while (stream_output_peek(o, &piece)) {
                assert_in_range(piece.slices[0].size, 1, 3);
                stream_output_take(o, 0);
        }
}

static void test_empty(void **state)
{
        struct stream_output *o = *state;

        expect_nothing(o);
        out(o, "");
        expect_nothing(o);
        assert_int_equal(o->n_runs, 0);
        stream_output_end(o);
        expect_nothing(o);
        assert_int_equal(o->n_runs, 0);
}

static void test_order_of_arrival(void **state)
{
        struct stream_output *o = *state;

        out(o, "a");
        out(o, "b");
        err(o, "1");
        out(o, "c");
        err(o, "2");
        err(o, "3");
        assert_int_equal(stream_output_size(o), 6);
        expect_out(o, 0, "ab");
        expect_err(o, 0, "1");
        expect_out(o, 2, "c");
        out(o, "d");
        expect_err(o, 1, "23");
        expect_out(o, 3, "d");
        expect_nothing(o);
        assert_int_equal(stream_output_total(o, PROCESS_STDOUT), 4);
        assert_int_equal(stream_output_total(o, PROCESS_STDERR), 3);
        assert_int_equal(stream_output_size(o), 0);
}

/* A frame may be full before its piece is at its end. */
static void test_pieces_in_parts(void **state)
{
        struct stream_output *o = *state;
        struct stream_piece piece;

        out(o, "abcdef");
        err(o, "x");
        assert_true(stream_output_peek(o, &piece));
        assert_int_equal(piece.slices[0].size, 6);
        stream_output_take(o, 4);
        out(o, "g");
        expect_out(o, 4, "ef");
        expect_err(o, 0, "x");
        expect_out(o, 6, "g");
}

/* When the client is slower, bytes join others of their own stream. */
static void test_too_many_changes(void **state)
{
        struct stream_output *o = *state;
        uint64_t offset = 0, err_offset = 0;

        for (unsigned i = 0; i < STREAM_OUTPUT_RUNS / 2; i++) {
                out(o, "o");
                err(o, "e");
        }
        assert_int_equal(o->n_runs, STREAM_OUTPUT_RUNS);
        for (unsigned i = 0; i < 5; i++) {
                out(o, "O");
                err(o, "E");
        }
        assert_int_equal(o->n_runs, STREAM_OUTPUT_RUNS);

        for (unsigned i = 0; i < STREAM_OUTPUT_RUNS / 2 - 1; i++) {
                expect_out(o, offset++, "o");
                expect_err(o, err_offset++, "e");
        }
        expect_out(o, offset, "oOOOOO");
        out(o, "later");
        expect_err(o, err_offset, "eEEEEE");
        expect_out(o, offset + 6, "later");
        expect_nothing(o);
}

static void test_a_character_in_two_reads(void **state)
{
        struct stream_output *o = *state;

        out(o, "a\xe2\x82");
        expect_out(o, 0, "a");
        expect_nothing(o);
        assert_int_equal(stream_output_size(o), 2);
        out(o, "\xac"
               "b");
        expect_out(o, 1,
                   "\xe2\x82\xac"
                   "b");
        expect_nothing(o);
        assert_int_equal(stream_output_size(o), 0);
}

static void test_a_character_around_the_other_stream(void **state)
{
        struct stream_output *o = *state;

        out(o, "\xf0\x9f");
        err(o, "x\xc3");
        out(o, "\x98");
        err(o, "\xa9");
        out(o, "\x80");
        /* The client takes nothing until all is there. */
        expect_err(o, 0, "x");
        expect_err(o, 1, "\xc3\xa9");
        expect_out(o, 0, "\xf0\x9f\x98\x80");
        expect_nothing(o);

        /* The client takes everything as it comes. */
        out(o, "\xf0\x9f");
        expect_nothing(o);
        err(o, "y\xc3");
        expect_err(o, 3, "y");
        expect_nothing(o);
        assert_int_equal(stream_output_size(o), 3);
        out(o, "\x98");
        expect_nothing(o);
        err(o, "\xa9");
        expect_err(o, 4, "\xc3\xa9");
        out(o, "\x80!");
        expect_out(o, 4, "\xf0\x9f\x98\x80!");
}

static void test_the_end_breaks_characters_off(void **state)
{
        struct stream_output *o = *state;

        out(o, "a\xe2\x82");
        err(o, "\xf0");
        expect_out(o, 0, "a");
        expect_nothing(o);
        stream_output_end(o);
        expect_out(o, 1, "\xe2\x82");
        expect_err(o, 0, "\xf0");
        expect_nothing(o);
        assert_int_equal(stream_output_size(o), 0);
}

/* Only the last run of a stream is at its end. */
static void test_the_end_with_several_runs(void **state)
{
        struct stream_output *o = *state;
        struct stream_piece piece;

        out(o, "a\xe2");
        err(o, "x");
        out(o, "\x82");
        stream_output_end(o);
        assert_true(stream_output_peek(o, &piece));
        assert_false(piece.is_end);
        expect_out(o, 0, "a");
        expect_err(o, 0, "x");
        assert_true(stream_output_peek(o, &piece));
        assert_true(piece.is_end);
        expect_out(o, 1, "\xe2\x82");
        expect_nothing(o);
}

/* The end with as many runs as there can be. */
static void test_the_end_of_a_full_circle(void **state)
{
        struct stream_output *o = *state;

        for (unsigned i = 0; i < STREAM_OUTPUT_RUNS; i++)
                append(o, i % 2 ? PROCESS_STDERR : PROCESS_STDOUT, "\xe2");
        stream_output_end(o);
        for (unsigned i = 0; i < STREAM_OUTPUT_RUNS; i++) {
                struct stream_piece piece;

                if (!stream_output_peek(o, &piece))
                        break;
                stream_output_take(o, piece.slices[0].size);
        }
        assert_int_equal(stream_output_size(o), 0);
}

static void fill(struct stream_output *o, enum process_channel from, size_t size, char with)
{
        CLEANUP(mem_free) char *data = malloc(size);

        memset(data, with, size);
        stream_output_append(o, from, data, size);
}

/* What waits when output is paused, and what the pipes hold at the end. */
static void test_nothing_is_lost_within_the_bounds(void **state)
{
        struct stream_output *o = *state;
        struct stream_piece piece;
        size_t all = LIMIT_STREAM_RING, size;

        fill(o, PROCESS_STDOUT, LIMIT_STREAM_BUFFER, 'a');
        fill(o, PROCESS_STDOUT, all - LIMIT_STREAM_BUFFER, 'b');
        assert_int_equal(stream_output_size(o), all);
        assert_true(stream_output_peek(o, &piece));
        assert_int_equal(piece.offset, 0);
        size = piece.slices[0].size + (piece.n_slices > 1 ? piece.slices[1].size : 0);
        assert_int_equal(size, all);
        stream_output_take(o, size);
        expect_nothing(o);
}

/* Beyond them the oldest bytes of that stream are, and what is left is told with its true offset. */
static void test_loss(void **state)
{
        struct stream_output *o = *state;
        struct stream_piece piece;
        size_t all = LIMIT_STREAM_RING;

        err(o, "one");
        out(o, "lost");
        err(o, "two");
        fill(o, PROCESS_STDOUT, 10, 'l');
        err(o, "three");
        fill(o, PROCESS_STDOUT, all, 'k');
        assert_int_equal(stream_output_size(o), all + 11);

        expect_err(o, 0, "one");
        expect_err(o, 3, "two");
        expect_err(o, 6, "three");
        assert_true(stream_output_peek(o, &piece));
        assert_int_equal(piece.from, PROCESS_STDOUT);
        assert_int_equal(piece.offset, 14);
        stream_output_take(o, all);
        out(o, "z");
        expect_out(o, 14 + all, "z");
        expect_nothing(o);
}

static void test_loss_of_all_memory(void **state)
{
        struct stream_output *o = *state;

        alloc_fail_after(1);
        out(o, "lost");
        alloc_fail_after(0);
        expect_nothing(o);
        assert_int_equal(stream_output_size(o), 0);
        out(o, "kept");
        expect_out(o, 4, "kept");
}

/* Any mixture of appending and sending hands out each stream as it was put in. */
static void test_random_mixtures(void **state)
{
        static const char *const bits[] = { "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
        struct stream_output *o = *state;
        struct buf got[2];

        srandom(1);
        for (unsigned round = 0; round < 300; round++) {
                char text[2][2048];
                size_t size[2] = { 0, 0 }, sent[2] = { 0, 0 }, taken[2] = { 0, 0 };
                struct stream_piece piece;

                for (unsigned s = 0; s < 2; s++) {
                        buf_init(&got[s], 0);
                        while (size[s] < 2000) {
                                const char *bit = bits[random() % 4];

                                memcpy(text[s] + size[s], bit, strlen(bit));
                                size[s] += strlen(bit);
                        }
                }
                for (;;) {
                        unsigned s = (unsigned)random() % 2;
                        size_t n = MIN((size_t)random() % 20, size[s] - sent[s]);

                        stream_output_append(o, (enum process_channel)s, text[s] + sent[s], n);
                        sent[s] += n;
                        if (sent[0] == size[0] && sent[1] == size[1] && !o->has_ended)
                                stream_output_end(o);
                        while ((random() % 3 == 0 || o->has_ended) &&
                               stream_output_peek(o, &piece)) {
                                char joined[8192];
                                size_t length = piece.slices[0].size;

                                memcpy(joined, piece.slices[0].data, length);
                                if (piece.n_slices > 1) {
                                        memcpy(joined + length, piece.slices[1].data,
                                               piece.slices[1].size);
                                        length += piece.slices[1].size;
                                }
                                n = sendable(&piece, joined, length, 4 + (size_t)random() % 64);
                                assert_int_equal(piece.offset, taken[piece.from]);
                                assert_true(utf8_is_valid(joined, n));
                                taken[piece.from] += n;
                                buf_append(&got[piece.from], joined, n);
                                stream_output_take(o, n);
                        }
                        if (o->has_ended)
                                break;
                }
                for (unsigned s = 0; s < 2; s++) {
                        assert_int_equal(got[s].size, size[s]);
                        assert_memory_equal(got[s].data, text[s], size[s]);
                        buf_done(&got[s]);
                }
                stream_output_done(o);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_order_of_arrival, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_pieces_in_parts, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_too_many_changes, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_character_in_two_reads, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_character_around_the_other_stream, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(test_the_end_breaks_characters_off, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(test_the_end_with_several_runs, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_the_end_of_a_full_circle, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_nothing_is_lost_within_the_bounds, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(test_loss, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_loss_of_all_memory, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_random_mixtures, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
