/* SPDX-License-Identifier: Apache-2.0 */

/* Walks through trees, and removing them. */

#include "tests/unit/files_fixture.h"

#include <stdatomic.h>

#include "agent/files/remove.h"
#include "agent/files/walk.h"

static const struct file_remove_options tree = { .is_recursive = true };

/* A chain of @depth directories, deeper than any path, with a file at the end. */
static void make_deep(struct files *f, const char *name, unsigned depth)
{
        int fd = open(files_at(f, name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_true(fd >= 0);
        for (unsigned i = 0; i < depth; i++) {
                int next;

                assert_int_equal(mkdirat(fd, "directory", 0755), 0);
                next = openat(fd, "directory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (files_variant.is_user)
                        assert_int_equal(fchown(next, FILES_USER, FILES_USER), 0);
                close(fd);
                fd = next;
        }
        close(openat(fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        close(fd);
}

static void test_entries(void **state)
{
        struct files *f = *state;
        struct file_remove_options flat = { .is_recursive = false };
        uint64_t n;

        files_put(f, "in/file", "x");
        files_mkdir(f, "in/d");
        files_put(f, "in/d/a", "x");
        files_mkdir(f, "in/d/e");
        files_link(f, "file", "in/link");
        files_link(f, "nowhere", "in/dangling");
        assert_int_equal(mkfifo(files_at(f, "in/fifo"), 0600), 0);
        assert_int_equal(file_remove(f->roots, "link", &flat, &n, &f->err), 0);
        assert_int_equal(n, 1);
        assert_true(files_is_there(f, "in/file"));
        assert_int_equal(file_remove(f->roots, "dangling", &flat, &n, &f->err), 0);
        assert_int_equal(file_remove(f->roots, "fifo", &tree, &n, &f->err), 0);
        assert_int_equal(file_remove(f->roots, "file/", &tree, &n, &f->err), FILES_E_NOT_DIRECTORY);
        assert_int_equal(file_remove(f->roots, "file", &tree, &n, &f->err), 0);
        assert_int_equal(file_remove(f->roots, "file", &tree, &n, &f->err), FILES_E_NOT_FOUND);
        assert_int_equal(n, 0);
        assert_int_equal(file_remove(f->roots, "d", &flat, &n, &f->err), FILES_E_NOT_EMPTY);
        assert_int_equal(file_remove(f->roots, "d/e/", &flat, &n, &f->err), 0);
        assert_int_equal(file_remove(f->roots, "d", &tree, &n, &f->err), 0);
        assert_int_equal(n, 2);
        assert_int_equal(files_count(f, "in"), 0);
}

static void test_links_out(void **state)
{
        struct files *f = *state;

        files_mkdir(f, "in/d");
        files_link(f, "../../out", "in/d/out");
        files_link(f, "../../out/secret", "in/d/secret");
        files_link(f, "..", "in/d/up");
        files_put(f, "in/stays", "x");
        assert_int_equal(file_remove(f->roots, "d", &tree, NULL, &f->err), 0);
        files_check(f, "out/secret", "secret");
        assert_int_equal(files_count(f, "in"), 1);
}

static void test_deep(void **state)
{
        struct files *f = *state;
        unsigned n_open = files_n_open();
        uint64_t n;

        files_mkdir(f, "in/deep");
        make_deep(f, "in/deep", 1000);
        assert_int_equal(file_remove(f->roots, "deep", &tree, &n, &f->err), 0);
        assert_int_equal(n, 1002);
        assert_int_equal(files_count(f, "in"), 0);
        assert_int_equal(files_n_open(), n_open);
}

static void test_many(void **state)
{
        enum { N = 5000 };
        struct files *f = *state;
        int dir;
        char name[32];
        uint64_t n;

        files_mkdir(f, "in/many");
        dir = open(files_at(f, "in/many"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (unsigned i = 0; i < N; i++) {
                snprintf(name, sizeof(name), "a-name-of-some-length-%u", i);
                close(openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        }
        close(dir);
        assert_int_equal(file_remove(f->roots, "many", &tree, &n, &f->err), 0);
        assert_int_equal(n, N + 1);
}

/* What cannot be removed stays, everything else goes. */
static void test_denied(void **state)
{
        struct files *f = *state;
        struct file_remove_options options = tree;
        char *failed = NULL;
        char message[256];
        uint64_t n;

        if (!files_variant.is_user)
                return;
        files_mkdir(f, "in/d");
        files_mkdir(f, "in/d/fixed");
        files_put(f, "in/d/fixed/file", "x");
        files_put(f, "in/d/file", "x");
        files_mkdir(f, "in/d/other");
        files_mkdir(f, "in/d/closed");
        files_put(f, "in/d/closed/file", "x");
        files_mkdir(f, "in/d/empty");
        assert_int_equal(chmod(files_at(f, "in/d/fixed"), 0555), 0);
        assert_int_equal(chmod(files_at(f, "in/d/closed"), 0), 0);
        assert_int_equal(chmod(files_at(f, "in/d/empty"), 0), 0);
        options.ret_failed = &failed;
        assert_int_equal(file_remove(f->roots, "d//", &options, &n, &f->err), FILES_E_DENIED);
        assert_non_null(failed); /* whichever came first */
        assert_true(strcmp(failed, "closed") == 0 || strcmp(failed, "fixed/file") == 0);
        (void)snprintf(message, sizeof(message),
                       "Permission denied: d/%s (others are gone already: 3)", failed);
        assert_string_equal(f->err.message, message);
        assert_int_equal(n, 3);
        free(failed);
        assert_int_equal(files_count(f, "in/d"), 2);
        files_check(f, "in/d/fixed/file", "x");
        files_check(f, "in/d/closed/file", "x");
}

static void test_cancel(void **state)
{
        struct files *f = *state;
        atomic_bool cancel = true;
        struct file_remove_options o = { .is_recursive = true, .cancel = &cancel };

        files_mkdir(f, "in/d");
        files_put(f, "in/d/a", "x");
        assert_int_equal(file_remove(f->roots, "d", &o, NULL, &f->err), FILES_E_CANCELLED);
        files_check(f, "in/d/a", "x");
        cancel = false;
        assert_int_equal(file_remove(f->roots, "d", &o, NULL, &f->err), 0);
}

struct visits {
        struct files *f;
        char text[4096];
        const char *move; /* this directory is moved away when it has been entered */
        unsigned n_failures;
        int failure;
};

static int on_entry(void *data, const struct walk_entry *e)
{
        struct visits *v = data;

        snprintf(v->text + strlen(v->text), sizeof(v->text) - strlen(v->text), "%s%s ",
                 e->is_before ? "~" : "", e->path);
        assert_string_equal(e->path + strlen(e->path) - strlen(e->name), e->name);
        if (v->move && strcmp(v->move, e->path) == 0)
                assert_int_equal(rename(files_at(v->f, "in/a"), files_at(v->f, "out/a")), 0);
        return e->type == DT_DIR ? WALK_DESCEND : 0;
}

static int on_leave(void *data, const struct walk_entry *e)
{
        struct visits *v = data;

        snprintf(v->text + strlen(v->text), sizeof(v->text) - strlen(v->text), "/%s ", e->path);
        return 0;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        struct visits *v = data;

        (void)e;
        v->n_failures++;
        v->failure = error;
        return 0;
}

static int walk(struct files *f, struct visits *v, const char *after)
{
        struct walk_options o = { .is_sorted = true,
                                  .after = after,
                                  .on_entry = on_entry,
                                  .on_leave = on_leave,
                                  .on_failure = on_failure,
                                  .data = v };
        int fd = open(files_at(f, "in"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        v->f = f;
        v->text[0] = '\0';
        r = walk_tree(fd, &o);
        close(fd);
        return r;
}

static void test_order(void **state)
{
        struct files *f = *state;
        struct visits v = { .n_failures = 0 };

        files_mkdir(f, "in/a");
        files_mkdir(f, "in/a/b");
        files_put(f, "in/a/b/c", "");
        files_put(f, "in/a/d", "");
        files_put(f, "in/a-long-name-1", "");
        files_put(f, "in/a-long-name-0", "");
        files_put(f, "in/\xc3\xa9", "");
        files_mkdir(f, "in/z");
        assert_int_equal(walk(f, &v, NULL), 0);
        assert_string_equal(v.text, "a a/b a/b/c /a/b a/d /a a-long-name-0 a-long-name-1 z /z "
                                    "\xc3\xa9 ");
        assert_int_equal(walk(f, &v, "a/b"), 0);
        assert_string_equal(v.text, "~a ~a/b a/b/c /a/b a/d /a a-long-name-0 a-long-name-1 z /z "
                                    "\xc3\xa9 ");
        assert_int_equal(walk(f, &v, "a/b/c"), 0);
        assert_string_equal(v.text, "~a ~a/b ~a/b/c /a/b a/d /a a-long-name-0 a-long-name-1 z /z "
                                    "\xc3\xa9 ");
        assert_int_equal(walk(f, &v, "a/c/gone"), 0);
        assert_string_equal(v.text, "~a a/d /a a-long-name-0 a-long-name-1 z /z \xc3\xa9 ");
        assert_int_equal(walk(f, &v, "a-long-name-00"), 0);
        assert_string_equal(v.text, "a-long-name-1 z /z \xc3\xa9 ");
        assert_int_equal(walk(f, &v, "\xff"), 0);
        assert_string_equal(v.text, "");
}

/* The real limits would take too long here. */
static void test_walk_limits(void **state)
{
        struct files *f = *state;
        struct visits v = { .f = f };
        struct walk_options o = { .is_sorted = true,
                                  .on_entry = on_entry,
                                  .on_leave = on_leave,
                                  .on_failure = on_failure,
                                  .data = &v };
        CLEANUP(fd_close) int fd = open(files_at(f, "in"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        files_mkdir(f, "in/a");
        files_mkdir(f, "in/a/b");
        files_put(f, "in/a/b/c", "");
        files_mkdir(f, "in/d");
        files_put(f, "in/d/e", "");

        o.max_depth = 2;
        assert_int_equal(walk_tree(fd, &o), 0);
        assert_string_equal(v.text, "a a/b /a d d/e /d ");
        assert_int_equal(v.n_failures, 1);
        assert_int_equal(v.failure, -ENAMETOOLONG);

        /* Three bytes for each name; those of directories that were left do not count any more. */
        o.max_depth = 0;
        o.max_names = 9;
        v = (struct visits){ .f = f };
        assert_int_equal(walk_tree(fd, &o), 0);
        assert_string_equal(v.text, "a a/b /a/b /a d d/e /d ");
        assert_int_equal(v.n_failures, 1);
        assert_int_equal(v.failure, -EFBIG);
        o.max_names = 12;
        v = (struct visits){ .f = f };
        assert_int_equal(walk_tree(fd, &o), 0);
        assert_int_equal(v.n_failures, 0);

        o.max_names = 5;
        assert_int_equal(walk_tree(fd, &o), -EFBIG);
        o.is_sorted = false; /* nothing is collected */
        assert_int_equal(walk_tree(fd, &o), 0);
        assert_int_equal(v.n_failures, 0);
}

/* A directory that is moved while the walk is far below it: ".." leads to where it is now, and that is no way back. */
static void test_moved(void **state)
{
        struct files *f = *state;
        struct visits v = { .move = "a/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20" };
        char path[256] = "in/a";

        files_mkdir(f, "in/a");
        for (unsigned i = 1; i <= 20; i++) {
                snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%u", i);
                files_mkdir(f, path);
        }
        files_put(f, "in/b", "");
        assert_int_equal(walk(f, &v, NULL), -ESTALE);
        assert_null(strstr(v.text, "secret"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FILES_TEST(test_entries),     FILES_TEST(test_links_out),
                FILES_TEST_ONCE(test_deep),   FILES_TEST_ONCE(test_many),
                FILES_TEST(test_denied),      FILES_TEST(test_cancel),
                FILES_TEST(test_order),       FILES_TEST(test_moved),
                FILES_TEST(test_walk_limits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
