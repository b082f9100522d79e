/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/utf8.h"
#include "agent/json/escape.h"
#include "tests/lib/repair_utf8.h"

/* Text in which everything happens. */
static const char mixture[] = "plain ascii, long enough for the fast path\n"
                              "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x98\x80 \"q\" \\ \x1b[0m\0\r"
                              "\xc3(\xe2\x82(\xf0\x9f\x98(\xed\xa0\x80\xff\xc0\xaf\xf0\x9f\x98\x01"
                              "more plain ascii\t\xf0\x9f\x98";

/* The obvious way: the text repaired as a whole, then byte by byte. */
static void reference(struct buf *b, const char *data, size_t size)
{
        static const char *const letters[256] = {
                ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
                ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
        };
        CLEANUP(mem_free) char *repaired = malloc(3 * size + 1);
        size_t n = repair_utf8(repaired, data, size);

        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char)repaired[i];

                if (letters[c])
                        assert_int_equal(buf_append_str(b, letters[c]), 0);
                else if (c < 0x20)
                        assert_int_equal(buf_appendf(b, "\\u%04x", c), 0);
                else
                        assert_int_equal(buf_append(b, &c, 1), 0);
        }
}

/* Escapes all of @src into @out, @room bytes at a time. Source and room are blocks of exactly their
 * size, for the sanitizer. What is known about each step is checked here. */
static void feed(struct json_escaper *e, struct buf *out, const char *src, size_t size, size_t room)
{
        CLEANUP(mem_free) char *copy = malloc(size > 0 ? size : 1);
        CLEANUP(mem_free) char *dst = malloc(room);
        size_t done = 0;

        memcpy(copy, src, size);
        while (done < size) {
                bool was_pending = utf8_decoder_is_pending(&e->utf8);
                size_t taken = SIZE_MAX;
                size_t n = json_escape(e, copy + done, size - done, &taken, dst, room);

                assert_true(n <= room);
                assert_true(taken <= size - done);
                assert_true(n > 0 || taken > 0);
                assert_true(was_pending || taken > 0);
                if (taken < size - done) {
                        assert_true(room - n < JSON_ESCAPE_STEP); /* there was a reason to stop */
                        assert_false(utf8_decoder_is_pending(&e->utf8));
                }
                assert_true(utf8_is_valid(dst, n)); /* no character in two halves */
                assert_int_equal(buf_append(out, dst, n), 0);
                done += taken;
        }
}

static void finish(struct json_escaper *e, struct buf *out)
{
        char dst[3];
        size_t n = json_escape_finish(e, dst);

        assert_true(n == 0 || n == 3);
        assert_int_equal(buf_append(out, dst, n), 0);
        assert_int_equal(json_escape_finish(e, dst), 0); /* it owes nothing any more */
}

static void check_result(const struct buf *out, const char *data, size_t size)
{
        CLEANUP(buf_done) struct buf expected;

        buf_init(&expected, 0);
        reference(&expected, data, size);
        assert_int_equal(out->size, expected.size);
        if (expected.size > 0)
                assert_memory_equal(out->data, expected.data, expected.size);
}

