/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/files_fixture.h"

#include "agent/files/list.h"

struct seen {
        struct buf text; /* "path path " */
        size_t n_entries;
        size_t n_batches;
        size_t largest;
        size_t stop_at; /* batches; 0: never */
        unsigned n_directories;
        char target[64];
};

static int on_batch(void *data, const struct list_entry *entries, size_t n)
{
        struct seen *s = data;

        s->n_batches++;
        s->n_entries += n;
        s->largest = MAX(s->largest, n);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(buf_appendf(&s->text, "%s ", entries[i].path), 0);
                assert_non_null(strstr(entries[i].path, entries[i].name));
                s->n_directories += entries[i].info.type == FILE_DIRECTORY;
                if (entries[i].info.type == FILE_LINK)
                        snprintf(s->target, sizeof(s->target), "%s", entries[i].target);
                else
                        assert_string_equal(entries[i].target, "");
        }
        return s->stop_at > 0 && s->n_batches >= s->stop_at;
}

static int list(struct files *f, const char *path, struct list_options o, struct seen *s,
                struct list_result *result)
{
        size_t stop_at = s->stop_at;

        buf_done(&s->text);
        *s = (struct seen){ .stop_at = stop_at };
        buf_init(&s->text, 0);
        o.on_batch = on_batch;
        o.data = s;
        return directory_list(f->roots, path, &o, result, &f->err);
}

#define LIST(path, ...) list(f, path, (struct list_options){ __VA_ARGS__ }, &s, &result)
#define CHECK_LIST(wanted)                                                     \
        do {                                                                   \
                assert_string_equal(s.text.data ? s.text.data : "", (wanted)); \
                assert_int_equal(result.n_entries, s.n_entries);               \
        } while (0)

static void make_tree(struct files *f)
{
        files_put(f, "in/b.txt", "x");
        files_put(f, "in/a.c", "xx");
        files_mkdir(f, "in/src");
        files_put(f, "in/src/main.c", "xxx");
        files_put(f, "in/src/.hidden", "");
        files_mkdir(f, "in/src/deep");
        files_put(f, "in/src/deep/x.c", "");
        files_link(f, "../out", "in/link");
        files_put(f, "in/.vm-agent-tmp-0123456789abcdef01234567", "");
}

static void test_list(void **state)
{
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;

        make_tree(f);
        assert_int_equal(LIST(".", .is_sorted = true), 0);
        CHECK_LIST("a.c b.txt link src ");
        assert_int_equal(s.n_directories, 1);
        assert_string_equal(s.target, "../out");
        assert_null(result.cursor);
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true), 0);
        CHECK_LIST("a.c b.txt link src src/.hidden src/deep src/deep/x.c src/main.c ");
        assert_int_equal(LIST(".", .is_recursive = true, .depth = 2, .is_sorted = true), 0);
        CHECK_LIST("a.c b.txt link src src/.hidden src/deep src/main.c ");
        assert_int_equal(LIST(".", .is_recursive = true), 0);
        assert_int_equal(s.n_entries, 8);
        assert_int_equal(LIST("src/deep", .is_sorted = true), 0);
        CHECK_LIST("x.c ");
        assert_int_equal(LIST("src"), 0);
        assert_int_equal(s.n_entries, 3);
        assert_int_equal(LIST("absent"), FILES_E_NO_DIRECTORY);
        assert_string_equal(f->err.message, "Directory not found: absent");
        assert_int_equal(LIST("a.c"), FILES_E_NOT_DIRECTORY);
        assert_int_equal(LIST("link"), FILES_E_NOT_ALLOWED);
        buf_done(&s.text);
}

static void test_glob(void **state)
{
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;
        struct glob *g = NULL;

        make_tree(f);
        assert_int_equal(glob_new("*.c", &g, &f->err), 0);
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true, .glob = g), 0);
        CHECK_LIST("a.c src/deep/x.c src/main.c ");
        assert_int_equal(LIST(".", .is_sorted = true, .glob = g), 0);
        CHECK_LIST("a.c ");
        glob_free(g);
        assert_int_equal(glob_new("src/**/*.c", &g, &f->err), 0);
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true, .glob = g), 0);
        CHECK_LIST("src/deep/x.c src/main.c ");
        glob_free(g);
        buf_done(&s.text);
}

