/* SPDX-License-Identifier: Apache-2.0 */

/* What /proc says about a process: lines as the kernel writes them, names that imitate them, and broken ones. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "proc/system_stat.h"

/* Everything behind the name, from the state on. */
#define TAIL(state)                                                                             \
        " " state " 17 42 43 34816 -1 4194560 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 2500 " \
        "18446744073709551615 1 2 3 4 0 0\n"

/* A copy without a byte to spare, so that a sanitizer sees who reads on. */
static int parse(const char *text, size_t size, struct system_stat *ret)
{
        CLEANUP(mem_free) char *copy = malloc(MAX(size, (size_t)1));
        int r;

        assert_non_null(copy);
        if (size > 0)
                memcpy(copy, text, size);
        r = system_stat_parse(copy, size, ret);
        if (r == 0) { /* the name points into the text */
                assert_true(ret->name >= copy && ret->name + ret->name_size <= copy + size);
                ret->name = text + (ret->name - copy);
        }
        return r;
}

static void test_line(void **state)
{
        static const char text[] = "4711 (bash)" TAIL("S");
        struct system_stat s = { 0 };

        (void)state;
        assert_int_equal(parse(text, strlen(text), &s), 0);
        assert_int_equal(s.pid, 4711);
        assert_int_equal(s.parent, 17);
        assert_int_equal(s.session, 43);
        assert_int_equal(s.state, 'S');
        assert_int_equal(s.cpu_ticks, 300);
        assert_int_equal(s.threads, 3);
        assert_int_equal(s.start_ticks, 123456);
        assert_int_equal(s.rss_pages, 2500);
        assert_int_equal(s.name_size, 4);
        assert_memory_equal(s.name, "bash", 4);
}

static void test_names(void **state)
{
        static const char *const names[] = {
                "",
                "a b",
                ")",
                "(",
                ") R 1 1 (",
                "a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22",
                "kworker/0:1-events",
                "new\nline",
                "\xff\xfe\x80",
                "\x01\x1b[0m",
                "1 (bash) S 2 3",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                CLEANUP(mem_free) char *text = xasprintf("7 (%s)" TAIL("R"), names[i]);
                struct system_stat s = { 0 };

                assert_int_equal(parse(text, strlen(text), &s), 0);
                assert_int_equal(s.name_size, strlen(names[i]));
                assert_memory_equal(s.name, names[i], s.name_size);
                assert_int_equal(s.pid, 7);
                assert_int_equal(s.state, 'R');
                assert_int_equal(s.parent, 17);
        }
}

static void test_broken_lines(void **state)
{
        static const char *const lines[] = {
                "",
                "\n",
                ")",
                "(",
                "()",
                "1",
                "1 ",
                "1 (",
                "1 (bash",
                "1 (bash)",
                "1 (bash) ",
                "1 (bash) S",
                "1 (bash) S 1 2 3",
                "1 )bash(" TAIL("S"),
                "(bash)" TAIL("S"),
                " 1 (bash)" TAIL("S"),
                "x (bash)" TAIL("S"),
                "1(bash)" TAIL("S"),
                "1  (bash)" TAIL("S"),
                "0 (bash)" TAIL("S"),
                "-1 (bash)" TAIL("S"),
                "2147483648 (bash)" TAIL("S"),
                "99999999999999999999 (bash)" TAIL("S"),
                "1 (bash)" TAIL(""),
                "1 (bash)" TAIL("SS"),
                "1 (bash)" TAIL("5"),
                "1 (bash)" TAIL("\xff"),
                "1 (bash)  S 17 42 43 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 2500\n",
                "1 (bash) S x 42 43 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 2500\n",
                "1 (bash) S 17 42 4294967296 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 1 2 3\n",
                "1 (bash) S 17 42 43 0 - 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 2500\n",
                "1 (bash) S 17 42 43 0 --1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 2500\n",
                "1 (bash) S 17 42 43 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999\n",
                "1 (bash) S 17 42 43 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 \n",
                "1 (bash) S 17 42 43 0 -1 0 1 2 3 4 250 50 5 6 20 0 3 0 123456 9999999 25x0\n",
                "1 (bash) S 17 42 43 0 -1 0 1 2 3 4 2.5 50 5 6 20 0 3 0 123456 9999999 2500\n",
                "1 (bash) S 1 2 3 0 -1 0 1 2 3 4 18446744073709551615 1 5 6 20 0 3 0 1 9 25\n",
                "1 (bash) S 1 2 3 0 -1 0 1 2 3 4 18446744073709551616 1 5 6 20 0 3 0 1 9 25\n",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
                struct system_stat s = { .pid = 99 };

                if (parse(lines[i], strlen(lines[i]), &s) != -EINVAL)
                        fail_msg("accepted: %s", lines[i]);
                assert_int_equal(s.pid, 99);
        }
}

