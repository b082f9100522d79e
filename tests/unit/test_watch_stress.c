/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that change a tree at random, as fast as they can, while it is watched: what was told, replayed, is what is
 * on the disk at the end. WATCH_STRESS_SEED repeats one run, WATCH_STRESS_ROUNDS sets how many there are. */

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/watch/watch.h"
#include "tests/unit/watch_fixture.h"

#define N_NAMES   6
#define MAX_DEPTH 5

struct vandal {
        pthread_t thread;
        uint64_t state;
        const char *base;
        const char *root;
        unsigned n_changes;
        unsigned pause_us; /* after some of the changes */
        unsigned n_done;   /* of them, how many did something */
};

static unsigned pick(struct vandal *v, unsigned n)
{
        v->state ^= v->state << 13;
        v->state ^= v->state >> 7;
        v->state ^= v->state << 17;
        return (unsigned)((v->state >> 20) % n);
}

/* Names are few, so that they meet each other; the directory exists, unless another thread just removed it. Some are
 * outside of the tree. */
static void pick_path(struct vandal *v, char *ret, size_t size)
{
        unsigned depth = pick(v, MAX_DEPTH);
        struct stat st;
        size_t at;

        if (pick(v, 12) == 0)
                at = (size_t)snprintf(ret, size, "%s/outside", v->base);
        else
                at = (size_t)snprintf(ret, size, "%s", v->root);
        for (;;) {
                at += (size_t)snprintf(ret + at, size - at, "/%c", 'a' + (int)pick(v, N_NAMES));
                if (depth-- == 0 || lstat(ret, &st) < 0 || !S_ISDIR(st.st_mode))
                        return;
        }
}

static bool write_some(const char *path, int flags)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
        bool is_done = fd >= 0 && write(fd, "xyz", 3) == 3;

        if (fd >= 0)
                close(fd);
        return is_done;
}

static bool change(struct vandal *v)
{
        char a[512], b[512];

        pick_path(v, a, sizeof(a));
        pick_path(v, b, sizeof(b));
        switch (pick(v, 16)) {
        case 0:
        case 1:
        case 2:
        case 3:
                return mkdir(a, 0755) == 0;
        case 4:
        case 5:
        case 6:
                return write_some(a, O_CREAT);
        case 7:
                return write_some(a, O_APPEND);
        case 8:
                return unlink(a) == 0;
        case 9:
                return rmdir(a) == 0;
        case 10:
                return symlink(a, b) == 0;
        case 11:
                return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0;
        case 12:
                return pick(v, 16) == 0 && path_remove_tree(a) == 0;
        default:
                return rename(a, b) == 0;
        }
}

static void *run_vandal(void *arg)
{
        struct vandal *v = arg;

        for (unsigned i = 0; i < v->n_changes; i++) {
                v->n_done += change(v);
                if (v->pause_us > 0 && pick(v, 8) == 0)
                        (void)nanosleep(
                                &(struct timespec){ .tv_nsec = 1000 * (long)pick(v, v->pause_us) },
                                NULL);
        }
        return NULL;
}

struct crew {
        struct vandal *vandals;
        unsigned n;
        pthread_t thread;
        int is_done;
};

static void *run_crew(void *arg)
{
        struct crew *c = arg;

        for (unsigned i = 0; i < c->n; i++)
                assert(pthread_create(&c->vandals[i].thread, NULL, run_vandal, &c->vandals[i]) ==
                       0);
        for (unsigned i = 0; i < c->n; i++)
                assert(pthread_join(c->vandals[i].thread, NULL) == 0);
        __atomic_store_n(&c->is_done, 1, __ATOMIC_RELEASE);
        return NULL;
}

static int crew_is_done(void *arg)
{
        return __atomic_load_n(&((struct crew *)arg)->is_done, __ATOMIC_ACQUIRE);
}

static enum watch_interest ignore_d(const char *path, bool is_directory, void *arg)
{
        (void)is_directory;
        (void)arg;
        return strncmp(path, "d/d", 3) == 0 && (path[3] == '/' || !path[3]) ? WATCH_IGNORE
                                                                            : WATCH_TREE;
}

/* The same for what is on the disk. */
static void forget_ignored(struct replay *r, const char *root)
{
        char *path = xasprintf("%s/d/d", root);
        size_t from, to;

        replay_below(r, path, &from, &to);
        replay_cut(r, from, to);
        from = replay_bound(r, path);
        if (replay_find(r, path))
                replay_cut(r, from, from + 1);
        free(path);
}

static void run_round(struct loop *l, uint64_t seed)
{
        struct vandal vandals[3];
        struct crew crew = { .vandals = vandals, .n = 1 + seed % 3 };
        struct watch_options o;
        struct watched w;

        watched_init(&w, l);
        for (unsigned i = 0; i < crew.n; i++) {
                vandals[i] = (struct vandal){ .state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) +
                                                       i,
                                              .base = w.base,
                                              .root = w.root,
                                              .n_changes = 2500,
                                              .pause_us = seed % 4 == 0 ? 0 : 400 };
                for (unsigned n = 0; n < 200; n++)
                        (void)change(&vandals[i]);
        }
        o = watched_options(&w);
        o.coalesce_ms = 1 + (unsigned)(seed % 5) * 7;
        o.reports_existing = seed % 2 == 0;
        if (seed % 5 == 3) {
                o.interest = ignore_d;
                o.interest_by_path = true;
        }
        watched_start(&w, &o);
        if (o.interest)
                forget_ignored(&w.replay, w.root);
        if (!o.reports_existing)
                watched_wait_ready(&w);

        assert_int_equal(pthread_create(&crew.thread, NULL, run_crew, &crew), 0);
        assert_true(loop_run_until(l, crew_is_done, &crew, HANG_MS));
        assert_int_equal(pthread_join(crew.thread, NULL), 0);

        replay_scan(&w.disk, w.root);
        if (o.interest)
                forget_ignored(&w.disk, w.root);
        watched_wait_idle(&w);
        if (!replay_equals(&w.replay, &w.disk)) {
                watched_explain_(&w);
                fail_msg("what was told is not what is on the disk; seed %llu",
                         (unsigned long long)seed);
        }
        assert_int_equal(w.n_ends, 0);
        assert_true(w.n_events > 0);
        for (unsigned i = 0; i < crew.n; i++)
                assert_true(vandals[i].n_done > 500);
        if (getenv("WATCH_STRESS_SEED"))
                print_message(
                        "# %u changes of the first thread, %u events in %u batches, %zu entries\n",
                        vandals[0].n_done, w.n_events, w.n_batches, w.disk.n);
        watched_done(&w);
}

static void test_random_changes(void **state)
{
        const char *chosen = getenv("WATCH_STRESS_SEED"), *rounds = getenv("WATCH_STRESS_ROUNDS");
        uint64_t first = chosen ? strtoull(chosen, NULL, 10) : clock_now_us() % 1000000;
        unsigned n = chosen ? 1 : rounds ? (unsigned)strtoul(rounds, NULL, 10) : 4;

        for (unsigned i = 0; i < n; i++) {
                print_message("# seed %llu\n", (unsigned long long)(first + i));
                run_round(*state, first + i);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_random_changes, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
