/* SPDX-License-Identifier: Apache-2.0 */

/* The kernel's limits and ours. The kernel's are lowered in a user namespace, so that nobody else feels it: that takes
 * a process of its own, with one thread. */

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/lib/skip.h"
#include "tests/unit/watch_fixture.h"

#define SKIPPED 77

static void make_directories(const char *root, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                char *path = xasprintf("%s/%u", root, i);

                assert_int_equal(mkdir(path, 0755), 0);
                free(path);
        }
}

static void make_link(struct watched *w, const char *name)
{
        char *path = xasprintf("%s/%s", w->root, name);

        assert_int_equal(symlink("somewhere", path), 0);
        free(path);
}

static void make_directory(struct watched *w, const char *name)
{
        char *path = xasprintf("%s/%s", w->root, name);

        assert_int_equal(mkdir(path, 0755), 0);
        free(path);
}

static void remove_directory(struct watched *w, const char *name)
{
        char *path = xasprintf("%s/%s", w->root, name);

        assert_int_equal(rmdir(path), 0);
        free(path);
}

/* One more than the limit at the start, and one more later. */
static void test_entries(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        w.checks_nothing = true;
        make_directories(w.root, 10);
        o = watched_options(&w);
        o.max_entries = 9;
        watched_start(&w, &o);
        assert_true(loop_run_until(*state, watched_has_ended_, &w, HANG_MS));
        assert_int_equal(w.n_ready, 0);
        assert_int_equal(w.end, WATCH_FAILED);
        assert_int_equal(w.error.code, -E2BIG);
        assert_non_null(strstr(w.error.message, "more than 9"));
        w.watch = watch_free(w.watch);
        w.n_ends = 0;

        o.max_entries = 10;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        remove_directory(&w, "9");
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 1);
        make_link(&w, "x");
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 2);
        make_link(&w, "y");
        assert_true(loop_run_until(*state, watched_has_ended_, &w, HANG_MS));
        assert_int_equal(w.error.code, -E2BIG);
        assert_int_equal(w.n_events, 2);
        watched_done(&w);
}

static int nothing_is_left(void *arg)
{
        struct watch_totals all;

        (void)arg;
        watch_count_all(&all);
        return all.n_watches + all.n_directories + all.n_entries == 0;
}

/* Of two watches, the one that needs too much ends; the other one goes on. All is counted, until nothing is left. */
static void test_entries_of_all(void **state)
{
        struct watch_totals all;
        struct watch_options o;
        struct watched w, v;

        watched_init(&w, *state);
        watched_init(&v, *state);
        make_directories(w.root, 3);
        make_directories(v.root, 3);
        o = watched_options(&w);
        o.max_entries_all = 5;
        watched_start(&w, &o);
        watched_wait_ready(&w);
        watch_count_all(&all);
        assert_int_equal(all.n_watches, 1);
        assert_int_equal(all.n_directories, 4);
        assert_int_equal(all.n_entries, 3);

        o = watched_options(&v);
        o.max_entries_all = 5;
        watched_start(&v, &o);
        assert_true(loop_run_until(*state, watched_has_ended_, &v, HANG_MS));
        assert_int_equal(v.error.code, -E2BIG);
        assert_non_null(strstr(v.error.message, "more than 5"));
        watched_done(&v);
        make_directory(&w, "more");
        watched_settle(&w);
        remove_directory(&w, "more");
        watched_settle(&w);
        watched_done(&w);
        assert_true(loop_run_until(*state, nothing_is_left, NULL, HANG_MS));
}

static void test_watches(void **state)
{
        struct watch *all[LIMIT_WATCHES_ALL], *none = NULL;
        struct error err = ERROR_INIT;
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = watched_options(&w);
        for (unsigned i = 0; i < LIMIT_WATCHES_ALL; i++)
                assert_int_equal(watch_new(w.watches, w.root, &o, &all[i], &err), 0);
        assert_int_equal(watch_new(w.watches, w.root, &o, &none, &err), -EAGAIN);
        assert_non_null(strstr(err.message, "128"));
        all[0] = watch_free(all[0]);
        assert_int_equal(watch_new(w.watches, w.root, &o, &all[0], &err), 0);
        for (unsigned i = 0; i < LIMIT_WATCHES_ALL; i++)
                all[i] = watch_free(all[i]);
        watched_done(&w);
}