/* Every prefix, and every byte replaced: nothing is read beyond the end, and what is accepted makes sense. */
static void test_mutations(void **state)
{
        static const char text[] = "4711 (a) b)" TAIL("S");
        static const char bytes[] = "\0 ()\n-9z\xff";
        const size_t size = strlen(text);
        const size_t minimum = strstr(text, " 2500") + strlen(" 2") - text;
        struct system_stat s;

        (void)state;
        for (size_t n = 0; n < size; n++)
                assert_int_equal(parse(text, n, &s), n < minimum ? -EINVAL : 0);

        for (size_t i = 0; i < size; i++) {
                for (size_t b = 0; b < sizeof(bytes) - 1; b++) {
                        char changed[sizeof(text)];

                        memcpy(changed, text, sizeof(text));
                        changed[i] = bytes[b];
                        if (parse(changed, size, &s) == 0) {
                                assert_true(s.pid > 0);
                                assert_true(s.parent >= 0);
                                assert_true(s.session >= 0);
                        }
                }
        }
}

static void test_negative_numbers(void **state)
{
        static const char text[] =
                "1 (a) S 0 -1 0 0 -1 0 1 2 3 4 -5 50 5 6 -20 -19 1 -3 123 0 -7 1\n";
        struct system_stat s = { 0 };

        (void)state;
        assert_int_equal(parse(text, strlen(text), &s), 0);
        assert_int_equal(s.cpu_ticks, 50);
        assert_int_equal(s.rss_pages, 0);
}

static void test_command(void **state)
{
        static const struct {
                const char *raw;
                size_t size;
                bool is_cut;
                const char *wanted;
        } cases[] = {
                { "", 0, false, "" },
                { "\0", 1, false, "" },
                { "\0\0\0", 3, false, "" },
                { "ls\0", 3, false, "ls" },
                { "ls\0-l\0/a b\0", 11, false, "ls -l /a b" },
                { "a\0\0b\0", 5, false, "a  b" },
                { "a\0\0\0", 4, false, "a" },
                { "title of a daemon\0\0\0\0", 21, false, "title of a daemon" },
                { "no NUL", 6, false, "no NUL" },
                { "a\nb\0", 4, false, "a\nb" },
                { "\xff\0\xfe\0", 4, false, "\xff \xfe" },
                { "ab\xe2\x82\xac", 5, true, "ab\xe2\x82\xac" },
                { "ab\xe2\x82", 4, true, "ab" },
                { "ab\xe2\x82", 4, false, "ab\xe2\x82" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CLEANUP(mem_free) char *copy = malloc(MAX(cases[i].size, (size_t)1));
                size_t n;

                assert_non_null(copy);
                memcpy(copy, cases[i].raw, cases[i].size);
                n = system_command_join(copy, cases[i].size, cases[i].is_cut);
                assert_int_equal(n, strlen(cases[i].wanted));
                assert_memory_equal(copy, cases[i].wanted, n);
        }
}

static void test_states(void **state)
{
        (void)state;
        assert_string_equal(system_state_name('R'), "running");
        assert_string_equal(system_state_name('D'), "disk-sleep");
        assert_string_equal(system_state_name('Z'), "zombie");
        assert_string_equal(system_state_name('q'), "unknown");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_line),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_broken_lines),
                cmocka_unit_test(test_mutations),
                cmocka_unit_test(test_command),
                cmocka_unit_test(test_states),
                cmocka_unit_test(test_negative_numbers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