/* As a string of JSON, @out must be @data repaired. */
static void check_parses(const struct buf *out, const char *data, size_t size)
{
        CLEANUP(mem_free) char *repaired = malloc(3 * size + 1);
        size_t n = repair_utf8(repaired, data, size);
        CLEANUP(mem_free) char *text = xasprintf("\"%s\"", out->data ? out->data : "");
        json_t *json;

        json = json_loads(text, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
        assert_non_null(json);
        assert_int_equal(json_string_length(json), n);
        assert_memory_equal(json_string_value(json), repaired, n);
        json_decref(json);
}

static void check_whole(const char *data, size_t size, size_t room)
{
        struct json_escaper e;
        CLEANUP(buf_done) struct buf out;

        buf_init(&out, 0);
        json_escape_init(&e);
        feed(&e, &out, data, size, room);
        finish(&e, &out);
        check_result(&out, data, size);
        check_parses(&out, data, size);
}

static void test_every_pair(void **state)
{
        (void)state;
        for (unsigned pair = 0; pair < 0x10000; pair++) {
                const char data[2] = { (char)(pair >> 8), (char)pair };

                check_whole(data, 2, JSON_ESCAPE_STEP);
        }
}

/* A character of each length, and what is not quite one, before each byte. */
static void test_every_byte_after_a_sequence(void **state)
{
        static const char *const sequences[] = {
                "\xc3\xaf",     "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xe2\x82",
                "\xf0\x9f\x98", "\xf0\x9f",     "\xf4\x90\x80\x80", "\xed\xa0\x80",     "\xe0\x80",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(sequences); i++) {
                for (unsigned byte = 0; byte < 256; byte++) {
                        char data[32];
                        size_t size = strlen(sequences[i]);

                        memcpy(data, sequences[i], size);
                        data[size++] = (char)byte;
                        for (size_t room = 8; room <= 20; room += 3)
                                check_whole(data, size, room);
                        memset(data + size, 'x', 12); /* now inside a word of plain bytes */
                        check_whole(data, size + 12, 16);
                }
        }
}

static void test_every_room(void **state)
{
        (void)state;
        for (size_t room = JSON_ESCAPE_STEP; room <= 64; room++)
                for (size_t begin = 0; begin < sizeof(mixture); begin++)
                        check_whole(mixture + begin, sizeof(mixture) - 1 - begin, room);
}

/* A source that is complete is only ever left between two characters: each part, escaped on its own,
 * is as good. */
static void test_stops_between_characters(void **state)
{
        static const char text[] =
                "\xf0\x9f\x98\x80\xf0\x9f\x98\x80 \xe2\x82\xac\xe2\x82\xac\xc3\xaf"
                "\x01\xf0\x9f\x98\x80\n\xc3\xaf\xc3\xaf\xc3\xaf\x02\xe2\x82\xac";
        size_t size = sizeof(text) - 1;

        (void)state;
        for (size_t room = JSON_ESCAPE_STEP; room <= 64; room++) {
                size_t done = 0;

                while (done < size) {
                        struct json_escaper e;
                        char dst[64];
                        size_t taken;

                        json_escape_init(&e);
                        json_escape(&e, text + done, size - done, &taken, dst, room);
                        assert_true(taken > 0);
                        assert_int_equal(json_escape_finish(&e, dst), 0);
                        assert_true(utf8_is_valid(text + done, taken));
                        done += taken;
                }
        }
}

/* The byte that breaks a sequence of the piece before may not fit behind the replacement. */
static void test_broken_without_room(void **state)
{
        struct json_escaper e;
        char dst[8];
        size_t taken;

        (void)state;
        json_escape_init(&e);
        assert_int_equal(json_escape(&e, "\xf0\x9f", 2, &taken, dst, sizeof(dst)), 0);
        assert_int_equal(taken, 2);
        assert_int_equal(json_escape(&e, "\x01", 1, &taken, dst, sizeof(dst)), 3);
        assert_int_equal(taken, 0);
        assert_memory_equal(dst, "\xef\xbf\xbd", 3);
        assert_int_equal(json_escape(&e, "\x01", 1, &taken, dst, sizeof(dst)), 6);
        assert_int_equal(taken, 1);
        assert_memory_equal(dst, "\\u0001", 6);
        assert_int_equal(json_escape_finish(&e, dst), 0);
}

/* Finishing leaves an escaper that can begin another string. */
static void test_reuse(void **state)
{
        struct json_escaper e;
        CLEANUP(buf_done) struct buf out;

        (void)state;
        buf_init(&out, 0);
        json_escape_init(&e);
        feed(&e, &out, "a\xe2\x82", 3, 8);
        finish(&e, &out);
        feed(&e, &out, "\xac", 1, 8);
        finish(&e, &out);
        assert_string_equal(out.data, "a\xef\xbf\xbd\xef\xbf\xbd");
}

/* Bytes that are often near something interesting. */
static void fill(char *data, size_t size)
{
        static const unsigned char likely[] = { 0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0x80, 0x82,
                                                0x8f, 0x90, 0x9f, 0xa0, 0xbf, '"',  '\\', '\n' };

        for (size_t i = 0; i < size; i++) {
                long r = random();

                if (r % 4 == 0)
                        data[i] = (char)(r >> 8);
                else if (r % 4 == 1)
                        data[i] = (char)('a' + (r >> 8) % 26);
                else
                        data[i] = (char)likely[(size_t)(r >> 8) % sizeof(likely)];
        }
        if (random() % 3 == 0 && size > 20) /* a stretch for the fast path */
                memset(data + size / 4, 'x', size / 2);
}

static void test_random_pieces(void **state)
{
        (void)state;
        for (unsigned i = 0; i < 20000; i++) {
                CLEANUP(buf_done) struct buf out;
                struct json_escaper e;
                char data[200];
                size_t size = (size_t)random() % sizeof(data);
                size_t done = 0;

                buf_init(&out, 0);
                json_escape_init(&e);
                fill(data, size);
                while (done < size) {
                        size_t largest = random() % 2 ? 4 : 64;
                        size_t n = MIN((size_t)random() % largest, size - done);

                        feed(&e, &out, data + done, n, 8 + (size_t)random() % 57);
                        done += n;
                }
                finish(&e, &out);
                check_result(&out, data, size);
                check_parses(&out, data, size);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_pair),
                cmocka_unit_test(test_every_byte_after_a_sequence),
                cmocka_unit_test(test_every_room),
                cmocka_unit_test(test_stops_between_characters),
                cmocka_unit_test(test_broken_without_room),
                cmocka_unit_test(test_reuse),
                cmocka_unit_test(test_random_pieces),
        };

        srandom(1); /* the same run every time */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
