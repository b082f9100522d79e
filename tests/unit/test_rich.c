/* SPDX-License-Identifier: Apache-2.0 */

/* What is displayed: the collector by itself, and as a descriptor of real processes. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/limits.h"
#include "proc/rich.h"
#include "tests/lib/supervisor_fixture.h"

#define PNG     "{\"type\":\"image/png\",\"format\":\"base64\",\"data\":\"cG5n\",\"metadata\":{}}"
#define HTML    "{\"type\":\"text/html\",\"format\":\"html\",\"data\":\"<b>\\u00e9</b>\"}"
#define JSON(v) "{\"type\":\"application/json\",\"format\":\"json\",\"data\":" v "}"
#define PLOTLY \
        "{\"type\":\"application/vnd.plotly.v1+json\",\"format\":\"json\",\"data\":{\"p\":1}}"
#define RESULT   "{\"result\":\"42\"}"
#define TEXT(v)  "{\"type\":\"text/plain\",\"format\":\"text\",\"data\":\"" v "\"}"
#define OTHER(m) "{\"type\":\"text/plain\",\"format\":\"text\",\"data\":\"x\"," m "}"

static struct output_budget budget;

static int setup(void **state)
{
        budget = (struct output_budget){ .max = 64 * MIB };
        *state = rich_new(1 * MIB, 100, &budget);
        return 0;
}

/* Nothing may stay accounted. */
static int teardown(void **state)
{
        alloc_fail_after(0);
        rich_free(*state);
        return budget.used == 0 ? 0 : -1;
}

static void append(struct rich *r, const char *text)
{
        rich_append(r, text, strlen(text));
}

static void assert_piece(struct document_piece piece, const char *expected)
{
        assert_int_equal(piece.size, strlen(expected));
        assert_memory_equal(piece.data, expected, piece.size);
}

/* @expected is the data as it is written; NULL: there must be none. */
static void assert_single(const struct rich *r, enum rich_single which, const char *expected)
{
        struct document_piece piece;

        if (expected) {
                assert_true(rich_single(r, which, &piece));
                assert_piece(piece, expected);
        } else {
                assert_false(rich_single(r, which, &piece));
        }
}

static void test_nothing(void **state)
{
        struct rich *r = *state;

        rich_end(r);
        assert_int_equal(rich_count(r), 0);
        assert_int_equal(rich_dropped(r), 0);
        assert_int_equal(budget.used, 0);
        for (int i = 0; i < N_RICH_SINGLES; i++)
                assert_single(r, (enum rich_single)i, NULL);
        assert_null(rich_free(NULL));
}

/* In whatever pieces it comes. */
static void test_lines(void **state)
{
        static const char text[] = PNG "\n" HTML "\r\n\n  " JSON("[1, 2]") "\n" RESULT "\n" PNG;

        (void)state;
        for (size_t step = 1; step <= sizeof(text); step++) {
                struct rich *r = rich_new(1 * MIB, 100, &budget);

                for (size_t i = 0; i < strlen(text); i += step)
                        rich_append(r, text + i, MIN(step, strlen(text) - i));
                rich_end(r);
                assert_int_equal(rich_count(r), 4);
                assert_piece(rich_output(r, 0), PNG);
                assert_piece(rich_output(r, 1), HTML "\r");
                assert_piece(rich_output(r, 2), "  " JSON("[1, 2]"));
                assert_piece(rich_output(r, 3), PNG);
                assert_single(r, RICH_PNG, "\"cG5n\"");
                assert_single(r, RICH_HTML, "\"<b>\\u00e9</b>\"");
                assert_single(r, RICH_JSON, "[1, 2]");
                assert_single(r, RICH_RESULT, "\"42\"");
                assert_single(r, RICH_SVG, NULL);
                assert_int_equal(rich_dropped(r), 0);
                assert_int_equal(rich_total(r), strlen(text));
                rich_free(r);
        }
}

