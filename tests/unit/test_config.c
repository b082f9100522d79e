/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/config.h"

#include <errno.h>
#include <limits.h>

#include "agent/base/log.h"
#include "agent/config_table.h"
#include "tests/unit/config_fixture.h"

static void test_table_is_sound(void **state)
{
        size_t n = 0;

        (void)state;
        option_for_each(o)
        {
                n++;
                assert_true(strlen(o->name) < OPTION_NAME_SIZE);
                assert_ptr_equal(option_find(o->name), o); /* no duplicates */
                assert_null(strchr(o->name, '_'));
                assert_non_null(o->help);
                assert_true(o->def != NULL || o->def_note != NULL);
                assert_true(o->type == OPTION_BOOL || o->metavar != NULL);
                assert_int_equal(o->type == OPTION_ENUM || o->type == OPTION_CHOICE,
                                 o->names != NULL);
                option_for_each(other)
                {
                        assert_true(other == o || other->offset != o->offset);
                }
        }
        assert_true(n <= OPTIONS_MAX);
        assert_string_equal(option_table[0].group, "Serving");
}

static void test_defaults(void **state)
{
        struct fixture *f = *state;
        struct config *c = load_ok(f, NO_ARGS, NO_ARGS);
        char host[HOST_NAME_MAX + 1] = "";

        assert_null(c->config_file);
        assert_string_equal(c->listen, "0.0.0.0:7777");
        assert_string_equal(c->workspace, "/workspace");
        assert_null(c->allowed_paths);
        assert_null(c->run_as);
        assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
        assert_string_equal(c->vm_id, host);
        assert_int_equal(c->log_level, LOG_LEVEL_INFO);
        assert_null(c->jwt_secret_file);
        assert_string_equal(c->jwt_algorithm, "HS256");
        assert_null(c->jwt_audience);
        assert_int_equal(c->jwt_leeway_ms, 30000);
        assert_true(c->public_info);
        assert_null(c->cors_origins);
        assert_int_equal(c->max_body, 16 << 20);
        assert_int_equal(c->max_connections, 1024);
        assert_int_equal(c->max_requests, 1024);
        assert_int_equal(c->header_timeout_ms, 30000);
        assert_int_equal(c->body_timeout_ms, 30000);
        assert_int_equal(c->idle_timeout_ms, 120000);
        assert_int_equal(c->heartbeat_ms, 10000);
        assert_int_equal(c->shutdown_grace_ms, 10000);
        assert_int_equal(c->max_processes, 256);
        assert_int_equal(c->max_output, 16 << 20);
        assert_int_equal(c->max_output_total, 256 << 20);
        assert_int_equal(c->max_discard, 1 << 30);
        assert_int_equal(c->rich_max_size, 16 << 20);
        assert_int_equal(c->rich_max_count, 100);
        assert_int_equal(c->output_keep, OUTPUT_KEEP_HEAD_TAIL);
        assert_int_equal(c->max_timeout_ms, 24 * 3600 * 1000);
        assert_int_equal(c->kill_grace_ms, 0);
        assert_int_equal(c->max_memory, 0);
        assert_int_equal(c->max_tasks, 0);
        assert_int_equal(c->cgroup, CGROUP_AUTO);
        config_free(c);
}

