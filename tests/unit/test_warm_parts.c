/* SPDX-License-Identifier: Apache-2.0 */

/* What warm starts are decided by: imports, variables, the message, and changes on the disk. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "proc/driver_protocol.h"
#include "proc/environment.h"
#include "proc/warm_private.h"

/* --- imports --- */

static void test_imports(void **state)
{
        static const struct {
                const char *code;
                bool is_found;
        } cases[] = {
                { "import numpy", true },
                { "import numpy as np\n", true },
                { "import os, numpy", true },
                { "from numpy import array", true },
                { "\n\n    import numpy.linalg\n", true },
                { "x = 1\r\nimport PIL.Image\r\n", true },
                { "import seaborn as sns", true },
                { "from scipy.stats import norm", true },
                { "np = __import__('numpy')", true },
                { "importlib.import_module(\"pandas\")", true },
                { "import os; import pandas", true },
                { "", false },
                { "import", false },
                { "numpy", false },
                { "print('numpy')\nimport os\n", false },
                { "import numpyro", false },
                { "import mynumpy", false },
                { "import _numpy", false },
                { "import os\nnumpy = 1\n", false },
        };
        char *names[] = { (char *)"numpy", (char *)"pandas", (char *)"PIL", NULL };
        char *nobody[] = { NULL };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                if (warm_scan_imports(cases[i].code, strlen(cases[i].code), names) !=
                    cases[i].is_found)
                        fail_msg("%s", cases[i].code);
        assert_false(warm_scan_imports("import numpy", 12, NULL));
        assert_false(warm_scan_imports("import seaborn", 14, nobody));
        assert_false(warm_scan_imports("import numpy", 11, names)); /* not past the end */
}

static void test_a_long_program(void **state)
{
        char *names[] = { (char *)"numpy", NULL };
        size_t size = 8 * MIB;
        char *code = xcalloc(size, 1);

        (void)state;
        memset(code, 'x', size);
        memcpy(code, "import os\n", 10);
        assert_false(warm_scan_imports(code, size, names));
        memcpy(code + 10, "import numpy\n", 13);
        assert_true(warm_scan_imports(code, size, names));
        free(code);
}

static void expect_names(const char *text, const char *expected)
{
        CLEANUP(strv_free) char **names = warm_scan_names(text);
        CLEANUP(buf_done) struct buf joined;

        buf_init(&joined, 0);
        for (char **n = names; n && *n; n++)
                assert_int_equal(buf_appendf(&joined, "%s|", *n), 0);
        assert_string_equal(joined.size ? joined.data : "", expected);
}

static void test_names(void **state)
{
        (void)state;
        expect_names("numpy,pandas", "numpy|pandas|");
        expect_names(" numpy , PIL.Image,", "numpy|PIL|");
        expect_names("none", "");
        expect_names(NULL, "");
        expect_names(",,", "");
        expect_names("../x,ok", "ok|");
}

/* --- variables --- */

#define CWD  "/nonexistent/work"
#define OURS "PYTHONPATH=" CWD

static bool fits(enum pool_kind kind, const char *a, const char *b)
{
        char *const pool[] = { (char *)"PATH=/bin", (char *)"LANG=C.UTF-8", (char *)a, NULL };
        char *const envp[] = { (char *)OURS, (char *)"LANG=C.UTF-8", (char *)b, NULL };

        return warm_environment_fits(kind, pool, envp, CWD);
}

