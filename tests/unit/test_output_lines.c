/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/buf.h"
#include "handlers/jobs/output_lines.h"
#include "proc/job_link.h"

static struct follower_piece piece_of(const char *text)
{
        return (struct follower_piece){
                .channel = CHANNEL_STDERR, .offset = 10, .data = text, .size = strlen(text)
        };
}

static json_t *parse(const struct buf *b)
{
        json_t *line = json_loadb(b->data, b->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

        assert_non_null(line);
        assert_null(memchr(b->data, '\n', b->size));
        return line;
}

static void expect_number(const json_t *line, const char *key, json_int_t value)
{
        assert_true(json_is_integer(json_object_get(line, key)));
        assert_int_equal(json_integer_value(json_object_get(line, key)), value);
}

static void expect_line(const struct follower_piece *p, size_t size,
                        enum document_encoding encoding, const char *data)
{
        CLEANUP(buf_done) struct buf b;
        json_t *line;

        buf_init(&b, 0);
        assert_int_equal(output_line_append(&b, p, size, encoding), 0);
        line = parse(&b);
        assert_string_equal(json_string_value(json_object_get(line, "type")), "stderr");
        assert_string_equal(json_string_value(json_object_get(line, "data")), data);
        expect_number(line, "offset", 10);
        expect_number(line, "next_offset", 10 + (json_int_t)size);
        if (p->lost > 0)
                expect_number(line, "lost", (json_int_t)p->lost);
        else
                assert_null(json_object_get(line, "lost"));
        json_decref(line);
}

static void test_lines(void **state)
{
        struct follower_piece p = piece_of("a\"\n\xff\xe2\x82\xac");

        (void)state;
        expect_line(&p, p.size, DOCUMENT_UTF8, "a\"\n\xef\xbf\xbd\xe2\x82\xac");
        expect_line(&p, 2, DOCUMENT_UTF8, "a\"");
        expect_line(&p, p.size, DOCUMENT_BASE64, "YSIK/+KCrA==");
        expect_line(&p, 4, DOCUMENT_BASE64, "YSIK/w==");
        p.lost = 7;
        expect_line(&p, 1, DOCUMENT_UTF8, "a");
        expect_line(&p, 0, DOCUMENT_UTF8, "");
}

static void test_a_large_line(void **state)
{
        static char data[FOLLOWER_PIECE];
        const struct follower_piece p = { .channel = CHANNEL_STDERR,
                                          .data = data,
                                          .size = sizeof(data) };
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        memset(data, 1, sizeof(data)); /* each becomes six */
        assert_int_equal(output_line_append(&b, &p, p.size, DOCUMENT_UTF8), 0);
        assert_true(b.size > 6 * sizeof(data) && b.size < 6 * sizeof(data) + 200);
        json_decref(parse(&b));
}

static void test_sizes(void **state)
{
        static const struct {
                const char *text;
                bool is_last;
                uint64_t budget;
                size_t text_size, bytes_size;
        } rows[] = {
                { "abcdefgh", false, 100, 8, 8 },
                { "abcdefgh", false, 5, 5, 5 },
                { "abcdefgh", false, 1, 4, 4 }, /* something, in any case */
                { "abcde\xe2\x82", false, 100, 5, 7 },
                { "abcde\xe2\x82", true, 100, 7, 7 },
                { "abcde\xe2\x82", true, 6, 5, 6 },
                { "\xe2\x82", false, 100, 0, 2 },
                { "\xf0\x9f\x98\x80\xf0\x9f\x98\x80", false, 7, 4, 7 },
                { "\xf0\x9f\x98\x80\xf0\x9f\x98\x80", true, 2, 4, 4 },
                { "abc\x80", false, 100, 4, 4 }, /* ill-formed, but complete */
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct follower_piece p = piece_of(rows[i].text);

                p.is_last = rows[i].is_last;
                assert_int_equal(output_line_size(&p, DOCUMENT_UTF8, rows[i].budget),
                                 rows[i].text_size);
                assert_int_equal(output_line_size(&p, DOCUMENT_BASE64, rows[i].budget),
                                 rows[i].bytes_size);
        }
}

static json_t *end_line(const struct output_end *e)
{
        CLEANUP(buf_done) struct buf b;

        buf_init(&b, 0);
        assert_int_equal(output_line_append_end(&b, e), 0);
        return parse(&b);
}

static void test_ends(void **state)
{
        const uint64_t offsets[N_CHANNELS] = { 5, 17 };
        struct job_status result = { .reason = KEEPER_EXIT, .exit_code = 3 };
        struct output_end e = { .status = "failed", .result = &result, .offsets = offsets };
        json_t *line, *next;

        (void)state;
        e.is_complete = true;
        line = end_line(&e);
        next = json_object_get(line, "next_offset");
        assert_string_equal(json_string_value(json_object_get(line, "type")), "end");
        assert_string_equal(json_string_value(json_object_get(line, "status")), "failed");
        assert_string_equal(json_string_value(json_object_get(line, "reason")), "exit");
        expect_number(line, "exit_code", 3);
        expect_number(next, "stdout", 5);
        expect_number(next, "stderr", 17);
        assert_null(json_object_get(line, "signal"));
        json_decref(line);

        result.signal = 15;
        line = end_line(&e);
        expect_number(line, "signal", 15);
        json_decref(line);

        e = (struct output_end){ .status = "running", .offsets = offsets };
        line = end_line(&e);
        assert_string_equal(json_string_value(json_object_get(line, "type")), "more");
        assert_true(json_is_null(json_object_get(line, "exit_code")));
        json_decref(line);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),
                cmocka_unit_test(test_a_large_line),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
