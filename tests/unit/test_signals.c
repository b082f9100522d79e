/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "proc/signals.h"

static void test_names(void **state)
{
        static const struct {
                const char *name;
                int signum;
        } rows[] = {
                { "SIGINT", SIGINT },
                { "INT", SIGINT },
                { "sigint", SIGINT },
                { "int", SIGINT },
                { "SigTerm", SIGTERM },
                { "HUP", SIGHUP },
                { "SIGKILL", SIGKILL },
                { "QUIT", SIGQUIT },
                { "USR1", SIGUSR1 },
                { "SIGUSR2", SIGUSR2 },
                { "STOP", SIGSTOP },
                { "CONT", SIGCONT },
                { "TSTP", SIGTSTP },
                { "WINCH", SIGWINCH },
                { "ABRT", SIGABRT },
                { "IOT", SIGABRT },
                { "CLD", SIGCHLD },
                { "POLL", SIGIO },
                { "VTALRM", SIGVTALRM },
                { "STKFLT", SIGSTKFLT },
                { "2", 2 },
                { "15", 15 },
                { "64", 64 },
                { "1", 1 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                assert_int_equal(signal_from_name(rows[i].name), rows[i].signum);
}

static void test_what_is_no_signal(void **state)
{
        static const char *const names[] = {
                "",
                "SIG",
                "SIGSIG",
                "SIGSIGINT",
                "INTX",
                "IN",
                "0",
                "-2",
                "65",
                "99999",
                "2x",
                " 2",
                "SIG2",
                "SIG INT",
                "+2",
                "0x2",
                "18446744073709551618",
                "exit",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                assert_int_equal(signal_from_name(names[i]), -EINVAL);
}

/* What the system calls a signal is what we do. */
static void test_all_of_the_systems_names(void **state)
{
        char expected[32];

        (void)state;
        for (int signum = 1; signum < 32; signum++) {
                const char *name = signal_name(signum);

                assert_non_null(name);
                assert_int_equal(signal_from_name(name), signum);
                assert_int_equal(signal_from_name(name + strlen("SIG")), signum);
                (void)snprintf(expected, sizeof(expected), "%s", sigabbrev_np(signum));
                assert_int_equal(signal_from_name(expected), signum);
        }
        assert_string_equal(signal_name(SIGINT), "SIGINT");
        assert_string_equal(signal_name(SIGABRT), "SIGABRT");
        assert_string_equal(signal_name(SIGCHLD), "SIGCHLD");
        assert_null(signal_name(0));
        assert_null(signal_name(-1));
        assert_null(signal_name(64));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_what_is_no_signal),
                cmocka_unit_test(test_all_of_the_systems_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
