/* SPDX-License-Identifier: Apache-2.0 */

/* Which directory is watched, and as whom: what a caller that checked the path first relies on. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/unit/watch_fixture.h"

static void set_root(struct watch_options *o, const char *path)
{
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        o->root_device = st.st_dev;
        o->root_inode = st.st_ino;
}

static void expect_gone(struct watched *w)
{
        assert_true(loop_run_until(w->loop, watched_has_ended_, w, HANG_MS));
        assert_int_equal(w->n_ready, 0);
        assert_int_equal(w->end, WATCH_GONE);
        assert_int_equal(w->error.code, -ENOENT);
        assert_int_equal(w->n_events, 0);
}

static void test_the_same(void **state)
{
        struct watch_options o;
        struct watched w;
        char *path;

        watched_init(&w, *state);
        o = watched_options(&w);
        set_root(&o, w.root);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        path = xasprintf("%s/a", w.root);
        assert_int_equal(mkdir(path, 0755), 0);
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 1);
        free(path);
        watched_done(&w);
}

/* Another directory has its place. */
static void test_another(void **state)
{
        struct watch_options o;
        struct watched w;
        char *outside;

        watched_init(&w, *state);
        o = watched_options(&w);
        outside = xasprintf("%s/outside", w.base);
        set_root(&o, outside);
        watched_start(&w, &o);
        expect_gone(&w);
        free(outside);
        watched_done(&w);
}

/* A link on the way leads elsewhere. */
static void test_a_link(void **state)
{
        struct watch_options o;
        struct watched w;
        char *moved, *outside;

        watched_init(&w, *state);
        o = watched_options(&w);
        set_root(&o, w.root);
        moved = xasprintf("%s/moved", w.base);
        outside = xasprintf("%s/outside", w.base);
        assert_int_equal(rename(w.root, moved), 0);
        assert_int_equal(symlink(outside, w.root), 0);
        w.checks_nothing = true;
        watched_start(&w, &o);
        expect_gone(&w);
        free(moved);
        free(outside);
        watched_done(&w);
}

static void test_missing(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = watched_options(&w);
        set_root(&o, w.root);
        assert_int_equal(rmdir(w.root), 0);
        w.checks_nothing = true;
        watched_start(&w, &o);
        expect_gone(&w);
        watched_done(&w);
}

/* What surrounds the work; the worker's. */
struct work {
        atomic_int depth;
        atomic_uint n;
        atomic_uint n_wrong; /* a worker must not fail a test */
        int r;
        unsigned n_freed;
};

static int begin(void *arg)
{
        struct work *work = arg;

        if (work->r < 0)
                return work->r;
        atomic_fetch_add(&work->n_wrong, atomic_fetch_add(&work->depth, 1) != 0);
        atomic_fetch_add(&work->n, 1);
        return 0;
}

static void end(void *arg)
{
        struct work *work = arg;

        atomic_fetch_add(&work->n_wrong, atomic_fetch_sub(&work->depth, 1) != 1);
}

static enum watch_interest ask(const char *path, bool is_directory, void *arg)
{
        struct work *work = arg;

        (void)path;
        (void)is_directory;
        atomic_fetch_add(&work->n_wrong, atomic_load(&work->depth) != 1);
        return WATCH_TREE;
}

static void on_freed(void *arg)
{
        ((struct work *)arg)->n_freed++;
}

static struct watch_options options_with(struct watched *w, struct work *work)
{
        struct watch_options o = watched_options(w);

        o.interest = ask;
        o.interest_arg = work;
        o.free_interest = on_freed;
        o.begin_work = begin;
        o.end_work = end;
        return o;
}

static int was_freed(void *arg)
{
        return ((struct work *)arg)->n_freed == 1;
}

static void test_work_is_surrounded(void **state)
{
        struct work work = { 0 };
        struct watch_options o;
        struct watched w;
        unsigned n_before;
        char *path;

        watched_init(&w, *state);
        o = options_with(&w, &work);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        n_before = atomic_load(&work.n);
        assert_true(n_before > 0);
        path = xasprintf("%s/a", w.root);
        assert_int_equal(mkdir(path, 0755), 0);
        watched_wait_idle(&w);
        assert_int_equal(w.n_events, 1);
        assert_true(atomic_load(&work.n) > n_before);
        w.watch = watch_free(w.watch);
        assert_true(loop_run_until(*state, was_freed, &work, HANG_MS));
        assert_int_equal(atomic_load(&work.depth), 0);
        assert_int_equal(atomic_load(&work.n_wrong), 0);
        free(path);
        watched_done(&w);
}

static void test_work_that_may_not_begin(void **state)
{
        struct work work = { .r = -EPERM };
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = options_with(&w, &work);
        watched_start(&w, &o);
        assert_true(loop_run_until(*state, watched_has_ended_, &w, HANG_MS));
        assert_int_equal(w.end, WATCH_FAILED);
        assert_int_equal(w.error.code, -EPERM);
        assert_int_equal(w.n_ready, 0);
        w.watch = watch_free(w.watch);
        assert_true(loop_run_until(*state, was_freed, &work, HANG_MS));
        assert_int_equal(atomic_load(&work.n), 0);
        watched_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_the_same, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_another, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_a_link, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_missing, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_work_is_surrounded, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_work_that_may_not_begin, loop_setup,
                                                loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
