/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/base/macros.h"
#include "handlers/files/pattern.h"

static struct pattern *compile(const char *text, bool is_regex, bool ignore_case)
{
        struct error err = ERROR_INIT;
        struct pattern *p = NULL;

        if (pattern_new(text, strlen(text), is_regex, ignore_case, &p, &err) < 0)
                fail_msg("%s: %s", text, err.message);
        return p;
}

/* The lines that match, as their text with a bar behind each. The subject has no NUL behind it: reading on would be
 * noticed. */
static void check(struct pattern *p, const char *text, const char *wanted)
{
        size_t size = strlen(text), from = 0;
        char *subject = malloc(size ? size : 1);
        CLEANUP(buf_done) struct buf found = { .max = 0 };
        struct pattern_match m;
        int r;

        memcpy(subject, text, size);
        while ((r = pattern_find(p, subject, size, from, &m)) > 0) {
                assert_true(m.line >= from && m.line + m.line_size <= size);
                assert_true(m.begin >= m.line && m.end <= m.line + m.line_size && m.begin <= m.end);
                assert_int_equal(buf_append(&found, subject + m.line, m.line_size), 0);
                assert_int_equal(buf_append_str(&found, "|"), 0);
                from = m.line + m.line_size + 1;
        }
        assert_int_equal(r, 0);
        assert_string_equal(found.data ? found.data : "", wanted);
        free(subject);
        pattern_free(p);
}

static void test_lines(void **state)
{
        (void)state;
        check(compile("b", true, false), "abc\nxyz\nb", "abc|b|");
        check(compile("^b", true, false), "abc\nbyz\nb\n", "byz|b|");
        check(compile("c$", true, false), "abc\ncd\nc\n", "abc|c|");
        check(compile("", true, false), "a\n\nb\n", "a||b|");
        check(compile("x*", true, false), "a\nb", "a|b|");
        check(compile("^$", true, false), "a\n\nb\n", "|");
        check(compile("b", true, false), "", "");
        check(compile("B", true, true), "abc\nx\n", "abc|");
        check(compile("É", true, true), "\xc3\xa9t\xc3\xa9\n", "\xc3\xa9t\xc3\xa9|");
}

/* A match that begins in one line and ends in another is none, but hides nothing either. */
static void test_line_breaks(void **state)
{
        (void)state;
        check(compile("a\\s+b", true, false), "a\nb\na b\n", "a b|");
        check(compile("a\\s*", true, false), "a\n\na\n", "a|a|");
        check(compile("[^x]+z", true, false), "ab\ncz\n", "cz|");
        check(compile("a\nb", false, false), "a\nb\n", "");
        check(compile("(?s)a.*b|c", true, false), "a\nc\nb\n", "c|");
}