static void test_computed_defaults(void **state)
{
        struct fixture *f = *state;
        char credentials[64];
        char secret[96];
        char expected[96];
        struct config *c;

        c = load_ok(f, ARGS("RUNTIME_DIRECTORY=/run/a:/run/b"), NO_ARGS);
        assert_string_equal(c->runtime_dir, "/run/a");
        config_free(c);

        c = load_ok(f, ARGS("XDG_RUNTIME_DIR=/run/user/1"), NO_ARGS);
        assert_string_equal(c->runtime_dir,
                            geteuid() == 0 ? "/run/vm-agent" : "/run/user/1/vm-agent");
        config_free(c);

        c = load_ok(f, NO_ARGS, NO_ARGS);
        snprintf(expected, sizeof(expected), "/tmp/vm-agent-%u", (unsigned)geteuid());
        assert_string_equal(c->runtime_dir, geteuid() == 0 ? "/run/vm-agent" : expected);
        config_free(c);

        /* systemd's credential, if it is there. */
        snprintf(credentials, sizeof(credentials), "CREDENTIALS_DIRECTORY=%s", f->dir);
        snprintf(secret, sizeof(secret), "%s/jwt-secret", f->dir);
        c = load_ok(f, ARGS(credentials), NO_ARGS);
        assert_null(c->jwt_secret_file);
        config_free(c);

        write_text(secret, "x");
        c = load_ok(f, ARGS(credentials), NO_ARGS);
        assert_string_equal(c->jwt_secret_file, secret);
        config_free(c);
        c = load_ok(f, ARGS(credentials), ARGS("--jwt-secret-file=/other"));
        assert_string_equal(c->jwt_secret_file, "/other");
        config_free(c);
        (void)unlink(secret);
}

static void test_precedence(void **state)
{
        struct fixture *f = *state;
        struct config *c;

        write_text(f->file, "max-body = 1M\nmax-output = 2M\nmax-processes = 3\n");
        c = load_ok(f, ARGS("VM_AGENT_MAX_OUTPUT=4M", "VM_AGENT_MAX_PROCESSES=5", "HOME=/x"),
                    ARGS("--max-processes", "6"));
        assert_string_equal(c->config_file, f->file);
        assert_int_equal(c->max_body, 1 << 20);
        assert_int_equal(c->max_output, 4 << 20);
        assert_int_equal(c->max_processes, 6);
        config_free(c);
}

static void expect_list(char *const *list, const char *a, const char *b)
{
        assert_int_equal(strv_len(list), (a != NULL) + (b != NULL));
        if (a)
                assert_string_equal(list[0], a);
        if (b)
                assert_string_equal(list[1], b);
}

static void test_lists(void **state)
{
        struct fixture *f = *state;
        struct config *c;

        write_text(f->file, "allowed-path = /a\nallowed-path = /b//c/../d\n");
        c = load_ok(f, NO_ARGS, NO_ARGS);
        expect_list(c->allowed_paths, "/a", "/b/d");
        config_free(c);

        /* A later source replaces the whole list. */
        c = load_ok(f, ARGS("VM_AGENT_ALLOWED_PATH=/c,,/d,"), NO_ARGS);
        expect_list(c->allowed_paths, "/c", "/d");
        config_free(c);
        c = load_ok(f, ARGS("VM_AGENT_ALLOWED_PATH=/c"),
                    ARGS("--allowed-path", "/e,f", "--allowed-path=/g"));
        expect_list(c->allowed_paths, "/e,f", "/g");
        config_free(c);

        /* Also with nothing. */
        c = load_ok(f, ARGS("VM_AGENT_ALLOWED_PATH="), NO_ARGS);
        expect_list(c->allowed_paths, NULL, NULL);
        config_free(c);
}

static void test_command_line_forms(void **state)
{
        struct fixture *f = *state;
        char cwd[PATH_MAX];
        char expected[PATH_MAX + 32];
        struct config *c;

        c = load_ok(f, NO_ARGS,
                    ARGS("--no-public-info", "--max-body=1K", "--log-level", "debug",
                         "--jwt-leeway", "1500ms", "--listen", "[::1]:0", "--run-as", "-odd",
                         "--jwt-issuer=a=b"));
        assert_false(c->public_info);
        assert_int_equal(c->max_body, 1024);
        assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
        assert_int_equal(c->jwt_leeway_ms, 1500);
        assert_string_equal(c->listen, "[::1]:0");
        assert_string_equal(c->run_as, "-odd");
        assert_string_equal(c->jwt_issuer, "a=b");
        config_free(c);

        c = load_ok(f, ARGS("VM_AGENT_PUBLIC_INFO=off"), ARGS("--public-info", "--max-tasks=7"));
        assert_true(c->public_info);
        config_free(c);
        c = load_ok(f, NO_ARGS, ARGS("--public-info", "no"));
        assert_false(c->public_info);
        config_free(c);

        /* Empty: back to unset. */
        c = load_ok(f, ARGS("VM_AGENT_RUN_AS=nobody"), ARGS("--run-as="));
        assert_null(c->run_as);
        config_free(c);

        /* Relative paths start where the command is typed. */
        assert_non_null(getcwd(cwd, sizeof(cwd)));
        c = load_ok(f, NO_ARGS, ARGS("--workspace", "./work"));
        snprintf(expected, sizeof(expected), "%s/work", str_equal(cwd, "/") ? "" : cwd);
        assert_string_equal(c->workspace, expected);
        config_free(c);
}

