/* SPDX-License-Identifier: Apache-2.0 */

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/clock.h"
#define LOG_MODULE "test"
#include "agent/base/log.h"

static int saved_stderr;
static int pipe_fds[2];
static char captured[16384];

/* From here to capture_end, stderr is a pipe. */
static void capture_begin(void)
{
        assert_int_equal(pipe(pipe_fds), 0);
        saved_stderr = dup(STDERR_FILENO);
        assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
}

static const char *capture_end(void)
{
        ssize_t n;

        assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
        close(saved_stderr);
        close(pipe_fds[1]);
        n = read(pipe_fds[0], captured, sizeof(captured) - 1);
        assert_true(n >= 0);
        close(pipe_fds[0]);
        captured[n] = '\0';
        return captured;
}

static int teardown(void **state)
{
        (void)state;
        clock_set_fake(0, -1);
        log_init(LOG_LEVEL_INFO, false);
        return 0;
}

static void test_line(void **state)
{
        (void)state;
        clock_set_fake(0, 1769594400);
        log_init(LOG_LEVEL_INFO, false);
        capture_begin();
        log_info("listening", "address=%s", "127.0.0.1:7777");
        log_error("lost", NULL);
        log_debug("not shown", "x=%d", 1);
        assert_string_equal(capture_end(),
                            "2026-01-28T10:00:00.000Z info test: listening address=127.0.0.1:7777\n"
                            "2026-01-28T10:00:00.000Z error test: lost\n");
}

static void test_journal(void **state)
{
        (void)state;
        log_init(LOG_LEVEL_DEBUG, true);
        capture_begin();
        log_error("a", NULL);
        log_warning("b", NULL);
        log_info("c", NULL);
        log_debug("d", "k=%d", 1);
        assert_string_equal(capture_end(), "<3>test: a\n<4>test: b\n<6>test: c\n<7>test: d k=1\n");
}

static int count_calls(int *n)
{
        return ++*n;
}

/* A line that is not written does not evaluate its arguments. */
static void test_levels(void **state)
{
        int n = 0;

        (void)state;
        log_init(LOG_LEVEL_ERROR, true);
        capture_begin();
        log_warning("a", "n=%d", count_calls(&n));
        assert_int_equal(n, 0);
        log_set_level(LOG_LEVEL_WARNING);
        log_warning("b", "n=%d", count_calls(&n));
        assert_string_equal(capture_end(), "<4>test: b n=1\n");
        assert_true(log_enabled(LOG_LEVEL_ERROR));
        assert_false(log_enabled(LOG_LEVEL_INFO));
}

static void test_long_line_is_cut(void **state)
{
        char text[10000];
        const char *line;

        (void)state;
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        log_init(LOG_LEVEL_INFO, true);
        capture_begin();
        log_info("long", "text=%s", text);
        log_info("next", NULL);
        line = capture_end();
        assert_int_equal(strcspn(line, "\n"), 4095);
        assert_string_equal(line + 4096, "<6>test: next\n");
}

/* A value that was not quoted cannot start a line of its own either. */
static void test_no_line_injection(void **state)
{
        (void)state;
        log_init(LOG_LEVEL_INFO, true);
        capture_begin();
        log_info("x", "v=%s", "a\n<3>fake: b\x1b[2J");
        assert_string_equal(capture_end(), "<6>test: x v=a?<3>fake: b?[2J\n");
}

static void test_quote(void **state)
{
        static const char *const rows[][2] = {
                { "plain", "plain" },
                { "/a/b.c:1,2@x", "/a/b.c:1,2@x" },
                { "", "\"\"" },
                { "two words", "\"two words\"" },
                { "a=b", "\"a=b\"" },
                { "say \"hi\"", "\"say \\\"hi\\\"\"" },
                { "back\\slash", "\"back\\\\slash\"" },
                { "line\nbreak\r", "\"line\\x0abreak\\x0d\"" },
                { "\x1b[31m", "\"\\x1b[31m\"" },
                { "na\xc3\xafve", "\"na\\xc3\\xafve\"" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                assert_string_equal(log_quote(rows[i][0]), rows[i][1]);
        assert_string_equal(log_quote(NULL), "-");
}

/* However little room there is: terminated, closed, no half escape. */
static void test_quote_cut(void **state)
{
        const char *s = "a b\n\"c\"\\ and so on";
        char dst[40];

        (void)state;
        for (size_t size = 1; size < sizeof(dst); size++) {
                size_t length;

                memset(dst, '#', sizeof(dst));
                assert_ptr_equal(log_quote_into(dst, size, s), dst);
                length = strnlen(dst, size);
                assert_true(length < size);
                assert_int_equal(dst[size], '#');
                if (length == 0)
                        continue;
                assert_true(length >= 2);
                assert_int_equal(dst[0], '"');
                assert_int_equal(dst[length - 1], '"');
                for (size_t i = 1; i < length - 1; i++) {
                        assert_int_not_equal(dst[i], '"');
                        if (dst[i] == '\\')
                                i += dst[i + 1] == 'x' ? 3 : 1;
                        assert_true(i < length - 1);
                }
        }
        assert_string_equal(log_quote_into(dst, 4, "abc"), "abc");
        assert_string_equal(log_quote_into(dst, 4, "abcd"), "\"a\"");
}

static void test_format(void **state)
{
        char line[256];
        size_t n;

        (void)state;
        log_init(LOG_LEVEL_INFO, true);
        n = log_format(line, sizeof(line), LOG_LEVEL_INFO, "m", "e", "k=%d", 1);
        assert_int_equal(n, strlen("<6>m: e k=1\n"));
        assert_memory_equal(line, "<6>m: e k=1\n", n);
        n = log_format(line, sizeof(line), LOG_LEVEL_INFO, "m", "e", "k=%400d", 1);
        assert_int_equal(n, sizeof(line));
        assert_int_equal(line[n - 1], '\n');
}

static void test_stderr_is_journal(void **state)
{
        char stream[64];
        struct stat st;

        (void)state;
        assert_int_equal(fstat(STDERR_FILENO, &st), 0);
        (void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
                       (uintmax_t)st.st_ino);
        assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
        assert_true(log_stderr_is_journal());
        assert_int_equal(setenv("JOURNAL_STREAM", "1:2", 1), 0);
        assert_false(log_stderr_is_journal());
        assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
        assert_false(log_stderr_is_journal());
}

#define TEST(fn) cmocka_unit_test_teardown(fn, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_line),
                TEST(test_journal),
                TEST(test_levels),
                TEST(test_long_line_is_cut),
                TEST(test_no_line_injection),
                TEST(test_quote),
                TEST(test_quote_cut),
                TEST(test_format),
                TEST(test_stderr_is_journal),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
