/* SPDX-License-Identifier: Apache-2.0 */

/* No descriptors left, rights that come and go, and a root that goes in ways that nobody reports. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/lib/skip.h"
#include "tests/unit/watch_fixture.h"

#define SOMEBODY 65534

/* @n more descriptors may be opened. Returns the limit as it was. */
static struct rlimit allow_files(unsigned n)
{
        struct rlimit before, now;
        int fds[8] = { -1 };

        assert_true(n > 0 && n <= ARRAY_LEN(fds));
        for (unsigned i = 0; i < n; i++) {
                fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                assert_true(fds[i] >= 0);
        }
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = (rlim_t)fds[n - 1] + 1;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        for (unsigned i = 0; i < n; i++)
                close(fds[i]);
        return before;
}

static void make(struct watched *w, const char *name, bool is_directory)
{
        char *path = xasprintf("%s/%s", w->root, name);

        if (is_directory)
                watched_make_directory(path);
        else
                watched_make_file(path);
        free(path);
}

static void change_mode(struct watched *w, const char *name, mode_t mode)
{
        char *path = xasprintf("%s/%s", w->root, name);

        assert_int_equal(chmod(path, mode), 0);
        free(path);
}

static void expect_log(const struct watched *w, const char *log)
{
        assert_string_equal(w->log.data ? w->log.data : "", log);
}

static void expect_end(struct watched *w, enum watch_end end, int code)
{
        assert_true(loop_run_until(w->loop, watched_has_ended_, w, HANG_MS));
        assert_int_equal(w->end, end);
        assert_int_equal(w->error.code, code);
}

/* Nobody is told that the watch has begun when it has not. */
static void test_no_descriptor_for_the_root(void **state)
{
        struct watch_options o;
        struct rlimit before;
        struct watched w;

        watched_init(&w, *state);
        make(&w, "a", false);
        o = watched_options(&w);
        before = allow_files(1); /* inotify's */
        watched_start(&w, &o);
        expect_end(&w, WATCH_FAILED, -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(w.n_ready, 0);
        watched_done(&w);
}

/* What was there before is not told as new. */
static void test_no_descriptor_below(void **state)
{
        struct watch_options o;
        struct rlimit before;
        struct watched w;

        watched_init(&w, *state);
        make(&w, "d", true);
        make(&w, "d/a", false);
        o = watched_options(&w);
        replay_scan(&w.replay, w.root);
        w.checks_nothing = true; /* for now: that needs descriptors */
        before = allow_files(2); /* and the root's */
        watched_start(&w, &o);
        w.checks_nothing = false;
        watched_linger(&w, 50);
        if (w.n_ends > 0)
                fail_msg("%s", w.error.message);
        assert_int_equal(w.n_ready, 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        watched_wait_ready(&w);
        watched_settle(&w);
        expect_log(&w, "");
        make(&w, "d/b", false);
        watched_settle(&w);
        expect_log(&w, "created d/b\n");
        watched_done(&w);
}

static void be_somebody(bool is_somebody)
{
        assert_int_equal(seteuid(is_somebody ? SOMEBODY : 0), 0);
}

/* A directory with names that may be read, but not what they are. */
static void test_not_searchable(void **state)
{
        struct watch_options o;
        struct watched w;

        if (geteuid() != 0)
                SKIP_TEST("only root becomes somebody else");
        watched_init(&w, *state);
        make(&w, "d", true);
        make(&w, "d/a", false);
        change_mode(&w, "d", 0744);
        assert_int_equal(chmod(w.base, 0755), 0);
        be_somebody(true);
        w.checks_nothing = true;
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        be_somebody(false);
        change_mode(&w, "d", 0755);
        be_somebody(true);
        watched_wait_idle(&w);
        expect_log(&w, "modified d/\ncreated d/a\n");
        be_somebody(false);
        watched_done(&w);
}

static int has_told_both(void *arg)
{
        const struct watched *w = arg;

        return w->log.data && strstr(w->log.data, "created d/b\n") &&
               strstr(w->log.data, "created c\n");
}

/* What happens while the root may not be read is told when it may be. */
static void test_root_that_is_closed_for_a_while(void **state)
{
        struct watch_options o;
        struct watched w;

        if (geteuid() != 0)
                SKIP_TEST("only root becomes somebody else");
        watched_init(&w, *state);
        make(&w, "d", true);
        make(&w, "d/a", false);
        assert_int_equal(chmod(w.base, 0755), 0);
        w.checks_nothing = true;
        be_somebody(true);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);

        be_somebody(false);
        change_mode(&w, ".", 0700);
        make(&w, "d/b", false);
        make(&w, "c", false);
        be_somebody(true);
        watched_linger(&w, 100);
        assert_int_equal(w.n_ends, 0);
        expect_log(&w, "");
        be_somebody(false);
        change_mode(&w, ".", 0755);
        be_somebody(true);
        assert_true(loop_run_until(*state, has_told_both, &w, HANG_MS));
        be_somebody(false);
        watched_done(&w);
}

/* The kernel says nothing as long as somebody is in it. */
static void test_root_that_is_removed_under_somebody(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        assert_int_equal(chdir(w.root), 0);
        assert_int_equal(rmdir(w.root), 0);
        expect_end(&w, WATCH_GONE, -ENOENT);
        assert_int_equal(chdir("/"), 0);
        watched_done(&w);
}

/* What is above it is moved, which is not reported either. */
static void test_way_to_the_root_that_is_moved(void **state)
{
        char *inner, *moved, *root;
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        make(&w, "inner", true);
        root = w.root;
        inner = xasprintf("%s/inner", root);
        moved = xasprintf("%s/moved", w.base);
        w.root = inner;
        make(&w, "a", false);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        assert_int_equal(rename(root, moved), 0);
        expect_end(&w, WATCH_GONE, -ENOENT);
        expect_log(&w, "deleted a\n");
        w.root = root;
        free(inner);
        free(moved);
        watched_done(&w);
}

/* All that was below it is told as deleted first. */
static void test_content_of_a_root_that_goes(void **state)
{
        struct watch_options o;
        struct watched w;
        char *elsewhere;

        for (unsigned is_removed = 0; is_removed < 2; is_removed++) {
                watched_init(&w, *state);
                make(&w, "d", true);
                make(&w, "d/a", false);
                o = watched_options(&w);
                watched_start(&w, &o);
                watched_wait_ready(&w);
                elsewhere = xasprintf("%s/elsewhere", w.base);
                if (is_removed)
                        assert_int_equal(path_remove_tree(w.root), 0);
                else
                        assert_int_equal(rename(w.root, elsewhere), 0);
                free(elsewhere);
                expect_end(&w, WATCH_GONE, -ENOENT);
                expect_log(&w, "deleted d/a\ndeleted d/\n");
                watched_done(&w);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_no_descriptor_for_the_root),
                TEST(test_no_descriptor_below),
                TEST(test_not_searchable),
                TEST(test_root_that_is_closed_for_a_while),
                TEST(test_root_that_is_removed_under_somebody),
                TEST(test_way_to_the_root_that_is_moved),
                TEST(test_content_of_a_root_that_goes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