static void test_command_line_errors(void **state)
{
        static const struct {
                const char *argument;
                const char *message;
        } cases[] = {
                { "--listen=0.0.0.0:99999",
                  "--listen: port must be between 0 and 65535, got 99999" },
                { "--max-bdoy=1", "unknown option '--max-bdoy' (did you mean '--max-body'?)" },
                { "--xyzzy", "unknown option '--xyzzy'" },
                { "--no-listen", "unknown option '--no-listen' (did you mean '--listen'?)" },
                { "--no-public-info=1",
                  "unknown option '--no-public-info' (did you mean '--public-info'?)" },
                { "--listen", "--listen: needs a value (ADDR:PORT)" },
                { "stray", "unexpected argument 'stray'" },
                { "-v", "unexpected argument '-v'" },
                { "--", "unexpected argument '--'" },
                { "", "unexpected argument ''" },
                { "--max-body=0", "--max-body: must be between 1K and 1G, got 0" },
                { "--max-body=2G", "--max-body: must be between 1K and 1G, got 2G" },
                { "--max-body=99999999999999999999G",
                  "--max-body: must be between 1K and 1G, got 99999999999999999999G" },
                { "--max-body=big", "--max-body: must be a size such as 512K, 16M or 1G, got big" },
                { "--max-body=", "--max-body: must not be empty" },
                { "--heartbeat=10ms", "--heartbeat: must be between 50ms and 1h, got 10ms" },
                { "--heartbeat=-1",
                  "--heartbeat: must be a time such as 500ms, 30s, 5m or 2h, got -1" },
                { "--max-requests=1.5", "--max-requests: must be a whole number, got 1.5" },
                { "--public-info=maybe", "--public-info: must be true or false, got maybe" },
                { "--log-level=loud",
                  "--log-level: must be one of error, warning, info, debug, got loud" },
                { "--jwt-algorithm=none",
                  "--jwt-algorithm: must be one of HS256, HS384, HS512, RS256, RS384, RS512, "
                  "ES256, ES384, ES512, got none" },
                { "--vm-id=a\tb",
                  "--vm-id: must be UTF-8 without control characters, got \"a\\x09b\"" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                expect_error(f, NO_ARGS, ARGS(cases[i].argument), cases[i].message);
        expect_error(f, NO_ARGS, ARGS("--listen", "--public-info"),
                     "--listen: needs a value (ADDR:PORT)");
}

static void test_environment_errors(void **state)
{
        struct fixture *f = *state;

        expect_error(
                f, ARGS("VM_AGENT_LISTEN=nowhere"), NO_ARGS,
                "VM_AGENT_LISTEN: must be ADDR:PORT, [ADDR6]:PORT or unix:PATH, got 'nowhere'");
        expect_error(f, ARGS("VM_AGENT_MAX_BDOY=1"), NO_ARGS,
                     "VM_AGENT_MAX_BDOY: unknown variable in the environment "
                     "(did you mean the option 'max-body'?)");
        expect_error(f, ARGS("VM_AGENT_=1"), NO_ARGS,
                     "VM_AGENT_: unknown variable in the environment");
        expect_error(f, ARGS("VM_AGENT_ABCDEFGHIJKLMNOPQRSTUVWXYZ_ABCDEFGHIJKLMNOPQRSTUVWXYZ=1"),
                     NO_ARGS,
                     "VM_AGENT_ABCDEFGHIJKLMNOPQRSTUVWXYZ_ABCDEFGHIJKLMNOPQRSTUVWXYZ: unknown "
                     "variable in the environment");

        /* What an agent gives to what it runs is no option. */
        config_free(load_ok(f, ARGS("VM_AGENT_EXECUTION_ID=exec_1", "VM_AGENTX=1"), NO_ARGS));
}

static void test_check(void **state)
{
        static const struct {
                const char *argument;
                const char *message; /* NULL: fine */
        } cases[] = {
                { "--max-output=16M", NULL },
                { "--jwt-secret-file=",
                  "jwt-secret-file: required: name a file with a secret of at least 32 bytes" },
                { "--run-as=no-such-user", "run-as: there is no user 'no-such-user'" },
                { "--max-output=1G", "max-output-total: must not be less than max-output" },
                { "--max-memory=4K", "max-memory: must be 0 (no limit) or at least 1M" },
                { "--max-memory=64M", NULL },
                { "--cors-origin=*", NULL },
                { "--cors-origin=http://localhost:3000", NULL },
                { "--cors-origin=example.com",
                  "cors-origin: must be * or SCHEME://HOST[:PORT], got 'example.com'" },
                { "--cors-origin=https://example.com/",
                  "cors-origin: must be * or SCHEME://HOST[:PORT], got 'https://example.com/'" },
                { "--listen=unix:/run/vm-agent/http", NULL },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct config *c = load_ok(f, NO_ARGS,
                                           ARGS("--jwt-secret-file=/secret", cases[i].argument));
                struct error err = ERROR_INIT;
                int r = config_check(c, &err);

                assert_int_equal(r, cases[i].message ? -EINVAL : 0);
                assert_string_equal(err.message, cases[i].message ? cases[i].message : "");
                config_free(c);
        }
}

static void test_reload(void **state)
{
        struct fixture *f = *state;
        char *const *argv = ARGS("--config", f->file, "--jwt-secret-file=/secret", "--vm-id=fixed");
        int argc = (int)strv_len(argv);
        struct config *c = NULL;
        struct error err = ERROR_INIT;

        write_text(f->file, "max-body = 1M\nlisten = 127.0.0.1:1\ncors-origin = https://a\n"
                            "allowed-path = /a\nmax-connections = 10\n");
        assert_int_equal(config_load(argc, argv, &c, &err), 0);
        assert_int_equal(c->max_body, 1 << 20);

        write_text(f->file, "max-body = 2M\nlisten = 127.0.0.1:2\nlog-level = debug\n"
                            "cors-origin = https://b\ncors-origin = https://c\nvm-id = changed\n"
                            "allowed-path = /b\nmax-connections = 20\npublic-info = no\n"
                            "jwt-algorithm = ES256\n");
        assert_int_equal(config_reload(c, argc, argv, &err), 0);
        assert_int_equal(c->max_body, 2 << 20);
        assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
        assert_string_equal(c->jwt_algorithm, "ES256");
        assert_false(c->public_info);
        expect_list(c->cors_origins, "https://b", "https://c");
        assert_string_equal(c->vm_id, "fixed");
        /* Not while running. */
        assert_string_equal(c->listen, "127.0.0.1:1");
        assert_int_equal(c->max_connections, 10);
        expect_list(c->allowed_paths, "/a", NULL);

        /* A bad file changes nothing, neither one that does not parse nor one that makes no sense. */
        write_text(f->file, "max-body = 3M\nmax-output = x\n");
        assert_true(config_reload(c, argc, argv, &err) < 0);
        assert_int_equal(c->max_body, 2 << 20);
        write_text(f->file, "max-body = 3M\nmax-output = 1G\n");
        assert_true(config_reload(c, argc, argv, &err) < 0);
        assert_int_equal(c->max_body, 2 << 20);
        config_free(c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table_is_sound),
                cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_computed_defaults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_precedence, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
                cmocka_unit_test_setup_teardown(test_command_line_forms, setup, teardown),
                cmocka_unit_test_setup_teardown(test_command_line_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_environment_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_check, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
