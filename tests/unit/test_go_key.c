/* SPDX-License-Identifier: Apache-2.0 */

/* Names for programs: what makes another one, what makes none, and what counts as kept. The toolchain is a file. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "proc/go_key.h"

static char root[64];
static char *path_variable;

static void write_file(const char *name, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", root, name);
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(chmod(path, 0755), 0);
}

static int setup(void **state)
{
        CLEANUP(mem_free) char *bin = NULL;

        (void)state;
        (void)snprintf(root, sizeof(root), "/tmp/test-go-key-XXXXXX");
        assert_non_null(mkdtemp(root));
        bin = xasprintf("%s/bin", root);
        assert_int_equal(mkdir(bin, 0755), 0);
        write_file("bin/go", "#!/bin/sh\n");
        write_file("VERSION", "go1.0\n");
        path_variable = xasprintf("PATH=%s", bin);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        free(path_variable);
        return path_remove_tree(root);
}

static bool name(const char *code, const char *cwd, const char *const *env, char *ret)
{
        uint8_t source[DIGEST_SIZE];
        char **envp = strv_append(NULL, xstrdup(path_variable));
        bool ok = go_key_source(code, strlen(code), source);

        for (; *env; env++)
                envp = strv_append(envp, xstrdup(*env));
        ok = ok && go_key(source, cwd, envp, ret);
        strv_free(envp);
        return ok;
}

#define ENV(...)                                  \
        (const char *const[])                     \
        {                                         \
                "HOME=/none", ##__VA_ARGS__, NULL \
        }

static void test_names(void **state)
{
        const char *const *const others[] = { ENV("GOFLAGS=-v"), ENV("CGO_CFLAGS=-O0"), ENV("CC=x"),
                                              ENV("GOARCH=arm") };
        char first[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];

        (void)state;
        assert_true(name("package main", root, ENV(), first));
        assert_int_equal(strlen(first), 64);
        assert_true(name("package main", root, ENV("GO111MODULE=on", "GOWORK=off"), other));
        assert_true(name("package main", "/tmp", ENV("OTHER=1"), other));
        assert_string_equal(first, other);
        assert_true(name("package main\n", root, ENV(), other));
        assert_string_not_equal(first, other);
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
                assert_true(name("package main", root, others[i], other));
                assert_string_not_equal(first, other);
        }

        /* The order of variables is nobody's business. */
        assert_true(name("package main", root, ENV("GOA=1", "GOB=2"), first));
        assert_true(name("package main", root, ENV("GOB=2", "GOA=1"), other));
        assert_string_equal(first, other);

        /* Another toolchain. */
        write_file("bin/go", "#!/bin/sh\n\n");
        assert_true(name("package main", root, ENV("GOA=1", "GOB=2"), other));
        assert_string_not_equal(first, other);
        write_file("VERSION", "go1.0.1\n");
        assert_true(name("package main", root, ENV("GOA=1", "GOB=2"), first));
        assert_string_not_equal(first, other);
}

/* The toolchain is what GOROOT says; or it is a wrapper's secret. */
static void test_toolchain_elsewhere(void **state)
{
        CLEANUP(mem_free) char *elsewhere = xasprintf("%s/elsewhere", root);
        CLEANUP(mem_free) char *variable = xasprintf("GOROOT=%s", elsewhere);
        CLEANUP(mem_free) char *version = xasprintf("%s/VERSION", root);
        char first[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];

        (void)state;
        assert_int_equal(mkdir(elsewhere, 0755), 0);
        assert_false(name("x", root, ENV(variable), first));
        write_file("elsewhere/VERSION", "go1.0\n");
        assert_true(name("x", root, ENV(variable), first));
        write_file("elsewhere/VERSION", "go1.0.1\n");
        assert_true(name("x", root, ENV(variable), other));
        assert_string_not_equal(first, other);

        assert_true(name("x", root, ENV(), first));
        assert_int_equal(unlink(version), 0);
        assert_false(name("x", root, ENV(), first));
}

static void test_none(void **state)
{
        CLEANUP(mem_free) char *below = xasprintf("%s/a", root);
        CLEANUP(mem_free) char *outside = xasprintf("%s-link", root);
        char ret[DIGEST_HEX_SIZE];

        (void)state;
        assert_false(name("import \"C\"", root, ENV(), ret));
        assert_false(name("import `C`", root, ENV(), ret));
        assert_false(name("x", root, ENV("GO111MODULE=off"), ret));
        assert_false(name("x", root, ENV("GO111MODULE=auto"), ret));
        assert_false(name("x", root, ENV("GOWORK=/x/go.work"), ret));
        assert_int_equal(mkdir(below, 0755), 0);
        assert_true(name("x", below, ENV(), ret));
        assert_true(name("x", "/", ENV(), ret));
        assert_false(name("x", "/no/such/directory", ENV(), ret));
        assert_int_equal(symlink(below, outside), 0);
        assert_true(name("x", outside, ENV(), ret));
        write_file("go.work", "");
        assert_false(name("x", outside, ENV(), ret));
        assert_int_equal(unlink(outside), 0);
        assert_false(name("x", below, ENV(), ret));
        assert_false(name("x", root, ENV(), ret));
}

/* The loop waits for this. */
static void test_deep_directories(void **state)
{
        CLEANUP(mem_free) char *path = xstrdup(root);
        char ret[DIGEST_HEX_SIZE];

        (void)state;
        for (unsigned n = 0; n < 70; n++) {
                char *below = xasprintf("%s/a", path);

                free(path);
                path = below;
                assert_int_equal(mkdir(path, 0755), 0);
                if (n == 50)
                        assert_true(name("x", path, ENV(), ret));
        }
        assert_false(name("x", path, ENV(), ret));
}

static void test_paths(void **state)
{
        char xdg[] = "XDG_CACHE_HOME=/c", relative[] = "XDG_CACHE_HOME=c", home[] = "HOME=/tmp",
             no_home[] = "HOME=/no/such", tmp[] = "TMPDIR=/no/such";
        char *const in_cache[] = { xdg, home, NULL }, *const in_home[] = { relative, home, NULL },
                    *const nowhere[] = { no_home, tmp, NULL };
        CLEANUP(mem_free) char *a = go_kept_path("n", in_cache, 1);
        CLEANUP(mem_free) char *b = go_kept_path("n", in_home, 1);

        (void)state;
        assert_string_equal(a, "/c/vm-agent/go/n");
        assert_string_equal(b, "/tmp/.cache/vm-agent/go/n");
        assert_null(go_kept_path("n", nowhere, 1));
}

static void test_kept(void **state)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/program", root);
        const struct timespec stamp[] = { { .tv_sec = 1 }, { .tv_sec = 946684800 } };
        struct stat st;

        (void)state;
        assert_false(go_is_kept(path, geteuid()));
        write_file("program", "x");
        assert_false(go_is_kept(path, geteuid()));
        assert_int_equal(utimensat(AT_FDCWD, path, stamp, 0), 0);
        assert_false(go_is_kept(path, geteuid() + 1));
        assert_true(go_is_kept(path, geteuid()));
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_atim.tv_sec > 1); /* it was used */
        assert_int_equal(st.st_mtim.tv_sec, 946684800);
        assert_int_equal(chmod(path, 0600), 0);
        assert_false(go_is_kept(path, geteuid()));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_names, setup, teardown),
                cmocka_unit_test_setup_teardown(test_toolchain_elsewhere, setup, teardown),
                cmocka_unit_test_setup_teardown(test_none, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deep_directories, setup, teardown),
                cmocka_unit_test(test_paths),
                cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