static void test_open_files(void **state)
{
        struct rlimit before, none = { 0 };
        struct error err = ERROR_INIT;
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = watched_options(&w);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none.rlim_max = before.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(watch_new(w.watches, w.root, &o, &w.watch, &err), -EMFILE);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_null(strstr(err.message, "sysctl"));

        /* While there are none for a moment, it is looked at later. */
        w.checks_nothing = true;
        make_directories(w.root, 3);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        make_directory(&w, "more");
        make_directory(&w, "more/below");
        watched_linger(&w, 200);
        assert_int_equal(w.n_events, 0);
        assert_int_equal(w.n_ends, 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 2);
        watched_done(&w);
}

static void write_limit(const char *path, const char *value)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t)strlen(value))
                _exit(SKIPPED);
        close(fd);
}

/* Runs @fn in a child, with one limit of a new user namespace set. */
static void run_limited(const char *limit, const char *value, int (*fn)(void))
{
        int status;
        pid_t pid;

        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (unshare(CLONE_NEWUSER) < 0)
                        _exit(SKIPPED);
                write_limit(limit, value);
                _exit(fn());
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == SKIPPED)
                SKIP_TEST("no user namespaces here");
        assert_int_equal(WEXITSTATUS(status), 0);
}

struct ended {
        bool has_ended;
        struct error error;
};

static void on_no_events(struct watch *w, const struct watch_event *events, size_t n, void *arg)
{
        (void)w;
        (void)events;
        (void)n;
        (void)arg;
}

static void on_ended(struct watch *w, enum watch_end end, const struct error *err, void *arg)
{
        struct ended *e = arg;

        (void)w;
        (void)end;
        e->has_ended = true;
        e->error = *err;
}

static int is_over(void *arg)
{
        return ((struct ended *)arg)->has_ended;
}

/* 0: it fails with @code and a message that names @sysctl, and the loop is empty afterwards. */
static int try_to_watch(const char *root, int code, const char *sysctl)
{
        struct ended e = { .has_ended = false };
        struct watch_options o = {
                .is_recursive = true, .on_events = on_no_events, .on_end = on_ended, .arg = &e
        };
        struct watches *ws;
        struct watch *w = NULL;
        struct loop loop;
        int r;

        if (loop_init(&loop) < 0)
                return 2;
        ws = watches_new(&loop);
        r = watch_new(ws, root, &o, &w, &e.error);
        if (r == 0)
                (void)loop_run_until(&loop, is_over, &e, HANG_MS);
        if (e.error.code != code || !strstr(e.error.message, sysctl)) {
                fprintf(stderr, "# %d: %s\n", e.error.code, e.error.message);
                return 3;
        }
        watch_free(w);
        watches_free(ws);
        return loop_close(&loop) == 0 ? 0 : 4;
}

static char limited_root[64];

static int too_few_watches(void)
{
        return try_to_watch(limited_root, -ENOSPC, "fs.inotify.max_user_watches");
}

static int too_few_instances(void)
{
        return try_to_watch(limited_root, -EMFILE, "fs.inotify.max_user_instances");
}

/* The child has its own loop: one with threads must not be there when it is forked. */
static void test_kernel_watches(void **state)
{
        (void)state;
        run_limited("/proc/sys/user/max_inotify_watches", "10", too_few_watches);
}

static void test_kernel_instances(void **state)
{
        (void)state;
        run_limited("/proc/sys/user/max_inotify_instances", "0", too_few_instances);
}

static int make_limited(void **state)
{
        (void)state;
        (void)snprintf(limited_root, sizeof(limited_root), "/tmp/test-watch-XXXXXX");
        if (!mkdtemp(limited_root))
                return -1;
        make_directories(limited_root, 20);
        return 0;
}

static int remove_limited(void **state)
{
        (void)state;
        return path_remove_tree(limited_root);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kernel_watches),
                cmocka_unit_test(test_kernel_instances),
                cmocka_unit_test_setup_teardown(test_entries, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_entries_of_all, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_watches, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_open_files, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, make_limited, remove_limited);
}
