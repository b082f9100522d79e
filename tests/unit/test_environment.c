/* SPDX-License-Identifier: Apache-2.0 */

/* What a child's environment is made of. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "proc/environment.h"

static const struct credentials user = {
        .uid = 1000,
        .gid = 1000,
        .name = (char *)"ada",
        .home = (char *)"/home/ada",
        .shell = (char *)"/bin/zsh",
};

static int clear(void **state)
{
        /* cmocka asks again for each test how it shall report */
        static char *report;

        (void)state;
        if (!report && getenv("CMOCKA_MESSAGE_OUTPUT"))
                report = xstrdup(getenv("CMOCKA_MESSAGE_OUTPUT"));
        if (clearenv() != 0)
                return -1;
        return report ? setenv("CMOCKA_MESSAGE_OUTPUT", report, 1) : 0;
}

static char **build(const char *request, const char *const *extra)
{
        json_t *json = request ? json_loads(request, 0, NULL) : NULL;
        char **env = NULL;

        assert_true(!request || json);
        assert_int_equal(environment_build(&user, NULL, json, extra, &env), 0);
        json_decref(json);
        return env;
}

static void assert_value(char *const *env, const char *name, const char *expected)
{
        const char *value = environment_get(env, name);
        unsigned n = 0;

        if (!expected) {
                assert_null(value);
                return;
        }
        assert_non_null(value);
        assert_string_equal(value, expected);
        for (; *env; env++)
                n += strncmp(*env, name, strlen(name)) == 0 && (*env)[strlen(name)] == '=';
        assert_int_equal(n, 1);
}

static void test_base(void **state)
{
        char **env = build(NULL, NULL);

        (void)state;
        assert_value(env, "HOME", "/home/ada");
        assert_value(env, "USER", "ada");
        assert_value(env, "LOGNAME", "ada");
        assert_value(env, "SHELL", "/bin/zsh");
        assert_value(env, "LANG", "C.UTF-8");
        assert_value(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        strv_free(env);
}

static void test_layers(void **state)
{
        const char *const extra[] = { "WEAK=extra", "SET=extra", "AGENTS=extra", NULL };
        char **env;

        (void)state;
        setenv("HOME", "/root", 1);
        setenv("PATH", "/opt/bin", 1);
        setenv("KEPT", "a=b", 1);
        setenv("OVER", "agent", 1);
        setenv("AGENTS", "agent", 1);
        env = build(
                "{\"OVER\": \"request\", \"SET\": \"request\", \"USER\": \"other\", \"EMPTY\": \"\"}",
                extra);
        assert_value(env, "HOME", "/home/ada");
        assert_value(env, "PATH", "/opt/bin");
        assert_value(env, "KEPT", "a=b");
        assert_value(env, "OVER", "request");
        assert_value(env, "SET", "request");
        assert_value(env, "USER", "other");
        assert_value(env, "EMPTY", "");
        assert_value(env, "WEAK", "extra");
        assert_value(env, "AGENTS", "extra");
        strv_free(env);
}

static void test_private_names(void **state)
{
        static const char *const names[] = {
                "VM_AGENT_JWT_SECRET_FILE",
                "NOTIFY_SOCKET",
                "LISTEN_FDS",
                "LISTEN_PID",
                "WATCHDOG_USEC",
                "MAINPID",
                "INVOCATION_ID",
                "JOURNAL_STREAM",
                "CREDENTIALS_DIRECTORY",
                "RUNTIME_DIRECTORY",
                "STATE_DIRECTORY",
                "CACHE_DIRECTORY",
                "LOGS_DIRECTORY",
                "CONFIGURATION_DIRECTORY",
                "SYSTEMD_EXEC_PID",
                "MEMORY_PRESSURE_WATCH",
                "PWD",
                "OLDPWD",
        };
        char **env;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                setenv(names[i], "x", 1);
        setenv("PWDX", "not private", 1);
        env = build("{\"PWD\": \"asked for\"}", NULL);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (strcmp(names[i], "PWD") != 0)
                        assert_value(env, names[i], NULL);
        assert_value(env, "PWD", "asked for");
        assert_value(env, "PWDX", "not private");
        strv_free(env);
}

static void test_language(void **state)
{
        char **env;

        (void)state;
        env = build("{\"LC_ALL\": \"C\"}", NULL);
        assert_value(env, "LANG", NULL);
        strv_free(env);

        setenv("LANG", "de_DE.UTF-8", 1);
        env = build(NULL, NULL);
        assert_value(env, "LANG", "de_DE.UTF-8");
        strv_free(env);
}

static void assert_refused(json_t *request, int code)
{
        char **env = NULL;

        assert_int_equal(environment_build(&user, NULL, request, NULL, &env), code);
        assert_null(env);
        json_decref(request);
}

static void test_limits(void **state)
{
        char *value = xcalloc(1, LIMIT_ARG_BYTES + 2);
        json_t *request = json_object();

        (void)state;
        memset(value, 'x', LIMIT_ARG_BYTES);
        json_object_set_new(request, "LONG", json_string(value));
        assert_refused(request, -E2BIG);

        value[100 * KIB] = '\0';
        request = json_object();
        for (int i = 0; i < 20; i++) {
                char name[8] = { 'V', (char)('A' + i), '\0' };

                json_object_set_new(request, name, json_string(value));
        }
        assert_refused(request, -E2BIG);
        assert_refused(json_pack("{s:s}", "A=B", "x"), -EINVAL);
        assert_refused(json_pack("{s:s}", "", "x"), -EINVAL);
        free(value);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_base, clear),
                cmocka_unit_test_setup(test_layers, clear),
                cmocka_unit_test_setup(test_private_names, clear),
                cmocka_unit_test_setup(test_language, clear),
                cmocka_unit_test_setup(test_limits, clear),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
