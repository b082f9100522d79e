/* SPDX-License-Identifier: Apache-2.0 */

#include "tests/unit/config_fixture.h"

static void test_file(void **state)
{
        struct fixture *f = *state;
        struct config *c;

        write_text(f->file, "; comment\n"
                            "\n"
                            "[agent]\n"
                            "# comment\n"
                            "max_body = 1M ; a megabyte\r\n"
                            "listen=127.0.0.1:80\n"
                            "  public-info = no\n" /* indented, not continued */
                            "run-as =\n"
                            "kill-grace = 2"); /* no newline at the end */
        c = load_ok(f, NO_ARGS, NO_ARGS);
        assert_int_equal(c->max_body, 1 << 20);
        assert_string_equal(c->listen, "127.0.0.1:80");
        assert_false(c->public_info);
        assert_null(c->run_as);
        assert_int_equal(c->kill_grace_ms, 2000);
        config_free(c);
}

static void test_file_errors(void **state)
{
        static const struct {
                const char *text;
                unsigned line;
                const char *message;
        } cases[] = {
                { "\n[agent]\nmax-bdoy = 1\n", 3,
                  "unknown option 'max-bdoy' (did you mean 'max-body'?)" },
                { "max_bdoy = 1\n", 1, "unknown option 'max_bdoy' (did you mean 'max-body'?)" },
                { "max-body = 16M\nlisten = 1.2.3.4:70000\n", 2,
                  "listen: port must be between 0 and 65535, got 70000" },
                { "max-body = 1\nmax-output = x\n", 1,
                  "max-body: must be between 1K and 1G, got 1" },
                { "listen = 1.2.3.4:1\n\nlisten = 1.2.3.4:2\n", 3,
                  "listen: already given in line 1" },
                { "[agent]\n[server]\n", 2, "unknown section [server]" },
                { "  [server]\nlisten = 1.2.3.4:1\n", 1, "unknown section [server]" },
                { "max-body = 1M\nnonsense\nmax-output = x\n", 2, "expected 'option = value'" },
                { "max-output = x\nnonsense\n", 1,
                  "max-output: must be a size such as 512K, 16M or 1G, got x" },
                { "config = /etc/other.conf\n", 1, "unknown option 'config'" },
                { "workspace = here\n", 1, "workspace: must be an absolute path, got here" },
                { "jwt-secret-file = hunter2\n", 1,
                  "jwt-secret-file: must be an absolute path, got a value that is not shown" },
        };
        struct fixture *f = *state;
        char expected[512];
        char line[400];

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                write_text(f->file, cases[i].text);
                snprintf(expected, sizeof(expected), "%s:%u: %s", f->file, cases[i].line,
                         cases[i].message);
                expect_error(f, NO_ARGS, NO_ARGS, expected);
        }

        /* inih would take an over-long line for two. */
        memset(line, 'x', sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        memcpy(line, "\nvm-id = ", strlen("\nvm-id = "));
        write_text(f->file, line);
        snprintf(expected, sizeof(expected), "%s:2: line is longer than 198 characters", f->file);
        expect_error(f, NO_ARGS, NO_ARGS, expected);
}

static void test_which_file(void **state)
{
        struct fixture *f = *state;
        char other[64];
        char variable[96];
        char option[96];
        char missing[128];
        struct config *c;

        write_text(f->file, "vm-id = default\n");
        snprintf(other, sizeof(other), "%s/other.conf", f->dir);
        snprintf(variable, sizeof(variable), "VM_AGENT_CONFIG=%s", other);
        snprintf(option, sizeof(option), "--config=%s", other);

        snprintf(missing, sizeof(missing), "configuration file: open %s: No such file or directory",
                 other);
        expect_error(f, NO_ARGS, ARGS(option), missing);
        expect_error(f, ARGS(variable), NO_ARGS, missing);

        write_text(other, "vm-id = other\n");
        c = load_ok(f, NO_ARGS, ARGS(option));
        assert_string_equal(c->vm_id, "other");
        assert_string_equal(c->config_file, other);
        config_free(c);
        c = load_ok(f, ARGS(variable), NO_ARGS);
        assert_string_equal(c->vm_id, "other");
        config_free(c);
        c = load_ok(f, ARGS(variable), ARGS("--config", f->file));
        assert_string_equal(c->vm_id, "default");
        assert_string_equal(c->config_file, f->file);
        config_free(c);
        (void)unlink(other);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_file_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_which_file, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