/* All pages together are the whole list, whatever the size of a page is. */
static void test_pages(void **state)
{
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;

        make_tree(f);
        for (unsigned limit = 1; limit <= 9; limit++) {
                struct buf all;
                char *cursor = NULL;
                unsigned n_pages = 0;

                buf_init(&all, 0);
                do {
                        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true,
                                              .limit = limit, .cursor = cursor),
                                         0);
                        assert_true(s.n_entries <= limit);
                        assert_int_equal(buf_append(&all, s.text.data, s.text.size), 0);
                        free(cursor);
                        cursor = result.cursor;
                        n_pages++;
                } while (cursor);
                assert_string_equal(
                        all.data,
                        "a.c b.txt link src src/.hidden src/deep src/deep/x.c src/main.c ");
                assert_int_equal(n_pages, (8 + limit - 1) / limit);
                buf_done(&all);
        }

        /* The last entry of a page is removed before the next one is asked for. */
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true, .limit = 7), 0);
        assert_string_equal(result.cursor, "src/deep/x.c");
        assert_int_equal(unlink(files_at(f, "in/src/deep/x.c")), 0);
        assert_int_equal(rmdir(files_at(f, "in/src/deep")), 0);
        files_put(f, "in/c-new", "");
        {
                char *cursor = result.cursor;

                assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true, .limit = 7,
                                      .cursor = cursor),
                                 0);
                CHECK_LIST("src/main.c ");
                assert_null(result.cursor);
                free(cursor);
        }
        assert_int_equal(LIST(".", .is_sorted = true, .cursor = "zzz"), 0);
        CHECK_LIST("");
        assert_int_equal(LIST(".", .is_sorted = true, .cursor = "../../../x"), 0);
        CHECK_LIST("a.c b.txt c-new link src ");
        buf_done(&s.text);
}

/* A large directory comes in small batches, sorted or not, and pages neither repeat nor skip. */
static void test_many(void **state)
{
        enum { N = 5003, PAGE = 900 };
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;
        struct buf all;
        char *cursor = NULL, *p;
        int dir = open(files_at(f, "in"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (unsigned i = 0; i < N; i++) {
                char name[32];

                snprintf(name, sizeof(name), "%05u", i * 7919 % N);
                close(openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        }
        close(dir);
        assert_int_equal(LIST("."), 0);
        assert_int_equal(s.n_entries, N);
        assert_int_equal(s.largest, LIMIT_FILE_LIST_BATCH);
        assert_in_range(s.n_batches, N / LIMIT_FILE_LIST_BATCH, N / LIMIT_FILE_LIST_BATCH + 3);
        assert_int_equal(LIST(".", .is_sorted = true), 0);
        assert_int_equal(s.n_entries, N);

        buf_init(&all, 0);
        do {
                assert_int_equal(LIST(".", .is_sorted = true, .limit = PAGE, .cursor = cursor), 0);
                assert_int_equal(buf_append(&all, s.text.data, s.text.size), 0);
                free(cursor);
                cursor = result.cursor;
        } while (cursor);
        p = all.data;
        for (unsigned i = 0; i < N; i++) {
                assert_int_equal(strtoul(p, &p, 10), i);
                p++;
        }
        assert_int_equal(*p, '\0');
        buf_done(&all);

        s.stop_at = 2;
        assert_int_equal(LIST("."), FILES_E_CANCELLED);
        assert_int_equal(s.n_entries, LIST_FIRST_BATCH + LIMIT_FILE_LIST_BATCH);
        buf_done(&s.text);
}

static void test_cancel(void **state)
{
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;
        atomic_bool cancel = true;

        make_tree(f);
        assert_int_equal(LIST(".", .cancel = &cancel), FILES_E_CANCELLED);
        assert_int_equal(s.n_batches, 0);
        buf_done(&s.text);
}

static void test_unreadable(void **state)
{
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;

        if (!files_variant.is_user)
                return;
        files_mkdir(f, "in/a");
        files_put(f, "in/a/x", "");
        files_mkdir(f, "in/closed");
        files_mkdir(f, "in/z");
        assert_int_equal(chmod(files_at(f, "in/closed"), 0), 0);
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true), 0);
        CHECK_LIST("a a/x closed z ");
        assert_int_equal(result.n_unreadable, 1);
        assert_int_equal(LIST("closed"), FILES_E_DENIED);
        assert_int_equal(chmod(files_at(f, "in/closed"), 0444), 0);
        files_put(f, "in/closed/x", "");
        assert_int_equal(LIST("closed"), 0); /* names without facts are no entries */
        CHECK_LIST("");
        buf_done(&s.text);
}

static void test_deep(void **state)
{
        enum { DEPTH = 1000 };
        struct files *f = *state;
        struct seen s = { .stop_at = 0 };
        struct list_result result;
        unsigned n_open = files_n_open();
        int fd = open(files_at(f, "in"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (unsigned i = 0; i < DEPTH; i++) {
                int next;

                assert_int_equal(mkdirat(fd, "some-directory", 0755), 0);
                close(openat(fd, "zz", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
                next = openat(fd, "some-directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                close(fd);
                fd = next;
        }
        close(fd);
        assert_int_equal(LIST(".", .is_recursive = true, .is_sorted = true), 0);
        assert_int_equal(s.n_entries, 2 * DEPTH);
        assert_int_equal(result.n_unreadable, 0);
        assert_int_equal(LIST(".", .is_recursive = true), 0);
        assert_int_equal(s.n_entries, 2 * DEPTH);
        assert_int_equal(files_n_open(), n_open);
        buf_done(&s.text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_list),      FILES_TEST(test_glob),   FILES_TEST(test_pages),
                FILES_TEST_ONCE(test_many), FILES_TEST(test_cancel), FILES_TEST(test_unreadable),
                FILES_TEST_ONCE(test_deep),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
