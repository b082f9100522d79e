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

#include "agent/base/clock.h"
#include "agent/files/glob.h"

static void check(const char *pattern, const char *text, bool wanted)
{
        struct error err = ERROR_INIT;
        struct glob *g = NULL;

        if (glob_new(pattern, &g, &err) < 0)
                fail_msg("%s: %s", pattern, err.message);
        for (unsigned i = 0; i < 2; i++) /* a pattern can be used again */
                if (glob_match(g, text) != wanted)
                        fail_msg("%s %s %s", pattern, wanted ? "does not match" : "matches", text);
        glob_free(g);
}

static void test_table(void **state)
{
        static const struct {
                const char *pattern, *yes[6], *no[6];
        } rows[] = {
                { "", { "" }, { "a", "/" } },
                { "abc", { "abc" }, { "ab", "abcd", "Abc", "" } },
                { "*", { "", "a", ".hidden", "a b\n" }, { "a/b", "/" } },
                { "*.c", { ".c", "a.c", "a.b.c" }, { "a.h", "a.c.h", "d/a.c" } },
                { "a*b*c", { "abc", "aXbYc", "abbcc" }, { "acb", "ab", "a/bc" } },
                { "a?c",
                  { "abc",
                    "a\xc3\xa9"
                    "c",
                    "a\xff"
                    "c" },
                  { "ac", "a/c", "abbc" } },
                { "??", { "ab", "\xf0\x9f\x98\x80\xc3\xa9" }, { "a", "abc", "\xc3\xa9" } },
                { "[abc]", { "a", "c" }, { "d", "", "ab" } },
                { "[a-c]x", { "ax", "cx" }, { "dx", "-x" } },
                { "[!a-c]", { "d", "-", "\xc3\xa9" }, { "a", "/", "" } },
                { "[^a]", { "b" }, { "a", "/" } },
                { "[]]", { "]" }, { "[" } },
                { "[]a]", { "]", "a" }, { "[" } },
                { "[!]]", { "a" }, { "]" } },
                { "[a-]", { "a", "-" }, { "b" } },
                { "[-a]", { "a", "-" }, { "b" } },
                { "[\\]]", { "]" }, { "\\" } },
                { "[.-0]", { ".", "0" }, { "/" } },
                { "[\xc3\xa0-\xc3\xbf]", { "\xc3\xa9" }, { "e", "\xc3" } },
                { "{a,b}", { "a", "b" }, { "", "ab", "{a,b}" } },
                { "{a,b{c,d},}x", { "ax", "bcx", "bdx", "x" }, { "bx", "abcx", "b" } },
                { "{a}", { "a" }, { "{a}" } },
                { "{}", { "" }, { "{}" } },
                { "*.{c,h}", { "a.c", "a.h" }, { "a.o", "a." } },
                { "{*.c,b/?}", { "a.c", "b/x" }, { "b/xx", "b/a.c" } },
                { "a,b}", { "a,b}" }, { "a" } },
                { "\\*\\?\\[\\{\\\\", { "*?[{\\" }, { "x?[{\\" } },
                { "**", { "", "a", "a/b/c" }, { NULL } },
                { "**/x", { "x", "a/x", "a/b/x", ".git/x" }, { "ax", "x/a", "a/bx" } },
                { "a/**", { "a/b", "a/b/c" }, { "a", "ab", "ba/c" } },
                { "a/**/b", { "a/b", "a/x/b", "a/x/y/b" }, { "ab", "a/xb", "a/b/x" } },
                { "**/*.c", { "a.c", "x/y/a.c" }, { "a.h", "a.c/x" } },
                { "**/a/**", { "a/x", "x/a/y/z" }, { "a", "x/a", "xa/y" } },
                { "**/**/x", { "x", "a/x", "a/b/x" }, { "ax" } },
                { "a**b", { "ab", "axyb" }, { "a/b" } },
                { "a/b**", { "a/b", "a/bcd" }, { "a/b/c" } },
                { "***", { "a", "" }, { "a/b" } },
                { "{**/,}x", { "x", "a/x" }, { "ax" } },
                { "{a,**}/x", { "a/x", "b/c/x" }, { "x", "ax" } },
                { "src/{a,b/**}/*.c", { "src/a/x.c", "src/b/c/d/x.c" }, { "src/b.c", "src/x.c" } },
                { "\xff*",
                  { "\xff", "\xff"
                            "a" },
                  { "\xfe", "\xc3\xbf" } },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                for (unsigned n = 0; n < 6 && rows[i].yes[n]; n++)
                        check(rows[i].pattern, rows[i].yes[n], true);
                for (unsigned n = 0; n < 6 && rows[i].no[n]; n++)
                        check(rows[i].pattern, rows[i].no[n], false);
        }
}

