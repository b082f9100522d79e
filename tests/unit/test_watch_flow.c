/* SPDX-License-Identifier: Apache-2.0 */

/* More than fits: the kernel's queue, a slow receiver; ends at any time, and several watches. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/lib/skip.h"
#include "tests/unit/watch_fixture.h"

static unsigned read_number(const char *path)
{
        FILE *file = fopen(path, "re");
        unsigned n = 16384;

        if (file) {
                if (fscanf(file, "%u", &n) != 1)
                        n = 16384;
                (void)fclose(file);
        }
        return n;
}

/* While the loop does not run, more happens than the kernel queues. */
static void test_overflow(void **state)
{
        unsigned n = read_number("/proc/sys/fs/inotify/max_queued_events") / 3 + 1000;
        char *inner, *moved, *kept;
        struct watch_options o;
        struct watched w;

        if (n > 50000)
                SKIP_TEST("the system queues more events than a test should cause");
        watched_init(&w, *state);
        inner = xasprintf("%s/inner", w.root);
        moved = xasprintf("%s/moved", w.root);
        kept = xasprintf("%s/kept", w.root);
        watched_make_directory(inner);
        watched_make_directory(kept);
        watched_make_files(inner, 100);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);

        for (unsigned i = 0; i < n; i++) {
                char *path = xasprintf("%s/f%u", w.root, i);

                watched_make_file(path);
                free(path);
        }
        /* Nothing of this is reported any more. */
        assert_int_equal(rename(inner, moved), 0);
        watched_make_files(kept, 100);
        assert_int_equal(path_remove_tree(kept), 0);
        watched_make_directory(kept);
        watched_make_files(kept, 60);
        watched_settle(&w);
        assert_int_equal(w.n_overflows, 1);

        /* All are watched again, the new ones too. */
        free(inner);
        inner = xasprintf("%s/d0/more", moved);
        watched_make_file(inner);
        free(inner);
        inner = xasprintf("%s/d0/d20/more", kept);
        watched_make_file(inner);
        watched_settle(&w);
        assert_int_equal(w.n_overflows, 1);
        free(inner);
        free(moved);
        free(kept);
        watched_done(&w);
}

/* At any time of its walk. */
static void test_free_while_walking(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        watched_make_files(w.root, 3000);
        for (unsigned i = 0; i < 30; i++) {
                o = watched_options(&w);
                o.reports_existing = true;
                watched_start(&w, &o);
                for (unsigned j = 0; j < i; j++)
                        (void)uv_run(&w.loop->uv, UV_RUN_NOWAIT);
                w.watch = watch_free(w.watch);
                replay_done(&w.replay);
                w.n_ready = 0;
        }
        watched_done(&w);
}

static void free_in_callback(struct watched *w)
{
        w->watch = watch_free(w->watch);
}

static int is_freed(void *arg)
{
        return ((struct watched *)arg)->watch == NULL;
}

static void test_free_in_callback(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        watched_make_files(w.root, 1000);
        w.on_batch = free_in_callback;
        o = watched_options(&w);
        o.reports_existing = true;
        watched_start(&w, &o);
        assert_true(loop_run_until(*state, is_freed, &w, HANG_MS));
        assert_int_equal(w.n_batches, 1);
        assert_int_equal(w.n_ready, 0);
        watched_done(&w);
}

static void test_pause(void **state)
{
        struct watch_options o;
        struct watched w;
        unsigned n_events;
        char *path;

        watched_init(&w, *state);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        path = xasprintf("%s/d", w.root);
        watched_make_directory(path);
        watched_make_files(path, 1000);
        while (w.n_events == 0)
                (void)uv_run(&w.loop->uv, UV_RUN_ONCE);
        watch_pause(w.watch, true);
        n_events = w.n_events;
        assert_int_equal(path_remove_tree(path), 0);
        watched_make_directory(path);
        watched_make_files(path, 400);
        watched_linger(&w, 150);
        assert_int_equal(w.n_events, n_events);
        assert_true(n_events <= 512);
        watch_pause(w.watch, false);
        watched_settle(&w);
        free(path);
        watched_done(&w);
}

