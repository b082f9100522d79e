/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include <cmocka.h>

#include "agent/base/limits.h"
#include "agent/watch/marks.h"

static const struct mark *find(const struct marks *m, int wd, const char *name)
{
        const struct mark *found = NULL;

        for (size_t i = 0; i < m->n_items; i++) {
                if (m->items[i].wd == wd && strcmp(marks_name(m, m->items[i].name), name) == 0) {
                        assert_null(found);
                        found = &m->items[i];
                }
        }
        return found;
}

static void test_each_name_once(void **state)
{
        struct origins o = { 0 };
        struct marks m;
        char name[16];

        (void)state;
        marks_init(&m);
        assert_true(marks_is_empty(&m));
        for (unsigned round = 0; round < 3; round++) {
                for (int wd = 1; wd <= 3; wd++) {
                        for (unsigned i = 0; i < 500; i++) {
                                (void)snprintf(name, sizeof(name), "%u", i);
                                marks_add(&m, &o, wd, 1U << round, 0, i == 0 ? "" : name);
                        }
                }
        }
        assert_int_equal(m.n_items, 1500);
        assert_int_equal(find(&m, 2, "499")->mask, 7);
        assert_int_equal(find(&m, 3, "")->mask, 7);
        assert_null(find(&m, 4, "1"));
        marks_done(&m);
        assert_true(marks_is_empty(&m));
}

static void expect_hint(const struct marks *m, size_t i, int from_wd, const char *from, int to_wd,
                        const char *to)
{
        assert_true(i < m->n_hints);
        assert_int_equal(m->hints[i].from_wd, from_wd);
        assert_int_equal(m->hints[i].to_wd, to_wd);
        assert_string_equal(marks_name(m, m->hints[i].from), from);
        assert_string_equal(marks_name(m, m->hints[i].to), to);
}

/* The two ends of a rename, with others in between, and even with a look in between. */
static void test_renames(void **state)
{
        struct origins o = { 0 };
        struct marks m;

        (void)state;
        marks_init(&m);
        marks_add(&m, &o, 1, IN_MODIFY, 0, "a");
        marks_add(&m, &o, 1, IN_MOVED_FROM, 100, "a");
        marks_add(&m, &o, 1, IN_MOVED_FROM, 101, "b");
        marks_add(&m, &o, 1, IN_CREATE, 0, "c");
        marks_add(&m, &o, 2, IN_MOVED_TO, 101, "b2");
        marks_add(&m, &o, 2, IN_MOVED_TO, 100, "a2");
        marks_add(&m, &o, 2, IN_MOVED_TO, 999, "from outside");
        assert_int_equal(m.n_hints, 2);
        expect_hint(&m, 0, 1, "b", 2, "b2");
        expect_hint(&m, 1, 1, "a", 2, "a2");
        assert_true(find(&m, 2, "a2")->mask & IN_MODIFY); /* it was written before */
        assert_false(find(&m, 2, "b2")->mask & IN_MODIFY);

        marks_add(&m, &o, 1, IN_MODIFY, 0, "d");
        marks_add(&m, &o, 1, IN_MOVED_FROM, 102, "d");
        marks_done(&m);
        marks_add(&m, &o, 1, IN_MOVED_TO, 102, "e");
        assert_int_equal(m.n_hints, 1);
        expect_hint(&m, 0, 1, "d", 1, "e");
        assert_true(find(&m, 1, "e")->mask & IN_MODIFY);

        /* An end is used once. */
        marks_add(&m, &o, 1, IN_MOVED_TO, 102, "f");
        assert_int_equal(m.n_hints, 1);
        marks_done(&m);
}

static void test_too_many(void **state)
{
        struct origins o = { 0 };
        struct marks m;
        char name[256];

        (void)state;
        marks_init(&m);
        for (unsigned i = 0; i < LIMIT_WATCH_MARKS; i++) {
                (void)snprintf(name, sizeof(name), "%u", i);
                marks_add(&m, &o, 1, IN_CREATE, 0, name);
        }
        assert_false(m.is_overflown);
        assert_int_equal(m.n_items, LIMIT_WATCH_MARKS);
        marks_add(&m, &o, 1, IN_CREATE, 0, "1"); /* is there already */
        assert_false(m.is_overflown);
        marks_add(&m, &o, 1, IN_CREATE, 0, "one more");
        assert_true(m.is_overflown);
        assert_int_equal(m.n_items, 0);
        assert_false(marks_is_empty(&m));
        marks_add(&m, &o, 1, IN_CREATE, 0, "1");
        assert_int_equal(m.n_items, 0);
        marks_done(&m);

        /* Long names. */
        for (unsigned i = 0; i < LIMIT_WATCH_MARKS_TEXT / 256; i++) {
                (void)snprintf(name, sizeof(name), "%0255u", i);
                marks_add(&m, &o, 1, IN_CREATE, 0, name);
        }
        assert_false(m.is_overflown);
        marks_add(&m, &o, 1, IN_CREATE, 0, "1");
        assert_true(m.is_overflown);
        marks_done(&m);

        /* Renames without number are two names. */
        for (unsigned i = 1; i <= LIMIT_WATCH_RENAMES + 1; i++) {
                marks_add(&m, &o, 1, IN_MOVED_FROM, i, i % 2 ? "a" : "b");
                marks_add(&m, &o, 1, IN_MOVED_TO, i, i % 2 ? "b" : "a");
        }
        assert_int_equal(m.n_items, 2);
        assert_int_equal(m.n_hints, LIMIT_WATCH_RENAMES);
        assert_false(m.is_overflown);
        marks_done(&m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_name_once),
                cmocka_unit_test(test_renames),
                cmocka_unit_test(test_too_many),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
