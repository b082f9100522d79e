/* SPDX-License-Identifier: Apache-2.0 */

/* JSON that is only looked at: the seeds of the fuzz target, and what they cannot show. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/json/scan.h"

/* Whether it is an object, however it is cut. */
static bool is_object(const char *text, struct json_scan *s)
{
        size_t size = strlen(text);
        bool is_whole;

        json_scan_init(s);
        (void)json_scan_feed(s, text, size);
        is_whole = json_scan_is_complete(s);
        for (size_t step = 1; step < size; step++) {
                struct json_scan again;

                json_scan_init(&again);
                for (size_t i = 0; i < size; i += step)
                        (void)json_scan_feed(&again, text + i, MIN(step, size - i));
                assert_int_equal(json_scan_is_complete(&again), is_whole);
                if (is_whole)
                        assert_memory_equal(again.members, s->members, sizeof(s->members));
        }
        return is_whole;
}

static void assert_span(const char *text, struct json_span span, const char *expected)
{
        assert_int_equal(span.size, strlen(expected));
        assert_memory_equal(text + span.start, expected, span.size);
}

static void test_members(void **state)
{
        static const char text[] = " { \"a\" : 12 , \"b\":[1,{\"x\":2}],\"\\u0063\":{\"y\":\"}\"} ,"
                                   "\"d\":null,\"e\":\"\",\"f\":-0.5e1}\r";
        static const char *const expected[][2] = {
                { "a", "12" },   { "b", "[1,{\"x\":2}]" }, { "\\u0063", "{\"y\":\"}\"}" },
                { "d", "null" }, { "e", "\"\"" },          { "f", "-0.5e1" },
        };
        struct json_scan s;

        (void)state;
        assert_true(is_object(text, &s));
        assert_int_equal(s.n_members, ARRAY_LEN(expected));
        for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
                assert_span(text, s.members[i].key, expected[i][0]);
                assert_span(text, s.members[i].value, expected[i][1]);
        }
}

static void test_more_members_than_are_remembered(void **state)
{
        static const char text[] =
                "{\"1\":1,\"2\":2,\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,"
                "\"9\":\"nine\",\"10\":[10]}";
        struct json_scan s;

        (void)state;
        assert_true(is_object(text, &s));
        assert_int_equal(s.n_members, 10);
        assert_span(text, s.members[7].value, "8");
}

static void test_what_is_none(void **state)
{
        static const char *const texts[] = {
                "",
                "[]",
                "1",
                "{",
                "}",
                "{\"a\"}",
                "{\"a\":}",
                "{\"a\":1,}",
                "{,}",
                "{\"a\":1]",
                "{\"a\":[1}",
                "{\"a\":[,1]}",
                "{\"a\":01}",
                "{\"a\":+1}",
                "{\"a\":.5}",
                "{\"a\":1.}",
                "{\"a\":1e}",
                "{\"a\":NaN}",
                "{\"a\":-}",
                "{\"a\":tru}",
                "{} {}",
                "{\"a\":\"\t\"}",
                "{\"a\":\"\\x\"}",
                "{\"a\":\"\\ud800\"}",
                "{\"a\":\"\\udc00\"}",
                "{\"a\":\"\\ud800\\ud800\"}",
                "{\"a\":\"\xff\"}",
                "{\"a\":\"\xc3\"}",
                "{\"a\":\"\xed\xa0\x80\"}",
                "{\"a\":'b'}",
                "{a:1}",
        };
        struct json_scan s;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
                if (is_object(texts[i], &s))
                        fail_msg("taken for an object: %s", texts[i]);
}

/* What cannot become an object any more is known at once: nothing needs to be kept of it. */
static void test_the_first_wrong_byte(void **state)
{
        struct json_scan s;

        (void)state;
        json_scan_init(&s);
        assert_false(json_scan_feed(&s, "garbage", 7));
        json_scan_init(&s);
        assert_true(json_scan_feed(&s, "{\"a\":", 5));
        assert_false(json_scan_feed(&s, "x", 1));
        assert_false(json_scan_feed(&s, "1}", 2));
        assert_false(json_scan_is_complete(&s));
}

static void test_depth(void **state)
{
        char text[200];
        struct json_scan s;

        (void)state;
        for (size_t depth = 60; depth < 70; depth++) {
                memset(text, 0, sizeof(text));
                memcpy(text, "{\"a\":", 5);
                memset(text + 5, '[', depth - 1);
                memset(text + 4 + depth, ']', depth - 1);
                text[3 + 2 * depth] = '}';
                assert_int_equal(is_object(text, &s), depth <= 64);
        }
}

/* Wherever it stands among the eight bytes that are looked at together. */
static void test_every_place_in_a_long_string(void **state)
{
        static const char *const inserted[] = { "\\n", "\\u00e9", "\xc3\xa9", "\xf0\x9f\x98\x80" };
        struct json_scan s;
        char text[128];

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(inserted); i++)
                for (int before = 0; before < 24; before++) {
                        int n = snprintf(text, sizeof(text), "{\"a\":\"%.*s%s%.*s\"}", before,
                                         "abcdefghijklmnopqrstuvwxyz", inserted[i], 24 - before,
                                         "abcdefghijklmnopqrstuvwxyz");

                        assert_true(is_object(text, &s));
                        assert_int_equal(s.members[0].value.size, (size_t)n - 6);
                        text[8 + before] = '\x01';
                        assert_false(is_object(text, &s));
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_more_members_than_are_remembered),
                cmocka_unit_test(test_what_is_none),
                cmocka_unit_test(test_the_first_wrong_byte),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_every_place_in_a_long_string),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