static void test_variables(void **state)
{
        static const struct {
                const char *variable;
                bool is_for[N_POOLS]; /* it counts */
        } cases[] = {
                { "PYTHONHASHSEED=0", { true, true, false } },
                { "PYTHONUNBUFFERED=2", { true, true, false } },
                { "LD_PRELOAD=/x.so", { true, true, true } },
                { "LC_ALL=C", { true, true, true } },
                { "LANGUAGE=de", { true, true, true } },
                { "HOME=/x", { true, true, false } },
                { "VIRTUAL_ENV=/x", { true, true, false } },
                { "VIRTUAL_ENV_PROMPT=x", { false, false, false } },
                { "XDG_CACHE_HOME=/x", { true, true, false } },
                { "TZ=UTC", { false, false, true } },
                { "TZDIR=/x", { false, false, false } },
                { "OMP_NUM_THREADS=1", { false, true, false } },
                { "MPLBACKEND=agg", { false, true, false } },
                { "NODE_OPTIONS=--x", { false, false, true } },
                { "UV_THREADPOOL_SIZE=1", { false, false, true } },
                { "ANYTHING=1", { false, false, false } },
                { "HOMEPAGE=1", { false, false, false } },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                for (int k = 0; k < N_POOLS; k++) {
                        const char *v = cases[i].variable;

                        if (fits((enum pool_kind)k, NULL, v) == cases[i].is_for[k] ||
                            fits((enum pool_kind)k, v, NULL) == cases[i].is_for[k] ||
                            !fits((enum pool_kind)k, v, v))
                                fail_msg("%s in pool %d", v, k);
                }
        assert_false(fits(POOL_PYTHON, "HOME=/a", "HOME=/b"));
}

static void test_python_path(void **state)
{
        char *const pool[] = { NULL };
        char *const none[] = { NULL };
        char *const other[] = { (char *)"PYTHONPATH=/other", NULL };
        char *const more[] = { (char *)OURS ":/other", NULL };
        char *const ours[] = { (char *)OURS, NULL };

        (void)state;
        assert_int_equal(unsetenv("PYTHONPATH"), 0);
        assert_true(warm_environment_fits(POOL_PYTHON, pool, ours, CWD));
        assert_false(warm_environment_fits(POOL_PYTHON, pool, ours, "/nonexistent"));
        assert_false(warm_environment_fits(POOL_PYTHON, pool, none, CWD));
        assert_false(warm_environment_fits(POOL_PYTHON, pool, other, CWD));
        assert_false(warm_environment_fits(POOL_PYTHON, pool, more, CWD));
        assert_true(warm_environment_fits(POOL_JAVASCRIPT, pool, other, CWD));
        assert_int_equal(setenv("PYTHONPATH", "/other", 1), 0);
        assert_true(warm_environment_fits(POOL_PYTHON, pool, more, CWD));
        assert_false(warm_environment_fits(POOL_PYTHON, pool, ours, CWD));
        assert_int_equal(unsetenv("PYTHONPATH"), 0);
}

static bool pool_has(enum pool_kind kind, json_t *global, const char *name, const char *value)
{
        char user[] = "u", home[] = "/h", shell[] = "/bin/sh";
        const struct credentials who = { .name = user, .home = home, .shell = shell };
        CLEANUP(strv_free) char **envp = warm_environment_of_pool(kind, &who, global);

        return str_equal(environment_get(envp, name), value);
}

/* The global variables that count are in the environment of those who wait, the others are not. */
static void test_global_variables(void **state)
{
        json_t *global = json_pack("{s:s, s:s, s:s, s:s, s:s}", "PATH", "/elsewhere", "TZ",
                                   "Asia/Tokyo", "LANG", "POSIX", "PYTHONPATH", "/x", "SECRET",
                                   "x");

        (void)state;
        assert_true(pool_has(POOL_PYTHON, NULL, "HOME", "/h"));
        for (int k = 0; k < N_POOLS; k++) {
                assert_true(pool_has((enum pool_kind)k, global, "PATH", "/elsewhere"));
                assert_true(pool_has((enum pool_kind)k, global, "LANG", "POSIX"));
                assert_true(pool_has((enum pool_kind)k, global, "PYTHONPATH", NULL));
                assert_true(pool_has((enum pool_kind)k, global, "SECRET", NULL));
        }
        assert_true(pool_has(POOL_JAVASCRIPT, global, "TZ", "Asia/Tokyo"));
        assert_true(pool_has(POOL_PYTHON, global, "TZ", getenv("TZ")));
        json_decref(global);
}

/* --- the disk --- */

struct disk {
        char dir[32];
        struct warm_watch watch;
};

static int disk_setup(void **state)
{
        struct disk *d = xnew(struct disk);

        (void)snprintf(d->dir, sizeof(d->dir), "/tmp/warm.XXXXXX");
        assert_non_null(mkdtemp(d->dir));
        warm_watch_init(&d->watch);
        *state = d;
        return 0;
}

static int disk_teardown(void **state)
{
        struct disk *d = *state;

        warm_watch_done(&d->watch);
        assert_int_equal(path_remove_tree(d->dir), 0);
        free(d);
        return 0;
}

static void touch(const struct disk *d, const char *name, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", d->dir, name);
        CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void make_dir(const struct disk *d, const char *name)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", d->dir, name);

        assert_int_equal(mkdir(path, 0700), 0);
}

/* Watches @name ("": the directory). */
static int watch(struct disk *d, const char *name, long since_s)
{
        CLEANUP(mem_free) char *path = xasprintf("%s%s%s", d->dir, *name ? "/" : "", name);
        struct error err = ERROR_INIT;
        struct timespec since;

        assert_int_equal(clock_gettime(CLOCK_REALTIME, &since), 0);
        since.tv_sec += since_s;
        return warm_watch_open(&d->watch, path, strlen(path) + 1, &since, &err);
}

static void test_changes(void **state)
{
        struct disk *d = *state;
        CLEANUP(mem_free) char *a = xasprintf("%s/a", d->dir);
        CLEANUP(mem_free) char *b = xasprintf("%s/b", d->dir);

        assert_false(warm_watch_has_changed(&d->watch)); /* none */
        assert_int_equal(watch(d, "", 60), 0);
        assert_false(warm_watch_has_changed(&d->watch));
        touch(d, "a", "x");
        assert_true(warm_watch_has_changed(&d->watch));
        assert_false(warm_watch_has_changed(&d->watch)); /* told once */
        touch(d, "a", "y");
        assert_true(warm_watch_has_changed(&d->watch));
        assert_int_equal(rename(a, b), 0);
        assert_true(warm_watch_has_changed(&d->watch));
        assert_int_equal(chmod(b, 0640), 0);
        assert_true(warm_watch_has_changed(&d->watch));
        assert_int_equal(unlink(b), 0);
        assert_true(warm_watch_has_changed(&d->watch));
        make_dir(d, "package");
        assert_true(warm_watch_has_changed(&d->watch));
}

static void test_byte_code_is_no_change(void **state)
{
        struct disk *d = *state;

        assert_int_equal(watch(d, "", 60), 0);
        make_dir(d, "__pycache__");
        touch(d, "__pycache__/a.cpython-311.pyc", "x");
        touch(d, "b.pyc", "x");
        assert_false(warm_watch_has_changed(&d->watch));
        touch(d, "b.py", "x");
        assert_true(warm_watch_has_changed(&d->watch));
}

static void test_what_is_missing_is_watched_for(void **state)
{
        struct disk *d = *state;

        assert_int_equal(watch(d, "lib/python/site-packages", 60), 0);
        touch(d, "history", "x"); /* a busy directory, such as a home */
        make_dir(d, "other");
        assert_false(warm_watch_has_changed(&d->watch));
        make_dir(d, "lib");
        assert_true(warm_watch_has_changed(&d->watch));
}

static void test_too_late(void **state)
{
        struct disk *d = *state;

        touch(d, "a", "x");
        assert_int_equal(watch(d, "", 60), 0);
        assert_int_equal(watch(d, "", -60), WARM_WATCH_E_CHANGED);
        touch(d, "b", "x");
        assert_true(warm_watch_has_changed(&d->watch)); /* it is watched all the same */
}

static void test_gone_directory(void **state)
{
        struct disk *d = *state;
        CLEANUP(mem_free) char *path = xasprintf("%s/package", d->dir);

        make_dir(d, "package");
        assert_int_equal(watch(d, "package", 60), 0);
        assert_int_equal(rmdir(path), 0);
        assert_true(warm_watch_has_changed(&d->watch));
}

/* --- programs --- */

static void make_program(const struct disk *d, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/python3", d->dir);

        (void)unlink(path);
        touch(d, "python3", text);
        assert_int_equal(chmod(path, 0755), 0);
}

static void test_programs(void **state)
{
        struct disk *d = *state;
        CLEANUP(mem_free) char *path = xasprintf("PATH=/nonexistent:%s:/bin", d->dir);
        CLEANUP(mem_free) char *relative = xasprintf("PATH=bin:%s", d->dir);
        CLEANUP(mem_free) char *here = xasprintf("PATH=:%s", d->dir);
        CLEANUP(mem_free) char *expected = xasprintf("%s/python3", d->dir);
        char *const envp[] = { path, NULL }, *const none[] = { NULL };
        char *const bad[] = { relative, NULL }, *const bad2[] = { here, NULL };
        struct warm_program p, q;

        touch(d, "python3", "not executable");
        make_program(d, "#!/bin/sh\n");
        assert_int_equal(warm_program_find(POOL_PYTHON, envp, &p), 0);
        assert_string_equal(p.path, expected);
        warm_program_look_into(&p);
        assert_true(p.is_script);
        assert_int_equal(warm_program_find(POOL_PYTHON, envp, &q), 0);
        assert_true(warm_program_is_same(&p, &q));
        make_program(d, "#!/bin/sh\n\n");
        assert_int_equal(warm_program_find(POOL_PYTHON, envp, &q), 0);
        assert_false(warm_program_is_same(&p, &q));
        assert_int_equal(warm_program_find(POOL_PYTHON, none, &q), -ENOENT);
        assert_int_equal(warm_program_find(POOL_PYTHON, bad, &q), -ENOENT);
        assert_int_equal(warm_program_find(POOL_PYTHON, bad2, &q), -ENOENT);

        /* A wrapper may look into the directory; a program does not. */
        assert_false(warm_program_depends_on(&p, d->dir));
        touch(d, ".python-version", "3.12\n");
        make_dir(d, "below");
        free(expected);
        expected = xasprintf("%s/below", d->dir);
        assert_true(warm_program_depends_on(&p, d->dir));
        assert_true(warm_program_depends_on(&p, expected));
        assert_false(warm_program_depends_on(&p, "/"));
        p.is_script = false;
        assert_false(warm_program_depends_on(&p, d->dir));
}

/* --- the message --- */

static void test_job(void **state)
{
        char *const envp[] = { (char *)"A=1", (char *)"B=", NULL };
        static const char expected[] = "/dir\0/s/main.py\0pipe\0A=1\0B=";
        struct buf b;
        uint32_t size;

        (void)state;
        assert_int_equal(warm_job_build("/dir", "/s/main.py", true, envp, &b), 0);
        memcpy(&size, b.data, sizeof(size));
        assert_int_equal(size, sizeof(expected));
        assert_int_equal(b.size, sizeof(size) + sizeof(expected));
        assert_memory_equal(b.data + sizeof(size), expected, sizeof(expected));
        assert_true(warm_job_size("/dir", "/s/main.py", envp) >= b.size);
        buf_done(&b);
}

static void test_large_job(void **state)
{
        char *value = xcalloc(DRIVER_JOB_MAX + 1, 1);
        char *const envp[] = { value, NULL };
        struct buf b;

        (void)state;
        memset(value, 'x', DRIVER_JOB_MAX);
        assert_int_equal(warm_job_build("/", "/s", false, envp, &b), -EFBIG);
        assert_true(warm_job_size("/", "/s", envp) > DRIVER_JOB_MAX);
        free(value);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_imports),
                cmocka_unit_test(test_a_long_program),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_variables),
                cmocka_unit_test(test_python_path),
                cmocka_unit_test(test_global_variables),
                cmocka_unit_test_setup_teardown(test_changes, disk_setup, disk_teardown),
                cmocka_unit_test_setup_teardown(test_byte_code_is_no_change, disk_setup,
                                                disk_teardown),
                cmocka_unit_test_setup_teardown(test_what_is_missing_is_watched_for, disk_setup,
                                                disk_teardown),
                cmocka_unit_test_setup_teardown(test_too_late, disk_setup, disk_teardown),
                cmocka_unit_test_setup_teardown(test_gone_directory, disk_setup, disk_teardown),
                cmocka_unit_test_setup_teardown(test_programs, disk_setup, disk_teardown),
                cmocka_unit_test(test_job),
                cmocka_unit_test(test_large_job),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
