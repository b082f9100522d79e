/* SPDX-License-Identifier: Apache-2.0 */

/* The languages, with the real interpreters where they are installed. AGENT_DRIVERS has the drivers. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/path.h"
#include "proc/environment.h"
#include "proc/runtime.h"
#include "tests/lib/skip.h"
#include "tests/lib/supervisor_fixture.h"

static char root[32];

static int setup(void **state)
{
        (void)snprintf(root, sizeof(root), "/tmp/test-runtime-XXXXXX");
        assert_non_null(mkdtemp(root));
        assert_int_equal(chmod(root, 0755), 0);
        return fixture_setup_cgroup(state);
}

static int teardown(void **state)
{
        (void)path_remove_tree(root);
        return fixture_teardown(state);
}

static void write_helper(const char *name, const char *text)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", root, name);
        FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static void make_script(struct fixture *f, enum language l, const char *code, struct script **ret)
{
        struct error err = ERROR_INIT;

        assert_non_null(getenv("AGENT_DRIVERS"));
        if (script_new(l, code, strlen(code), root, NULL, getenv("AGENT_DRIVERS"),
                       supervisor_user(f->supervisor), root, false, ret, &err) < 0)
                fail_msg("%s", err.message);
}

/* Runs @code with the test's directory as working directory. */
static void run_code(struct fixture *f, enum language l, const char *code, struct run *r)
{
        CLEANUP(script_free) struct script *s = NULL;
        char **env = NULL;

        make_script(f, l, code, &s);
        assert_int_equal(environment_build(supervisor_user(f->supervisor), NULL, NULL,
                                           (const char *const *)s->extra_env, &env),
                         0);
        (void)run_start(f, r,
                        (struct process_options){
                                .argv = s->argv, .envp = env, .cwd = root, .input_fd = -1 });
        strv_free(env);
        run_wait(f, r);
}

struct expectation {
        const char *code;
        const char *output;
        const char *errors; /* a part of stderr; NULL: it is empty */
        int exit_code;
};

static void check_rows(struct fixture *f, enum language l, const struct expectation *rows, size_t n)
{
        if (!runtime_is_available(l, getenv("PATH"), NULL))
                SKIP_TEST(language_name(l));
        for (size_t i = 0; i < n; i++) {
                struct run r;

                run_code(f, l, rows[i].code, &r);
                if (rows[i].errors ? !strstr(r.errors, rows[i].errors) : *r.errors)
                        fail_msg("%s: stderr is: %s", rows[i].code, r.errors);
                assert_string_equal(r.output, rows[i].output);
                assert_int_equal(r.result.exit_code, rows[i].exit_code);
                assert_null(strstr(r.errors, "driver."));
                run_done(&r);
        }
}

static void test_names(void **state)
{
        unsigned n = 0;

        (void)state;
        for (const struct enum_name *e = language_names; e->name; e++) {
                assert_in_range(e->value, 0, N_LANGUAGES - 1);
                n += strcmp(e->name, language_name((enum language)e->value)) == 0;
        }
        assert_int_equal(n, N_LANGUAGES);
}

static void test_availability(void **state)
{
        const char *missing = NULL;

        (void)state;
        assert_true(runtime_is_available(LANGUAGE_BASH, "/nowhere::/usr/bin:/bin", &missing));
        assert_null(missing);
        assert_false(runtime_is_available(LANGUAGE_BASH, "/etc:/usr/share", &missing));
        assert_string_equal(missing, "bash");
        assert_false(runtime_is_available(LANGUAGE_PYTHON, "", &missing));
        assert_string_equal(missing, "python3");
}

