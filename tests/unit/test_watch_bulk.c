/* SPDX-License-Identifier: Apache-2.0 */

/* Many changes at a time. */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/lib/skip.h"
#include "tests/unit/watch_fixture.h"

struct task {
        pthread_t thread;
        struct watched *w;
        void (*fn)(struct watched *w);
        int is_done;
};

static void *run_task(void *arg)
{
        struct task *t = arg;

        t->fn(t->w);
        __atomic_store_n(&t->is_done, 1, __ATOMIC_RELEASE);
        return NULL;
}

static int task_is_done(void *arg)
{
        return __atomic_load_n(&((struct task *)arg)->is_done, __ATOMIC_ACQUIRE);
}

/* @fn changes the disk on a thread, while the loop runs. */
static void run_beside(struct watched *w, void (*fn)(struct watched *w))
{
        struct task t = { .w = w, .fn = fn };

        assert_int_equal(pthread_create(&t.thread, NULL, run_task, &t), 0);
        assert_true(loop_run_until(w->loop, task_is_done, &t, HANG_MS));
        assert_int_equal(pthread_join(t.thread, NULL), 0);
}

static void make_2000_files(struct watched *w)
{
        watched_make_files(w->root, 2000);
}

static void remove_everything(struct watched *w)
{
        for (unsigned i = 0; i < 2000; i += 200) {
                char *path = xasprintf("%s/d%u", w->root, i);

                if (path_remove_tree(path) < 0)
                        abort();
                free(path);
        }
}

static size_t count(const struct buf *log, const char *word)
{
        size_t n = 0;

        for (const char *at = log->data; at && (at = strstr(at, word)); at++)
                n++;
        return n;
}

static void test_unpack_and_remove(void **state)
{
        struct watch_options o;
        struct watched w;

        watched_init(&w, *state);
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        run_beside(&w, make_2000_files);
        watched_settle(&w);
        assert_int_equal(w.replay.n, 2100);
        assert_int_equal(count(&w.log, "created "), 2100); /* each once */
        assert_int_equal(count(&w.log, "deleted "), 0);

        run_beside(&w, remove_everything);
        watched_settle(&w);
        assert_int_equal(w.replay.n, 0);
        assert_int_equal(count(&w.log, "deleted "), 2100);
        assert_int_equal(w.n_overflows, 0);
        watched_done(&w);
}

static void run_git(struct watched *w, const char *command)
{
        char *line = xasprintf("cd '%s' && export HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 "
                               "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a "
                               "GIT_COMMITTER_EMAIL=a@a; { %s; } >/dev/null 2>&1",
                               w->root, command);

        if (system(line) != 0) // NOLINT: no input but ours
                abort();
        free(line);
}

static void check_out_old(struct watched *w)
{
        run_git(w, "git checkout old");
}

static void check_out_new(struct watched *w)
{
        run_git(w, "git checkout new");
}

static void test_checkout(void **state)
{
        struct watch_options o;
        struct watched w;

        if (system("git --version >/dev/null 2>&1") != 0) // NOLINT
                SKIP_TEST("no git here");
        watched_init(&w, *state);
        watched_make_files(w.root, 600);
        run_git(&w, "git init -q && git checkout -q -b old && git add . && git commit -q -m old");
        run_git(&w, "git checkout -q -b new && git rm -q -r d0 && git mv d200 renamed && "
                    "for i in 1 2 3; do mkdir -p n$i/m; for j in $(seq 100); do echo $j >n$i/m/$j; "
                    "echo $j >>renamed/$j; done; done; git add . && git commit -q -m new");
        o = watched_options(&w);
        watched_start(&w, &o);
        watched_wait_ready(&w);
        for (unsigned i = 0; i < 2; i++) {
                run_beside(&w, check_out_old);
                run_beside(&w, check_out_new);
        }
        watched_settle(&w);
        run_beside(&w, check_out_old);
        watched_settle(&w);
        assert_true(w.n_events > 1000);
        watched_done(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_unpack_and_remove, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_checkout, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
