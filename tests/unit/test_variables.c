/* SPDX-License-Identifier: Apache-2.0 */

/* The global variables without any HTTP: batches, their order, the file, and the end. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "proc/variables_private.h"
#include "tests/lib/loop_fixture.h"

#define DEADLINE_MS 20000
#define YEAR_3000   ((int64_t)32503680000 * 1000000)

struct outcome {
        bool is_done;
        int result;
        size_t n_removed;
};

struct fixture {
        struct loop *loop;
        struct variables *v;
        char dir[40];
        unsigned n_changes;
        bool is_closed;
};

static void on_change(void *arg)
{
        ((struct fixture *)arg)->n_changes++;
}

static void open_variables(struct fixture *f)
{
        f->v = variables_new(f->loop, f->dir, true);
        variables_watch(f->v, on_change, f);
}

static int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        assert_int_equal(loop_setup((void **)&f->loop), 0);
        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-variables-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        open_variables(f);
        *state = f;
        return 0;
}

static void on_closed(void *arg)
{
        ((struct fixture *)arg)->is_closed = true;
}

static int is_closed(void *arg)
{
        return ((struct fixture *)arg)->is_closed;
}

static void close_variables(struct fixture *f)
{
        f->is_closed = false;
        variables_close(f->v, on_closed, f);
        assert_true(loop_run_until(f->loop, is_closed, f, DEADLINE_MS));
        f->v = variables_free(f->v);
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        char path[64];

        close_variables(f);
        (void)snprintf(path, sizeof(path), "%s/env.json", f->dir);
        (void)unlink(path);
        assert_int_equal(rmdir(f->dir), 0); /* nothing else is left */
        assert_int_equal(loop_teardown((void **)&f->loop), 0);
        free(f);
        return 0;
}

static void on_done(void *arg, int result, size_t n, const struct error *err)
{
        (void)err;
        *(struct outcome *)arg = (struct outcome){ true, result, n };
}

static int is_done(void *arg)
{
        return ((struct outcome *)arg)->is_done;
}

static void begin(struct fixture *f, enum variables_verb verb, json_t *entries,
                  int64_t timestamp_us, struct outcome *ret)
{
        const struct variables_change change = { .verb = verb,
                                                 .entries = entries,
                                                 .masked = "masked",
                                                 .timestamp_us = timestamp_us,
                                                 .done = on_done,
                                                 .arg = ret };

        *ret = (struct outcome){ .is_done = false };
        assert_int_equal(variables_apply(f->v, &change), 0);
        assert_false(ret->is_done); /* never from inside */
}

static struct outcome apply(struct fixture *f, enum variables_verb verb, json_t *entries,
                            int64_t timestamp_us)
{
        struct outcome o;

        begin(f, verb, entries, timestamp_us, &o);
        assert_true(loop_run_until(f->loop, is_done, &o, DEADLINE_MS));
        return o;
}

static json_t *one(const char *name, const char *value)
{
        return json_pack("{s:s}", name, value);
}

static void expect(struct fixture *f, const char *name, const char *value)
{
        const char *found = json_string_value(json_object_get(variables_get(f->v), name));

        if (!str_equal(found, value))
                fail_msg("%s: %s", name, found ? found : "(none)");
}

static void test_verbs(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("B", "2"), 0).n_removed, 0);
        expect(f, "A", "1");
        assert_int_equal(apply(f, VARIABLES_REPLACE, one("C", "3"), 0).n_removed, 2);
        expect(f, "A", NULL);
        assert_int_equal(apply(f, VARIABLES_REMOVE, json_pack("{s:n}", "D"), 0).n_removed, 0);
        assert_int_equal(apply(f, VARIABLES_REMOVE, json_pack("{s:n}", "C"), 0).n_removed, 1);
        expect(f, "C", NULL);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        assert_int_equal(apply(f, VARIABLES_CLEAR, json_object(), 0).n_removed, 1);
        assert_int_equal(json_object_size(variables_get(f->v)), 0);
}

static void test_masks(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        assert_int_equal(apply(f, VARIABLES_REPLACE, one("A", "masked"), 0).n_removed, 0);
        expect(f, "A", "1");
        assert_int_equal(apply(f, VARIABLES_MERGE, one("B", "masked"), 0).result, 0);
        expect(f, "B", NULL);
}

/* Of one turn of the loop: in order, all of them, and one change for who watches. */
static void test_a_batch(void **state)
{
        struct fixture *f = *state;
        struct outcome o[6];

        begin(f, VARIABLES_MERGE, one("A", "1"), 5, &o[0]);
        begin(f, VARIABLES_MERGE, one("A", "2"), 7, &o[1]);
        begin(f, VARIABLES_MERGE, one("A", "3"), 6, &o[2]);
        begin(f, VARIABLES_MERGE, one("B", "4"), 0, &o[3]);
        begin(f, VARIABLES_REMOVE, json_pack("{s:n}", "A"), 0, &o[4]);
        begin(f, VARIABLES_MERGE, one("A", "5"), 7, &o[5]);
        assert_true(loop_run_until(f->loop, is_done, &o[5], DEADLINE_MS));
        for (size_t i = 0; i < ARRAY_LEN(o); i++) {
                assert_true(o[i].is_done);
                assert_int_equal(o[i].result, i == 2 ? VARIABLES_E_OLD : 0);
        }
        assert_int_equal(o[4].n_removed, 1);
        expect(f, "A", "5");
        expect(f, "B", "4");
        assert_int_equal(f->n_changes, 1);
}