static void test_the_last_of_a_kind(void **state)
{
        struct rich *r = *state;

        append(r, JSON("1") "\n" PLOTLY "\n" JSON("{\"a\":2}") "\n" PLOTLY "\n");
        append(r, "{\"result\":\"first\"}\n{\"result\":\"second\"}\n");
        append(r,
               "{\"type\":\"application/vnd.dataframe+json\",\"format\":\"json\",\"data\":[]}\n");
        append(r, "{\"type\":\"image/svg+xml\",\"format\":\"text\",\"data\":\"<svg/>\"}\n");
        append(r, "{\"type\":\"text/markdown\",\"format\":\"text\",\"data\":\"# m\"}\n");
        append(r,
               "{\"type\":\"image/svg+xml\",\"format\":\"text\",\"data\":\"\"}\n"); /* too large */
        rich_end(r);
        assert_int_equal(rich_count(r), 8);
        assert_single(r, RICH_JSON, "{\"a\":2}");
        assert_single(r, RICH_RESULT, "\"second\"");
        assert_single(r, RICH_DATAFRAME, "[]");
        assert_single(r, RICH_SVG, "\"<svg/>\"");
        assert_single(r, RICH_MARKDOWN, "\"# m\"");
}

static void test_plotly_is_json_when_there_is_no_other(void **state)
{
        struct rich *r = *state;

        append(r, PLOTLY "\n");
        /* Where clients expect a text, no other value may be. */
        append(r, "{\"type\":\"image/png\",\"format\":\"json\",\"data\":[1]}\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 2);
        assert_single(r, RICH_JSON, "{\"p\":1}");
        assert_single(r, RICH_PNG, NULL);
}

static void test_what_is_no_output(void **state)
{
        static const char *const lines[] = {
                "garbage",
                "[]",
                "{}",
                "1",
                "{\"type\":\"image/png\"",
                "{\"data\":\"x\"}",
                PNG PNG,
                "{\"type\":\"image/png\",\"format\":\"base64\"}",
                "{\"type\":\"image/png\",\"format\":\"hex\",\"data\":\"00\"}",
                "{\"type\":1,\"format\":\"text\",\"data\":\"x\"}",
                "{\"type\":\"text/plain\",\"format\":\"text\",\"data\":1}",
                "{\"type\":\"text/plain\",\"format\":\"text\",\"data\":\"\xff\"}",
                "{\"type\":\"text/plain\",\"format\":\"text\",\"data\":\"\\ud800\"}",
                "{\"type\":\"text/plain\",\"format\":\"json\",\"data\":NaN}",
                OTHER("\"metadata\":[]"),
                OTHER("\"timestamp\":1"),
                OTHER("\"data\":\"y\""),
                OTHER("\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9"),
                "{\"result\":1}",
                "{\"result\":\"a\",\"x\":1}",
                "{\"dropped\":-1}",
                "{\"dropped\":\"1\"}",
                "{\"dropped\":99999999999999999999}",
        };
        struct rich *r = *state;

        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
                append(r, lines[i]);
                append(r, "\n");
                if (rich_count(r) != i || rich_dropped(r) != 0)
                        fail_msg("taken: %s", lines[i]);
                append(r, PNG "\n"); /* the next one is good */
                assert_int_equal(rich_count(r), i + 1);
        }
        append(r, OTHER("\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8"));
        rich_end(r);
        assert_int_equal(rich_count(r), ARRAY_LEN(lines) + 1);
        assert_single(r, RICH_RESULT, NULL);
}

static void test_notes_of_the_driver(void **state)
{
        struct rich *r = *state;

        append(r, "{\"dropped\":3}\n{\"dropped\": 4 }\n");
        assert_int_equal(rich_dropped(r), 7);
        assert_int_equal(rich_count(r), 0);
}