static void test_malformed(void **state)
{
        static const struct {
                const char *pattern, *message;
        } rows[] = {
                { "[", "the pattern has a [ without a ]" },
                { "a[b", "the pattern has a [ without a ]" },
                { "[]", "the pattern has a [ without a ]" },
                { "[a-", "the pattern has a [ without a ]" },
                { "[a\\", "the pattern has a [ without a ]" },
                { "[z-a]", "the pattern has a range that ends before it begins" },
                { "{a,b", "the pattern has a { without a }" },
                { "{{a}", "the pattern has a { without a }" },
                { "a\\", "the pattern ends with a backslash" },
                { "{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}",
                  "the pattern has braces too deeply nested" },
        };
        struct error err = ERROR_INIT;
        struct glob *g = NULL;
        char longest[LIMIT_GLOB_PATTERN + 2];

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                assert_int_equal(glob_new(rows[i].pattern, &g, &err), -EINVAL);
                assert_string_equal(err.message, rows[i].message);
        }
        memset(longest, '*', sizeof(longest));
        longest[LIMIT_GLOB_PATTERN + 1] = '\0';
        assert_int_equal(glob_new(longest, &g, &err), -E2BIG);
        assert_null(g);
        longest[LIMIT_GLOB_PATTERN] = '\0';
        check(longest, "anything", true);
        assert_null(glob_free(NULL));
}

static void test_has_slash(void **state)
{
        static const struct {
                const char *pattern;
                bool wanted;
        } rows[] = { { "*.c", false },   { "a/b", true },  { "**/x", true }, { "**", true },
                     { "{a,b}", false }, { "[/]", false }, { "a**", false } };
        struct error err = ERROR_INIT;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct glob *g = NULL;

                assert_int_equal(glob_new(rows[i].pattern, &g, &err), 0);
                assert_int_equal(glob_has_slash(g), rows[i].wanted);
                glob_free(g);
        }
}

static void test_for_entries(void **state)
{
        static const struct {
                const char *pattern, *fits;
                bool only_directories, has_slash;
        } rows[] = { { "a", "a", false, false },    { "a/", "a", true, false },
                     { "a/b/", "a/b", true, true }, { "a//", "a/", true, true },
                     { "/", "/", false, true },     { "a\\/", "a/", false, true },
                     { "**/x/", "y/x", true, true } };
        struct error err = ERROR_INIT;

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                bool only_directories = !rows[i].only_directories;
                struct glob *g = NULL;

                assert_int_equal(glob_new_for_entries(rows[i].pattern, &g, &only_directories, &err),
                                 0);
                assert_int_equal(only_directories, rows[i].only_directories);
                assert_int_equal(glob_has_slash(g), rows[i].has_slash);
                assert_true(glob_match(g, rows[i].fits));
                glob_free(g);
        }
}

/* Patterns that take others a lifetime. */
static void test_speed(void **state)
{
        char pattern[LIMIT_GLOB_PATTERN + 1], text[4097];
        uint64_t before = clock_now_ms();

        (void)state;
        memset(text, 'a', 4096);
        text[4096] = '\0';
        for (unsigned i = 0; i < LIMIT_GLOB_PATTERN; i += 2)
                memcpy(pattern + i, "a*", 2);
        pattern[LIMIT_GLOB_PATTERN] = '\0';
        check(pattern, text, true);
        pattern[LIMIT_GLOB_PATTERN - 1] = 'b';
        check(pattern, text, false);
        pattern[0] = '\0';
        for (unsigned i = 0; i < 60; i++)
                strncat(pattern, "{a*,*a}", sizeof(pattern) - strlen(pattern) - 1);
        strncat(pattern, "b", 2);
        check(pattern, text, false);
        pattern[0] = '\0';
        for (unsigned i = 0; i < 200; i++)
                strncat(pattern, "**/*", sizeof(pattern) - strlen(pattern) - 1);
        strncat(pattern, "b", 2);
        check(pattern, text, false);
        print_message("# %u ms\n", (unsigned)(clock_now_ms() - before));
        assert_true(clock_now_ms() - before < 5000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),     cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_has_slash), cmocka_unit_test(test_for_entries),
                cmocka_unit_test(test_speed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