/* More is written than is remembered while nobody takes it. */
static void test_pause_overflow(void **state)
{
        struct watch_options o;
        struct watched w;
        char name[16];

        watched_init(&w, *state);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        watch_pause(w.watch, true);
        /* As the kernel would report them; making so many files takes long. */
        for (unsigned i = 0; i <= LIMIT_WATCH_MARKS; i++) {
                (void)snprintf(name, sizeof(name), "%u", i);
                watch_hear(w.watch, w.watch->pass->mirror.root->folder->wd, IN_DELETE, 0, name);
        }
        assert_true(w.watch->marks.is_overflown);
        assert_int_equal(w.n_overflows, 0); /* nobody wants to know now */
        watch_pause(w.watch, false);
        watched_make_files(w.root, 200);
        watched_settle(&w);
        assert_int_equal(w.n_overflows, 1);
        watched_done(&w);
}

/* Two of the same tree, and one of a part of it, share the kernel's watches. */
static void test_overlapping(void **state)
{
        struct watched w, part = { 0 };
        struct error err = ERROR_INIT;
        struct watch_options o;
        struct watch *second;
        char *path;

        watched_init(&w, *state);
        path = xasprintf("%s/part", w.root);
        watched_make_directory(path);
        o = watched_options(&w);
        watched_start(&w, &o);

        part.root = path;
        part.loop = *state;
        part.watches = w.watches;
        o = watched_options(&part);
        watched_start(&part, &o);
        assert_int_equal(watch_new(w.watches, path, &o, &second, &err), 0);
        second = watch_free(second);
        watched_wait_ready(&w);
        watched_wait_ready(&part);

        watched_make_files(path, 400);
        watched_settle(&w);
        watched_settle(&part);

        /* What one does not want any more, the other one still does. */
        part.watch = watch_free(part.watch);
        watched_linger(&w, 50);
        assert_int_equal(path_remove_tree(path), 0);
        watched_make_directory(path);
        watched_make_files(path, 400);
        watched_settle(&w);

        replay_done(&part.replay);
        replay_done(&part.disk);
        buf_done(&part.log);
        free(path);
        watched_done(&w);
}

#define N_EQUAL 8

struct turns {
        uv_check_t turn;
        size_t n_in_turn;
        size_t n_most;
        size_t n_events;
        unsigned n_ready;
};

static void on_ready_of_many(struct watch *watch, void *arg)
{
        (void)watch;
        ((struct turns *)arg)->n_ready++;
}

static void on_events_of_many(struct watch *watch, const struct watch_event *events, size_t n,
                              void *arg)
{
        struct turns *t = arg;

        (void)watch;
        (void)events;
        t->n_in_turn += n;
        t->n_events += n;
        t->n_most = MAX(t->n_most, t->n_in_turn);
}

static void on_turn_of_many(uv_check_t *turn)
{
        ((struct turns *)turn->data)->n_in_turn = 0;
}

static int are_ready(void *arg)
{
        return ((struct turns *)arg)->n_ready == N_EQUAL;
}

static int have_told_all(void *arg)
{
        return ((struct turns *)arg)->n_events >= (size_t)N_EQUAL * 1050;
}

/* However many watches have something to tell, they hold up the loop no longer than one does. */
static void test_many_in_one_turn(void **state)
{
        struct watch *watches[N_EQUAL];
        struct turns turns = { .n_ready = 0 };
        struct error err = ERROR_INIT;
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        assert_int_equal(uv_check_init(&((struct loop *)*state)->uv, &turns.turn), 0);
        turns.turn.data = &turns;
        assert_int_equal(uv_check_start(&turns.turn, on_turn_of_many), 0);
        o = watched_options(&w);
        o.arg = &turns;
        o.on_ready = on_ready_of_many;
        o.on_events = on_events_of_many;
        for (unsigned i = 0; i < N_EQUAL; i++)
                assert_int_equal(watch_new(w.watches, w.root, &o, &watches[i], &err), 0);
        assert_true(loop_run_until(*state, are_ready, &turns, HANG_MS));
        watched_make_files(w.root, 1000); /* in 50 directories */
        assert_true(loop_run_until(*state, have_told_all, &turns, HANG_MS));
        assert_true(turns.n_most <= 256);
        for (unsigned i = 0; i < N_EQUAL; i++)
                watches[i] = watch_free(watches[i]);
        watched_done(&w);
        uv_close((uv_handle_t *)&turns.turn, NULL);
        (void)uv_run(&((struct loop *)*state)->uv, UV_RUN_NOWAIT); /* then it is closed */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_overflow, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_free_while_walking, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_free_in_callback, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_pause, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_pause_overflow, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_overlapping, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_many_in_one_turn, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
