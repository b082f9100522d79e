/* SPDX-License-Identifier: Apache-2.0 */

/* Staging: small and large sources and inputs, their removal, and what goes wrong. */

#include <dirent.h>
#include <errno.h>
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
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "proc/staging.h"
#include "tests/lib/loop_fixture.h"

static char root[] = "/tmp/vm-agent-staging-XXXXXX";

struct outcome {
        struct staging staging;
        bool is_done;
};

static void on_done(struct staging *s)
{
        container_of(s, struct outcome, staging)->is_done = true;
}

static int is_done(void *arg)
{
        return ((struct outcome *)arg)->is_done;
}

static int is_root_empty(void *arg)
{
        DIR *dir = opendir(root);
        unsigned n = 0;

        (void)arg;
        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n == 2;
}

static void stage_named(struct loop *l, struct outcome *o, const char *name, const char *code,
                        size_t code_size, const char *input, size_t input_size, bool is_base64)
{
        *o = (struct outcome){
                .staging = {
                        .script_name = name,
                        .code = { code, code_size },
                        .language = LANGUAGE_BASH,
                        .input = { input, input_size },
                        .input_is_base64 = is_base64,
                        .cwd = "/",
                        .script_root = root,
                        .driver_dir = "/drivers",
                        .uid = geteuid(),
                        .gid = getegid(),
                        .done = on_done,
                },
        };
        staging_run(l, &o->staging);
        assert_true(loop_run_until(l, is_done, o, 10000));
}

static void stage(struct loop *l, struct outcome *o, const char *code, size_t code_size,
                  const char *input, size_t input_size, bool is_base64)
{
        stage_named(l, o, NULL, code, code_size, input, input_size, is_base64);
}

static void assert_file(const char *path, char c, size_t size)
{
        struct stat st;
        FILE *f = fopen(path, "re");

        assert_non_null(f);
        assert_int_equal(fstat(fileno(f), &st), 0);
        assert_int_equal(st.st_size, size);
        assert_int_equal(fgetc(f), c);
        fclose(f);
}

static void check_size(struct loop *l, size_t size)
{
        char *text = malloc(size);
        struct outcome o;
        struct stat st;

        memset(text, 'x', size);
        stage(l, &o, text, size, text, size, false);
        assert_int_equal(o.staging.result, 0);
        assert_file(o.staging.script->file, 'x', size);
        assert_int_equal(fstat(o.staging.input_fd, &st), 0);
        assert_int_equal(st.st_size, size);
        assert_int_equal(lseek(o.staging.input_fd, 0, SEEK_CUR), 0);
        staging_done(l, &o.staging);
        assert_true(is_root_empty(NULL));
        free(text);
}

static void test_sizes(void **state)
{
        check_size(*state, 1);
        check_size(*state, LIMIT_STAGING_INLINE);
        check_size(*state, 3 * MIB);
}

static void test_nothing(void **state)
{
        struct outcome o;

        stage(*state, &o, NULL, 0, NULL, 0, false);
        assert_int_equal(o.staging.result, 0);
        assert_null(o.staging.script);
        assert_int_equal(o.staging.input_fd, -1);
        staging_done(*state, &o.staging);
}

static void test_base64(void **state)
{
        struct outcome o;
        char bytes[8];

        stage(*state, &o, NULL, 0, "AAEC/w==", 8, true);
        assert_int_equal(o.staging.result, 0);
        assert_int_equal(read(o.staging.input_fd, bytes, sizeof(bytes)), 4);
        assert_memory_equal(bytes, "\0\1\2\xff", 4);
        staging_done(*state, &o.staging);

        stage(*state, &o, "code", 4, "AAEC/", 5, true);
        assert_int_equal(o.staging.result, STAGING_E_INPUT);
        assert_null(o.staging.script);
        assert_int_equal(o.staging.input_fd, -1);
        staging_done(*state, &o.staging);
        stage(*state, &o, NULL, 0, "not base64!", 11, true);
        assert_int_equal(o.staging.result, STAGING_E_INPUT);
        staging_done(*state, &o.staging);
}

static void test_leftovers_are_removed(void **state)
{
        CLEANUP(mem_free) char *path = NULL;
        struct outcome o;
        FILE *f;

        stage(*state, &o, "code", 4, NULL, 0, false);
        path = xasprintf("%s/left-behind", o.staging.script->dir);
        f = fopen(path, "we");
        assert_non_null(f);
        fclose(f);
        staging_done(*state, &o.staging);
        assert_true(loop_run_until(*state, is_root_empty, NULL, 10000));
}

/* It is somebody else's to remove; what an earlier attempt has left is in nobody's way. */
static void test_named_directory_stays(void **state)
{
        CLEANUP(mem_free) char *dir = xasprintf("%s/exec_1", root);
        CLEANUP(mem_free) char *left = xasprintf("%s/left-behind", dir);
        CLEANUP(mem_free) char *file = NULL;
        struct outcome o;
        FILE *f;

        stage_named(*state, &o, "exec_1", "xx", 2, NULL, 0, false);
        assert_int_equal(o.staging.result, 0);
        assert_string_equal(o.staging.script->dir, dir);
        file = xstrdup(o.staging.script->file);
        staging_done(*state, &o.staging);
        assert_file(file, 'x', 2);

        f = fopen(left, "we");
        assert_non_null(f);
        fclose(f);
        stage_named(*state, &o, "exec_1", "yyy", 3, NULL, 0, false);
        assert_int_equal(o.staging.result, 0);
        staging_done(*state, &o.staging);
        assert_file(file, 'y', 3);
        assert_int_equal(access(left, F_OK), -1);
        assert_int_equal(path_remove_tree(dir), 0);
}

static void test_directory_is_made_again(void **state)
{
        struct outcome o;

        assert_int_equal(rmdir(root), 0);
        stage(*state, &o, "code", 4, NULL, 0, false);
        assert_int_equal(o.staging.result, 0);
        staging_done(*state, &o.staging);
        assert_true(is_root_empty(NULL));
}

static void test_no_directory(void **state)
{
        FILE *f;
        struct outcome o;

        assert_int_equal(rmdir(root), 0);
        f = fopen(root, "we"); /* in the way */
        assert_non_null(f);
        fclose(f);
        stage(*state, &o, "code", 4, "in", 2, false);
        assert_int_equal(o.staging.result, -ENOTDIR);
        assert_non_null(strstr(o.staging.error.message, root));
        staging_done(*state, &o.staging);
        assert_int_equal(unlink(root), 0);
        assert_int_equal(mkdir(root, 0700), 0);
}

static int make_root(void **state)
{
        (void)state;
        return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
        (void)state;
        return path_remove_tree(root);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, loop_setup, loop_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_sizes),
                TEST(test_nothing),
                TEST(test_base64),
                TEST(test_leftovers_are_removed),
                TEST(test_named_directory_stays),
                TEST(test_directory_is_made_again),
                TEST(test_no_directory),
        };

        return cmocka_run_group_tests(tests, make_root, remove_root);
}