/* Beyond the number of outputs, a result is still one. */
static void test_count(void **state)
{
        struct rich *r = rich_new(1 * MIB, 2, &budget);

        (void)state;
        append(r, TEXT("1") "\n" TEXT("2") "\n" TEXT("3") "\n" TEXT("4") "\n" RESULT "\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 2);
        assert_int_equal(rich_dropped(r), 2);
        assert_piece(rich_output(r, 1), TEXT("2"));
        assert_single(r, RICH_RESULT, "\"42\"");
        rich_free(r);
}

/* What does not fit is left out, whole; what fits after it is kept. */
static void test_size(void **state)
{
        size_t size = strlen(TEXT("1"));
        struct rich *r = rich_new(3 * size, 100, &budget);

        (void)state;
        append(r, TEXT("1") "\n" TEXT("this one is too long, as it happens ................"
                                      "............................................") "\n");
        assert_int_equal(rich_dropped(r), 1);
        append(r, TEXT("2") "\n" TEXT("3") "\n");
        assert_int_equal(rich_count(r), 3);
        append(r, TEXT("4") "\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 3);
        assert_int_equal(rich_dropped(r), 2);
        assert_piece(rich_output(r, 2), TEXT("3"));
        rich_free(r);
}

static void test_an_endless_line(void **state)
{
        static char block[64 * KIB];
        struct rich *r = *state;

        memset(block, 'x', sizeof(block));
        append(r, "{\"type\":\"image/png\",\"format\":\"base64\",\"data\":\"");
        for (int i = 0; i < 200; i++) {
                rich_append(r, block, sizeof(block));
                assert_in_range(budget.used, 0, 1 * MIB);
        }
        assert_int_equal(budget.used, 0);
        rich_end(r);
        assert_int_equal(rich_dropped(r), 1);
        assert_in_range(rich_total(r), 200 * sizeof(block), 201 * sizeof(block));
}

/* Nothing is kept of what cannot be an output, so it takes no memory, and is not missed. */
static void test_endless_garbage(void **state)
{
        static char block[64 * KIB];
        struct rich *r = *state;

        memset(block, 'x', sizeof(block));
        for (int i = 0; i < 100; i++)
                rich_append(r, block, sizeof(block));
        assert_int_equal(budget.used, 0);
        append(r, "\n" PNG "\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 1);
        assert_int_equal(rich_dropped(r), 0);
}

/* So that the shortest of lines do not keep us busy. What came before them is kept, what comes after them is missed. */
static void test_endless_lines(void **state)
{
        static char block[64 * KIB];
        struct rich *r = *state;

        memset(block, '\n', sizeof(block));
        append(r, PNG "\n" RESULT "\n");
        rich_append(r, block, LIMIT_RICH_LINES - 3);
        assert_int_equal(rich_dropped(r), 0);
        append(r, HTML "\n");
        assert_int_equal(rich_count(r), 2);
        append(r, PNG "\n" PNG);
        assert_int_equal(rich_dropped(r), 1);
        append(r, "\n");
        assert_int_equal(rich_dropped(r), 2);
        rich_append(r, block, sizeof(block));
        append(r, "{\"type\":");
        rich_end(r);
        assert_int_equal(rich_count(r), 2);
        assert_int_equal(rich_dropped(r), 3 + sizeof(block));
        assert_single(r, RICH_RESULT, "\"42\"");
}

static void test_a_line_that_was_cut_off(void **state)
{
        struct rich *r = *state;

        append(r, PNG "\n{\"type\":\"image/png\",\"format\":\"base64\",\"data\":\"abc");
        rich_end(r);
        assert_int_equal(rich_count(r), 1);
        assert_int_equal(rich_dropped(r), 1);
}

static void test_results_replace_each_other(void **state)
{
        size_t size = strlen(RESULT);
        struct rich *r = rich_new(2 * size, 100, &budget);

        (void)state;
        for (int i = 0; i < 10; i++)
                append(r, RESULT "\n");
        rich_end(r);
        assert_int_equal(rich_dropped(r), 0);
        assert_single(r, RICH_RESULT, "\"42\"");
        assert_in_range(budget.used, 1, 2 * size);
        rich_free(r);
}

static void test_budget(void **state)
{
        struct rich *r = *state;

        budget.max = 4 * KIB;
        append(r, TEXT("1") "\n"); /* its memory is trimmed to what it needs */
        append(r, TEXT("2") "\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 1);
        assert_int_equal(rich_dropped(r), 1);
}

static void test_out_of_memory(void **state)
{
        struct rich *r = *state;

        alloc_fail_after(1);
        append(r, TEXT("1") "\n" TEXT("2") "\n");
        rich_end(r);
        assert_int_equal(rich_count(r), 1);
        assert_int_equal(rich_dropped(r), 1);
        assert_piece(rich_output(r, 0), TEXT("2"));
}

/* --- of a process --- */

#define SAY(text) "echo '" text "' >&4\n"

static void start_rich(struct fixture *f, struct run *r, const char *script, uint64_t timeout_ms)
{
        (void)run_start(f, r,
                        (struct process_options){ .argv = SCRIPT(script),
                                                  .input_fd = -1,
                                                  .has_rich = true,
                                                  .timeout_ms = timeout_ms });
}

static void run_rich(struct fixture *f, struct run *r, const char *script)
{
        start_rich(f, r, script, 0);
        run_wait(f, r);
}

static void test_process(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_rich(f, &r, "echo out\n" SAY(PNG) "echo err >&2\n" SAY(RESULT));
        assert_string_equal(r.output, "out\n");
        assert_string_equal(r.errors, "err\n");
        assert_int_equal(rich_count(process_rich(r.process)), 1);
        assert_single(process_rich(r.process), RICH_RESULT, "\"42\"");
        run_done(&r);

        run_script(f, &r, "echo x >&4"); /* nobody asked for it, so it is not there */
        assert_null(process_rich(r.process));
        assert_int_equal(r.result.exit_code, 1);
        run_done(&r);
}

/* All that was written before the end is there, whatever a pipe holds. */
static void test_process_writes_much(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_rich(f, &r,
                 "printf '{\"type\":\"a/b\",\"format\":\"text\",\"data\":\"' >&4\n"
                 "head -c 900000 /dev/zero | tr '\\0' x >&4\n"
                 "echo '\"}' >&4\n");
        assert_int_equal(rich_count(process_rich(r.process)), 1);
        assert_in_range(rich_output(process_rich(r.process), 0).size, 900000, 901000);
        run_done(&r);
}

static void test_process_closes_it(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_rich(f, &r, SAY(PNG) "exec 4>&-\necho still here");
        assert_string_equal(r.output, "still here\n");
        assert_int_equal(rich_count(process_rich(r.process)), 1);
        run_done(&r);
}

/* Who holds only that descriptor delays nothing, and writes into the void. */
static void test_process_leaves_it_to_another(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_rich(f, &r, SAY(PNG) "(exec >/dev/null 2>&1; exec sleep 60) &\n");
        assert_int_equal(r.result.exit_code, 0);
        assert_in_range(r.result.duration_us, 0, 10 * 1000 * 1000);
        assert_int_equal(rich_count(process_rich(r.process)), 1);
        process_kill(r.process, END_CANCELLED);
        assert_true(fixture_wait_idle(f));
        run_done(&r);
}

static void test_process_is_late(void **state)
{
        struct fixture *f = *state;
        struct run r;

        start_rich(f, &r, SAY(PNG) "sleep 60", 300);
        run_wait(f, &r);
        assert_int_equal(r.result.reason, END_TIMEOUT);
        assert_int_equal(rich_count(process_rich(r.process)), 1);
        run_done(&r);
}

static void test_process_floods(void **state)
{
        struct fixture *f = *state;
        struct run r;

        f->options.max_discard = 4 * MIB;
        supervisor_set_limits(f->supervisor, &f->options);
        run_rich(f, &r, "yes '" TEXT("x") "' >&4");
        assert_int_equal(r.result.reason, END_OUTPUT_LIMIT);
        assert_int_equal(rich_count(process_rich(r.process)), 100);
        assert_in_range(rich_dropped(process_rich(r.process)), 1000, 100 * MIB);
        run_done(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_last_of_a_kind, setup, teardown),
                cmocka_unit_test_setup_teardown(test_plotly_is_json_when_there_is_no_other, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_what_is_no_output, setup, teardown),
                cmocka_unit_test_setup_teardown(test_notes_of_the_driver, setup, teardown),
                cmocka_unit_test_setup_teardown(test_count, setup, teardown),
                cmocka_unit_test_setup_teardown(test_size, setup, teardown),
                cmocka_unit_test_setup_teardown(test_an_endless_line, setup, teardown),
                cmocka_unit_test_setup_teardown(test_endless_garbage, setup, teardown),
                cmocka_unit_test_setup_teardown(test_endless_lines, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_line_that_was_cut_off, setup, teardown),
                cmocka_unit_test_setup_teardown(test_results_replace_each_other, setup, teardown),
                cmocka_unit_test_setup_teardown(test_budget, setup, teardown),
                cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
                SUPERVISED(test_process),
                SUPERVISED(test_process_writes_much),
                SUPERVISED(test_process_closes_it),
                SUPERVISED(test_process_leaves_it_to_another),
                SUPERVISED(test_process_is_late),
                SUPERVISED(test_process_floods),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