static void test_script_files(void **state)
{
        struct fixture *f = *state;
        struct script *s = NULL;
        struct stat st;
        char *dir;

        make_script(f, LANGUAGE_BASH, "echo 1", &s);
        assert_int_equal(stat(s->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
        assert_int_equal(stat(s->file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_size, 6);
        dir = xstrdup(s->dir);
        s = script_free(s);
        assert_int_equal(access(dir, F_OK), -1);
        free(dir);
        assert_null(script_free(NULL));
}

static void test_script_belongs_to_the_user(void **state)
{
        CLEANUP(credentials_free) struct credentials *nobody = NULL;
        CLEANUP(script_free) struct script *s = NULL;
        struct error err = ERROR_INIT;
        struct stat st;

        (void)state;
        if (geteuid() != 0 || credentials_new("nobody", &nobody, &err) < 0)
                SKIP_TEST("needs root and nobody");
        assert_int_equal(script_new(LANGUAGE_BASH, "x", 1, root, NULL, "/drivers", nobody, "/",
                                    false, &s, &err),
                         0);
        assert_int_equal(stat(s->dir, &st), 0);
        assert_int_equal(st.st_uid, nobody->uid);
        assert_int_equal(stat(s->file, &st), 0);
        assert_int_equal(st.st_uid, nobody->uid);
}

static void test_script_failure(void **state)
{
        struct fixture *f = *state;
        struct script *s = NULL;
        struct error err = ERROR_INIT;

        assert_int_equal(script_new(LANGUAGE_BASH, "x", 1, "/dev/null/dir", NULL, "/drivers",
                                    supervisor_user(f->supervisor), "/", false, &s, &err),
                         -ENOTDIR);
        assert_null(s);
}

static void test_python(void **state)
{
        static const struct expectation rows[] = {
                { "print(1 + 1)", "2\n", NULL, 0 },
                { "import helper; print(helper.value)", "42\n", NULL, 0 },
                { "import os, sys; print(os.getcwd() == sys.path[1])", "True\n", NULL, 0 },
                { "import sys; sys.exit(3)", "", NULL, 3 },
                { "print('x')\n1/0", "x\n", "ZeroDivisionError", 1 },
                { "def", "", "SyntaxError", 1 },
        };

        write_helper("helper.py", "value = 42\n");
        check_rows(*state, LANGUAGE_PYTHON, rows, ARRAY_LEN(rows));
}

static void test_javascript(void **state)
{
        static const struct expectation rows[] = {
                { "console.log(1 + 1)", "2\n", NULL, 0 },
                { "console.log(require('./helper').value, require.main === module)", "42 true\n",
                  NULL, 0 },
                { "console.log(__dirname === process.cwd(), process.argv.length)", "true 2\n", NULL,
                  0 },
                { "import { value } from './module.mjs';\nimport fs from 'fs';\nconsole.log(value)",
                  "43\n", NULL, 0 },
                { "import('./module.mjs').then((m) => console.log(m.value))", "43\n", NULL, 0 },
                { "console.log(await Promise.resolve(5))", "5\n", NULL, 0 },
                { "const fs = require('fs');\nawait 1;\n"
                  "console.log(typeof fs.readFileSync, fs.readdirSync('.').length)",
                  "function 3\n", NULL,
                  0 }, /* the two helpers and the script's directory: the copy is gone */
                { "export const a = 1; console.log(a)", "1\n", NULL, 0 },
                { "return", "", NULL, 0 },
                { "process.exit(7)", "", NULL, 7 },
                { "setTimeout(() => { console.log('late'); process.exitCode = 4 }, 1)", "late\n",
                  NULL, 4 },
                { "throw new Error('boom')", "", "Error: boom\n    at Object.<anonymous> (", 1 },
                { "\n\nnull.x", "", "main.js:3", 1 },
                { "Promise.reject(new Error('nope'))", "", "Error: nope", 1 },
                { "let x = ;", "", "SyntaxError", 1 },
                { "await null.x", "", "TypeError", 1 },
        };

        write_helper("helper.js", "module.exports = { value: 42 };\n");
        write_helper("module.mjs", "export const value = 43;\n");
        check_rows(*state, LANGUAGE_JAVASCRIPT, rows, ARRAY_LEN(rows));
}

static void test_bash(void **state)
{
        static const struct expectation rows[] = {
                { "echo $((1 + 1))", "2\n", NULL, 0 },
                { "cat <<END\nhere $PPID\nEND\nexit 3", NULL, NULL, 3 },
                { "set -e\nfalse\necho never", "", NULL, 1 },
                { "exec echo replaced", "replaced\n", NULL, 0 },
                { "no-such-command", "", "command not found", 127 },
        };
        struct expectation fixed[ARRAY_LEN(rows)];
        char here[32];

        memcpy(fixed, rows, sizeof(rows));
        (void)snprintf(here, sizeof(here), "here %d\n", (int)getpid());
        fixed[1].output = here;
        check_rows(*state, LANGUAGE_BASH, fixed, ARRAY_LEN(fixed));
}

static void test_go(void **state)
{
        static const struct expectation rows[] = {
                { "fmt.Println(add(1, 1))\nfunc add(a, b int) int { return a + b }", "2\n", NULL,
                  0 },
                { "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(7) }\n", "", NULL, 7 },
                { "x := 1\n\nfmt.Println(undefined)", "", "main.go:3:13: undefined: undefined\n",
                  1 },
                { "package main\n\nfunc main() { x }\n", "", "main.go:3:15: ", 1 },
        };

        check_rows(*state, LANGUAGE_GO, rows, ARRAY_LEN(rows));
}

/* A signal that ends the program is not hidden by what started it. */
static void test_go_signal(void **state)
{
        struct fixture *f = *state;
        struct run r;

        if (!runtime_is_available(LANGUAGE_GO, getenv("PATH"), NULL))
                SKIP_TEST("no Go");
        run_code(f, LANGUAGE_GO, "syscall.Kill(os.Getpid(), syscall.SIGKILL)", &r);
        assert_int_equal(r.result.reason, END_SIGNAL);
        assert_int_equal(r.result.signal, 9);
        run_done(&r);
}

/* Without a toolchain the driver says so, and like a shell would. */
static void test_go_is_absent(void **state)
{
        struct fixture *f = *state;
        CLEANUP(script_free) struct script *s = NULL;
        struct run r;

        if (access("/usr/local/go/bin/go", X_OK) == 0)
                SKIP_TEST("it is there");
        make_script(f, LANGUAGE_GO, "x", &s);
        (void)run_start(f, &r,
                        (struct process_options){
                                .argv = s->argv, .envp = (char *[]){ NULL }, .input_fd = -1 });
        run_wait(f, &r);
        assert_int_equal(r.result.exit_code, 127);
        assert_non_null(strstr(r.errors, "not installed"));
        run_done(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_availability),
                cmocka_unit_test_setup_teardown(test_script_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_script_belongs_to_the_user, setup, teardown),
                cmocka_unit_test_setup_teardown(test_script_failure, setup, teardown),
                cmocka_unit_test_setup_teardown(test_python, setup, teardown),
                cmocka_unit_test_setup_teardown(test_javascript, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bash, setup, teardown),
                cmocka_unit_test_setup_teardown(test_go, setup, teardown),
                cmocka_unit_test_setup_teardown(test_go_signal, setup, teardown),
                cmocka_unit_test_setup_teardown(test_go_is_absent, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