/* What other lines contain is nothing to a line. */
static void test_each_line_alone(void **state)
{
        static const char text[] = "if (x)\n{\nfoo\nbar\n a\n\nb\r\nfoo bar\nend foo";
        static const struct {
                const char *pattern, *lines;
        } cases[] = {
                { "\\)(?!\\s*\\{)", "if (x)|" },
                { "foo(?!\\s*b)", "foo|end foo|" },
                { "(?<!\\s)foo", "foo|foo bar|" },
                { "(?<=\\s)b", "foo bar|" },
                { "\\w(?=\\s)\\s", "if (x)|b\r|foo bar|end foo|" },
                { "\\Afoo", "foo|foo bar|" },
                { "foo\\z", "foo|end foo|" },
                { "foo\\Z", "foo|end foo|" },
                { "\\G.oo", "foo|foo bar|" },
                { "a\\s*+$", " a|" },
                { "r\\s?+$", "bar|foo bar|" },
                { "r\\s{0,9}+$", "bar|foo bar|" },
                { "(?>r\\s*)$", "bar|foo bar|" },
                { "(?-m)o$", "foo|end foo|" },
                { "(?-m)^end", "end foo|" },
                { "(?^)^end", "end foo|" },
                { "(*ANYCRLF)b$", "b\r|" },
                { "(?i)FOO$", "foo|end foo|" },
                { "(?:foo|bar)$", "foo|bar|foo bar|end foo|" },
                { "(?!)", "" },
                { "\\\\A|\\Bnd", "end foo|" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                check(compile(cases[i].pattern, true, false), text, cases[i].lines);
        check(compile("^(?!x)", true, false), "a\n\nb\nx\n", "a||b|");
        check(compile("\\A\\z", true, false), "a\n\nb\n\n", "||");
}

static void test_texts(void **state)
{
        (void)state;
        check(compile("a.c", false, false), "abc\na.c\n", "a.c|");
        check(compile("A.C", false, true), "abc\na.c\n", "a.c|");
        check(compile("\\E(", false, true), "x\\e(y\n", "x\\e(y|");
}

static void test_bytes(void **state)
{
        (void)state;
        check(compile("b", true, false),
              "\xff\xfe"
              "b\xc3\n\xe2\x82\nb",
              "\xff\xfe"
              "b\xc3|b|");
        check(compile("a.b", true, false),
              "a\xff"
              "b\na\xc3\xa9"
              "b\n",
              "a\xc3\xa9"
              "b|");
}

static void test_malformed(void **state)
{
        static const char *const texts[] = { "(", "[", "*", "a{3,1}", "\\C", "(?<n", "\xff" };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                struct error err = ERROR_INIT;
                struct pattern *p = NULL;

                assert_int_equal(pattern_new(texts[i], strlen(texts[i]), true, false, &p, &err),
                                 -EINVAL);
                assert_non_null(strstr(err.message, "at character"));
                assert_null(p);
        }
}

static void test_expensive(void **state)
{
        struct pattern *p = compile("(a+)+[bc]", true, false);
        struct pattern_match m;
        char subject[4096];

        (void)state;
        memset(subject, 'a', sizeof(subject));
        assert_int_equal(pattern_find(p, subject, sizeof(subject), 0, &m), -E2BIG);
        pattern_free(p);
}

/* What would take hours ends, found or not; and so does what nobody waits for any more. */
static void test_endless(void **state)
{
        const size_t size = 4 * 1024 * 1024;
        struct pattern *p = compile("x*x*x*yy", true, false);
        char *subject = malloc(size);
        atomic_bool cancel = false;
        struct pattern_match m;

        (void)state;
        memset(subject, 'x', size);
        subject[size - 2] = 'y';
        pattern_limit(p, &cancel);
        assert_int_equal(pattern_find(p, subject, size, 0, &m), -E2BIG);
        cancel = true;
        pattern_limit(p, &cancel);
        assert_int_equal(pattern_find(p, subject, size, 0, &m), -ECANCELED);
        pattern_free(p);

        /* Many steps, but in one direction. */
        memset(subject + 1, '\n', 1);
        subject[100] = subject[50000] = '"';
        p = compile("\"(x|\\\\.)*\"", true, false);
        cancel = false;
        pattern_limit(p, &cancel);
        assert_int_equal(pattern_find(p, subject, size, 0, &m), 1);
        assert_int_equal(m.begin, 100);
        assert_int_equal(m.end, 50001);
        pattern_free(p);
        free(subject);
}

/* Lines are searched in chunks, and a chunk in windows: nothing is lost where they meet, nor found twice. */
static void test_seams(void **state)
{
        enum { LINES = 60000 };
        CLEANUP(buf_done) struct buf text = { .max = 0 };
        struct pattern *words = compile("^\xc3\xa4+ [0-9]+$|^$", true, false);
        struct pattern *last = compile("[0-9]\\z", true, false);
        atomic_bool cancel = false;
        struct pattern_match m;
        size_t from = 0, n = 0;

        (void)state;
        for (int i = 0; i < LINES; i++)
                assert_int_equal(buf_appendf(&text, i % 7 ? "\xc3\xa4\xc3\xa4 %d\n" : "\n", i), 0);
        pattern_limit(words, &cancel);
        while (pattern_find(words, text.data, text.size, from, &m) == 1) {
                assert_int_equal(m.line, from);
                assert_int_equal(m.end - m.begin, m.line_size);
                from = m.line + m.line_size + 1;
                n++;
        }
        assert_int_equal(n, LINES);
        pattern_limit(last, &cancel);
        for (from = n = 0; pattern_find(last, text.data, text.size, from, &m) == 1; n++)
                from = m.line + m.line_size + 1;
        assert_int_equal(n, LINES - (LINES + 6) / 7);
        assert_int_equal(m.end, text.size - 1);
        pattern_free(words);
        pattern_free(last);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines),           cmocka_unit_test(test_line_breaks),
                cmocka_unit_test(test_each_line_alone), cmocka_unit_test(test_texts),
                cmocka_unit_test(test_bytes),           cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_expensive),       cmocka_unit_test(test_endless),
                cmocka_unit_test(test_seams),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
