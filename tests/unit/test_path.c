/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/base/workspace.h"

static void test_normalize(void **state)
{
        static const char *const rows[][3] = {
                /* base, path, result */
                { "/w", "a", "/w/a" },
                { "/w", "a/b/", "/w/a/b" },
                { "/w", ".", "/w" },
                { "/w", "./a/./b", "/w/a/b" },
                { "/w", "a//b", "/w/a/b" },
                { "/w", "..", "/" },
                { "/w/x", "../y", "/w/y" },
                { "/w", "a/../../b", "/b" },
                { "/w", "../../../../etc", "/etc" },
                { "/w", "/", "/" },
                { "/w", "//", "/" },
                { "/w", "/..", "/" },
                { "/w", "/a", "/a" },
                { "/w", "/a/", "/a" },
                { "/w", "...", "/w/..." },
                { "/w", "..a", "/w/..a" },
                { "/w", ".a", "/w/.a" },
                { "/w", "a b\nc", "/w/a b\nc" },
                { "/", "a", "/a" },
                { "/w/", "a", "/w/a" },
                { "/w/../v//", "a", "/v/a" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                CLEANUP(mem_free) char *path = NULL;
                struct error err = ERROR_INIT;

                assert_int_equal(path_normalize(rows[i][0], rows[i][1], &path, &err), 0);
                assert_string_equal(path, rows[i][2]);
        }
}

static void test_normalize_limits(void **state)
{
        char text[2 * PATH_MAX];
        struct error err = ERROR_INIT;
        char *path = NULL;

        (void)state;
        assert_int_equal(path_normalize("/w", "", &path, &err), -EINVAL);
        assert_string_equal(err.message, "the path is empty");

        memset(text, 'x', sizeof(text));
        text[NAME_MAX + 1] = '\0';
        assert_int_equal(path_normalize("/w", text, &path, &err), -ENAMETOOLONG);
        text[NAME_MAX] = '\0';
        assert_int_equal(path_normalize("/w", text, &path, &err), 0);
        path = mem_free(path);

        /* The longest path that the kernel takes: PATH_MAX counts the terminator. */
        for (size_t i = 0; i < sizeof(text); i++)
                text[i] = i % 2 ? 'x' : '/';
        text[PATH_MAX] = '\0';
        assert_int_equal(path_normalize("/w", text, &path, &err), -ENAMETOOLONG);
        text[PATH_MAX - 2] = '\0';
        assert_int_equal(path_normalize("/w", text, &path, &err), 0);
        assert_string_equal(path, text);
        path = mem_free(path);
        assert_int_equal(path_normalize("/w", text + 1, &path, &err), -ENAMETOOLONG);

        assert_null(path); /* untouched on failure */
}

static void test_is_under(void **state)
{
        (void)state;
        assert_true(path_is_under("/a/b", "/a/b"));
        assert_true(path_is_under("/a/b/c", "/a/b"));
        assert_false(path_is_under("/a/bc", "/a/b"));
        assert_false(path_is_under("/a", "/a/b"));
        assert_true(path_is_under("/", "/"));
        assert_true(path_is_under("/a", "/"));
        assert_false(path_is_under("/", "/a"));
}

/* The tests below run in an empty directory of their own. */
static int setup(void **state)
{
        char *dir = xstrdup("/tmp/test_path.XXXXXX");

        assert_non_null(mkdtemp(dir));
        assert_int_equal(chdir(dir), 0);
        *state = dir;
        return 0;
}

static int teardown(void **state)
{
        assert_int_equal(chdir("/"), 0);
        assert_int_equal(path_remove_tree(*state), 0);
        free(*state);
        return 0;
}

static void touch(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        close(fd);
}

static bool exists(const char *path)
{
        struct stat st;

        return lstat(path, &st) == 0;
}

static void test_make_dirs(void **state)
{
        struct error err = ERROR_INIT;
        struct stat st;

        (void)state;
        assert_int_equal(path_make_dirs("a/b/c", 0700, &err), 0);
        assert_int_equal(stat("a/b", &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(path_make_dirs("a/b/c", 0700, &err), 0);
        assert_int_equal(path_make_dirs("a//b/d/", 0700, &err), 0);
        assert_true(exists("a/b/d"));
        assert_int_equal(path_make_dirs("/", 0700, &err), 0);

        assert_int_equal(symlink("a", "link"), 0);
        assert_int_equal(path_make_dirs("link/e", 0700, &err), 0);
        assert_true(exists("a/e"));

        touch("file");
        assert_int_equal(path_make_dirs("file", 0700, &err), -ENOTDIR);
        assert_int_equal(path_make_dirs("file/x", 0700, &err), -ENOTDIR);
        assert_string_equal(err.message, "mkdir file/x: Not a directory");
        assert_int_equal(path_make_dirs("", 0700, &err), -EINVAL);
}

static void test_remove_tree(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(path_make_dirs("t/a/b", 0700, &err), 0);
        assert_int_equal(path_make_dirs("t/c", 0700, &err), 0);
        touch("t/1");
        touch("t/a/2");
        touch("t/a/b/3");
        assert_int_equal(path_remove_tree("t"), 0);
        assert_false(exists("t"));

        assert_int_equal(path_remove_tree("t"), 0); /* already gone */
        touch("file");
        assert_int_equal(path_remove_tree("file"), 0);
        assert_false(exists("file"));
        assert_int_equal(path_remove_tree("/dev/null/x"), -ENOTDIR);
}

/* Links are removed; what they point to is not. */
static void test_remove_tree_links(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(path_make_dirs("outside", 0700, &err), 0);
        touch("outside/precious");
        assert_int_equal(path_make_dirs("t/a", 0700, &err), 0);
        assert_int_equal(symlink("../outside", "t/link"), 0);
        assert_int_equal(symlink("../../outside/precious", "t/a/link"), 0);
        assert_int_equal(symlink("nowhere", "t/dangling"), 0);
        assert_int_equal(symlink(".", "t/loop"), 0);
        assert_int_equal(path_remove_tree("t"), 0);
        assert_false(exists("t"));
        assert_true(exists("outside/precious"));

        assert_int_equal(symlink("outside", "link"), 0);
        assert_int_equal(path_remove_tree("link"), 0);
        assert_false(exists("link"));
        assert_true(exists("outside/precious"));
}

#define NOBODY 65534

/* Build caches are full of these; without privileges nothing in them could be removed. */
static void test_remove_tree_read_only(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(path_make_dirs("t/a", 0700, &err), 0);
        touch("t/a/file");
        assert_int_equal(chmod("t/a", 0500), 0);
        assert_int_equal(chmod("t", 0500), 0);

        if (getuid() == 0) { /* whom nothing is forbidden: be somebody else */
                assert_int_equal(chown(".", NOBODY, -1), 0);
                assert_int_equal(chown("t", NOBODY, -1), 0);
                assert_int_equal(chown("t/a", NOBODY, -1), 0);
                assert_int_equal(seteuid(NOBODY), 0);
        }
        assert_int_equal(unlink("t/a/file"), -1);
        assert_int_equal(path_remove_tree("t"), 0);
        assert_int_equal(seteuid(getuid()), 0);
        assert_false(exists("t"));
}

/* Far deeper than PATH_MAX, than the levels kept open, and than the limit on open files. */
static void test_remove_tree_deep(void **state)
{
        enum { DEPTH = 5000 };

        for (int i = 0; i < DEPTH; i++) {
                assert_int_equal(mkdir("d", 0700), 0);
                assert_int_equal(chdir("d"), 0);
                if (i % 100 == 0)
                        touch("file");
        }
        assert_int_equal(chdir(*state), 0);
        assert_int_equal(path_remove_tree("d"), 0);
        assert_false(exists("d"));
}

static void test_remove_tree_wide(void **state)
{
        struct error err = ERROR_INIT;
        char name[32];

        (void)state;
        for (int i = 0; i < 3000; i++) {
                (void)snprintf(name, sizeof(name), "t/%d", i);
                if (i % 3 == 0)
                        assert_int_equal(path_make_dirs(name, 0700, &err), 0);
                else
                        touch(name);
        }
        assert_int_equal(path_remove_tree("t"), 0);
        assert_false(exists("t"));
}

/* Whether there is such a directory the tests cannot choose. */
static void test_workspace_name(void **state)
{
        static const char *const others[] = {
                "", "/", "workspace", "/workspaces", "/workspace.", "/work", "/data/workspace",
        };
        bool exists_here = access(WORKSPACE_NAME, F_OK) == 0;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(others); i++)
                assert_null(workspace_rest("/data", others[i]));
        assert_string_equal(workspace_rest("/data", "/workspace"), "");
        assert_string_equal(workspace_rest("/data", "/workspace//a/../b"), "//a/../b");
        assert_string_equal(workspace_rest("/workspace2", "/workspace/a"), "/a");
        assert_null(workspace_rest("/workspace", "/workspace/a"));
        assert_null(workspace_rest("/workspace/deep", "/workspace/a"));

        assert_int_equal(workspace_meant("/data", "/workspace/a") == NULL, exists_here);
        assert_null(workspace_meant("/data", "/tmp"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_normalize), cmocka_unit_test(test_normalize_limits),
                cmocka_unit_test(test_is_under),  TEST(test_make_dirs),
                TEST(test_remove_tree),           TEST(test_remove_tree_links),
                TEST(test_remove_tree_read_only), TEST(test_remove_tree_deep),
                TEST(test_remove_tree_wide),      cmocka_unit_test(test_workspace_name),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
