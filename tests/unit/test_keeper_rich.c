/* SPDX-License-Identifier: Apache-2.0 */

/* What a background job displays: which lines its keeper writes down. */

#include "tests/unit/keeper_fixture.h"

#define SAY(text) "echo '" text "' >&4\n"

static void start(void **state, struct job *j, const char *script, uint64_t max_size)
{
        job_start(*state, j,
                  (struct job_options){
                          .argv = SCRIPT(script), .has_rich = true, .rich_max_size = max_size });
}

static void expect_lines(const struct job *j, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/" KEEPER_RICH, j->dir);
        char content[8192];
        FILE *file = fopen(path, "re");
        size_t n;

        assert_non_null(file);
        n = fread(content, 1, sizeof(content) - 1, file);
        (void)fclose(file);
        content[n] = '\0';
        assert_string_equal(content, text);
        assert_int_equal(j->status.rich_size, n);
}

static void test_lines(void **state)
{
        struct job j;

        start(state, &j,
              "echo out\nprintf 'on' >&4\nsleep 0.02\n" SAY("e") "echo >&4\n" SAY(
                      "two") "echo err >&2\n",
              KIB);
        job_wait_gone(&j);
        expect_lines(&j, "one\ntwo\n");
        job_expect_output(&j, JOBLOG_STDOUT, "out\n");
        job_expect_output(&j, JOBLOG_STDERR, "err\n");
        job_done(&j);
}

/* No file, and without has_rich no descriptor either. */
static void test_nothing(void **state)
{
        CLEANUP(mem_free) char *path = NULL;
        struct job j;

        start(state, &j, "true", KIB);
        job_wait_gone(&j);
        path = xasprintf("%s/" KEEPER_RICH, j.dir);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(j.status.rich_size, 0);
        job_done(&j);

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("echo x >&4") });
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 1);
        job_done(&j);
}

/* Whole lines, or none; the first ones; and then how many there were more. */
static void test_limit(void **state)
{
        struct job j;

        start(state, &j,
              SAY("first") "head -c 100000 /dev/zero | tr '\\0' x >&4\necho >&4\n" SAY(
                      "second") "head -c 2000 /dev/zero | tr '\\0' y >&4\n",
              KIB);
        job_wait_gone(&j);
        expect_lines(&j, "first\nsecond\n{\"dropped\":2}\n");
        job_done(&j);
}

static void test_a_line_without_an_end(void **state)
{
        struct job j;

        start(state, &j,
              SAY("first") "head -c 2000 /dev/zero | tr '\\0' y >&4\necho >&4\nprintf half >&4",
              KIB);
        job_wait_gone(&j);
        expect_lines(&j, "first\nhalf\n{\"dropped\":1}\n");
        job_done(&j);

        start(state, &j, SAY("first") "printf half >&4; kill -9 $$", KIB);
        job_wait_gone(&j);
        expect_lines(&j, "first\nhalf");
        job_done(&j);
}

static void test_many_lines(void **state)
{
        struct job j;

        start(state, &j, "yes line | head -n 100000 >&4", 4);
        job_wait_gone(&j);
        assert_in_range(j.status.rich_size, 1, KIB + 100);
        job_done(&j);
}

/* In pieces that end anywhere: each line is there, up to the limit, or counted. Empty ones are neither. */
static void test_short_lines(void **state)
{
        CLEANUP(mem_free) char *path = NULL;
        unsigned n = 0, dropped = 0, value;
        struct job j;
        char line[64];
        FILE *file;

        start(state, &j, "seq 1 100000 | sed G >&4", 256 * KIB);
        job_wait_gone(&j);
        path = xasprintf("%s/" KEEPER_RICH, j.dir);
        file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file)) {
                assert_int_equal(dropped, 0);
                if (sscanf(line, "{\"dropped\":%u}", &dropped) == 1)
                        continue;
                assert_int_equal(sscanf(line, "%u", &value), 1);
                assert_int_equal(value, ++n);
        }
        (void)fclose(file);
        assert_int_equal(n + dropped, 100000);
        assert_in_range(j.status.rich_size, 256 * KIB - 6, 256 * KIB + 32);
        job_done(&j);
}

/* Who holds that descriptor alone puts off nothing, and writes into the void. */
static void test_somebody_else_holds_it(void **state)
{
        struct job j;

        start(state, &j, SAY("kept") "(exec >/dev/null 2>&1; exec sleep 60) &\n", KIB);
        job_wait(&j);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        expect_lines(&j, "kept\n");
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);
}

static void test_terminal_has_none(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("test -e /proc/self/fd/4 || echo none"),
                                        .has_terminal = true,
                                        .has_rich = true,
                                        .rich_max_size = KIB,
                                        .size = { 80, 24 } });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "none\r\n");
        job_done(&j);
}

/* The next agent knows the same. */
static void test_found_again(void **state)
{
        struct job j, again;

        start(state, &j, SAY("kept"), KIB);
        job_wait_gone(&j);
        job_find(&j, &again);
        job_wait(&again);
        assert_int_equal(again.status.rich_size, 5);
        job_done(&again);
        job_done(&j);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                KEPT(test_lines),
                KEPT(test_nothing),
                KEPT(test_limit),
                KEPT(test_a_line_without_an_end),
                KEPT(test_many_lines),
                KEPT(test_short_lines),
                KEPT(test_somebody_else_holds_it),
                KEPT(test_terminal_has_none),
                KEPT(test_found_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
