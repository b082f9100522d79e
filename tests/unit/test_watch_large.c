/* SPDX-License-Identifier: Apache-2.0 */

/* Trees that are deep, or wide. */

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/unit/watch_fixture.h"

/* Deeper than a path may be long: nftw cannot look at it, so the events are counted. */
static void test_deep(void **state)
{
        const unsigned depth = 1000;
        struct watch_options o;
        int fd = -1, next;
        struct watched w;

        watched_init(&w, *state);
        w.checks_nothing = true;
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);

        fd = open(w.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (unsigned i = 0; i < depth; i++) {
                assert_int_equal(mkdirat(fd, "a-rather-long-name", 0755), 0);
                next = openat(fd, "a-rather-long-name", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                assert_true(next >= 0);
                close(fd);
                fd = next;
        }
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, depth);

        next = openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(next >= 0);
        close(next);
        close(fd);
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, depth + 1);
        watched_done(&w);
}

/* Nothing under a sanitizer. */
static size_t memory_size(void)
{
        return mallinfo2().uordblks;
}

static void test_10000_directories(void **state)
{
        struct watch_options o;
        struct watched w;
        size_t before;
        char *path;

        watched_init(&w, *state);
        for (unsigned i = 0; i < 100; i++) {
                path = xasprintf("%s/d%u", w.root, i);
                watched_make_directory(path);
                free(path);
                for (unsigned j = 0; j < 100; j++) {
                        path = xasprintf("%s/d%u/d%u", w.root, i, j);
                        watched_make_directory(path);
                        free(path);
                }
        }
        o = watched_options(&w);
        w.checks_nothing = true;
        before = memory_size();
        watched_start(&w, &o);
        watched_wait_ready(&w);
        watched_wait_idle(&w);
        print_message("# an idle watch of 10,100 directories: %zu KiB\n",
                      (memory_size() - before) / KIB);
        assert_int_equal(w.watch->pass->mirror.n_watched, 10101);
        assert_int_equal(w.n_events, 0);

        path = xasprintf("%s/d99/d99/f", w.root);
        watched_make_file(path);
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 1);
        free(path);
        watched_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_deep, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_10000_directories, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