static void test_limits(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *large = xcalloc(LIMIT_ENV_VALUE_BYTES, 1);
        json_t *many = json_object();
        char name[16];

        memset(large, 'x', LIMIT_ENV_VALUE_BYTES - 1);
        for (int i = 0; i < LIMIT_ENV_ENTRIES; i++) {
                (void)snprintf(name, sizeof(name), "N%d", i);
                json_object_set_new(many, name, json_string(""));
        }
        assert_int_equal(apply(f, VARIABLES_MERGE, many, 0).result, 0);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("N", ""), 0).result, VARIABLES_E_TOO_MANY);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("N0", "y"), 0).result, 0);
        for (int i = 1; i < 4; i++) {
                (void)snprintf(name, sizeof(name), "N%d", i);
                assert_int_equal(apply(f, VARIABLES_MERGE, one(name, large), 0).result, 0);
        }
        assert_int_equal(apply(f, VARIABLES_MERGE, one("N5", large), 0).result,
                         VARIABLES_E_TOO_BIG);
        expect(f, "N5", "");
        assert_int_equal(f->n_changes, 5); /* not for what was refused */
}

static void test_time_stamps_of_the_future(void **state)
{
        struct fixture *f = *state;
        int64_t now_us;

        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), YEAR_3000).result, 0);
        now_us = clock_realtime_s() * 1000000;
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "2"), now_us + 1000000).result,
                         VARIABLES_E_OLD);
        assert_int_equal(apply(f, VARIABLES_CLEAR, json_object(), 0).result, 0);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "3"), now_us - 1000000).result,
                         VARIABLES_E_OLD);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "4"), YEAR_3000 - 1).result, 0);
}

static void test_the_file(void **state)
{
        struct fixture *f = *state;
        char path[64];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/env.json", f->dir);
        assert_int_equal(stat(path, &st), -1); /* nothing to keep yet */
        assert_int_equal(
                apply(f, VARIABLES_MERGE, one("A", "gr\xC3\xBC\xC3\x9F\n\"\\\x01"), 9).result, 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        close_variables(f);
        open_variables(f);
        expect(f, "A", "gr\xC3\xBC\xC3\x9F\n\"\\\x01");
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "old"), 8).result, VARIABLES_E_OLD);
}

/* What was kept before is not found again later. */
static void test_not_kept(void **state)
{
        struct fixture *f = *state;

        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        for (int i = 0; i < 2; i++) {
                close_variables(f);
                f->v = variables_new(f->loop, f->dir, i > 0);
                expect(f, "A", NULL);
                assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        }
}

/* What cannot be written is not in force. */
static void test_no_place(void **state)
{
        struct fixture *f = *state;
        char away[sizeof(f->dir) + 8];

        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "1"), 0).result, 0);
        (void)snprintf(away, sizeof(away), "%s.away", f->dir);
        assert_int_equal(rename(f->dir, away), 0);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "2"), 0).result, -ENOENT);
        expect(f, "A", "1");
        assert_int_equal(rename(away, f->dir), 0);
        assert_int_equal(apply(f, VARIABLES_MERGE, one("A", "3"), 0).result, 0);
        expect(f, "A", "3");
        assert_int_equal(f->n_changes, 2);
}

/* Who waits is told, whether it was being written or not; and what was answered with success is in the file. */
static void test_the_end(void **state)
{
        struct fixture *f = *state;
        struct outcome first, second;

        begin(f, VARIABLES_MERGE, one("A", "1"), 0, &first);
        assert_true(loop_run_until(f->loop, is_done, &first, DEADLINE_MS));
        begin(f, VARIABLES_MERGE, one("A", "2"), 0, &first);
        (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT); /* a worker may have it now */
        begin(f, VARIABLES_MERGE, one("A", "3"), 0, &second);
        f->is_closed = false;
        variables_close(f->v, on_closed, f);
        assert_int_equal(
                variables_apply(f->v, &(struct variables_change){ .entries = json_object() }),
                -ESHUTDOWN);
        assert_true(loop_run_until(f->loop, is_closed, f, DEADLINE_MS));
        f->v = variables_free(f->v);
        assert_true(first.is_done && second.is_done);
        assert_int_equal(second.result, -ESHUTDOWN);
        open_variables(f);
        if (first.result == 0)
                expect(f, "A", "2");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_verbs, setup, teardown),
                cmocka_unit_test_setup_teardown(test_masks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_batch, setup, teardown),
                cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
                cmocka_unit_test_setup_teardown(test_time_stamps_of_the_future, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_not_kept, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_place, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_end, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
