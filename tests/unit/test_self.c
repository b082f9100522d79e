/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/base/macros.h"
#include "handlers/metrics/self.h"
#include "tests/lib/loop_fixture.h"

#define MANY 600

static void test_all(void **state)
{
        struct self before, after;
        int fd;

        self_read(*state, &before);
        assert_true(before.resident > 100000);
        assert_true(before.fds >= 3);
        assert_true(before.max_fds >= before.fds);
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        self_read(*state, &after);
        close(fd);
        assert_int_equal(after.fds, before.fds + 1);
        assert_true(after.cpu_user_us + after.cpu_system_us >=
                    before.cpu_user_us + before.cpu_system_us);
}

/* The worker counts while we may have one or two open. */
static int is_counted(void *arg)
{
        struct self now;
        uint64_t n = self_count_fds(arg);

        self_read(arg, &now);
        return n + 3 > now.fds && n < now.fds + 3;
}

/* As on kernels that do not tell: few are counted at once, and many by a worker, when that has been there. */
static void test_counted(void **state)
{
        struct loop *l = *state;
        int fds[MANY];
        struct self now;

        self_read(l, &now);
        assert_int_equal(self_count_fds(l), now.fds);
        for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
                fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
                assert_true(fds[i] >= 0);
        }
        assert_in_range(self_count_fds(l), 256, now.fds + MANY);
        assert_true(loop_run_until(l, is_counted, l, 5000));
        for (size_t i = 0; i < ARRAY_LEN(fds); i++)
                close(fds[i]);
        assert_int_equal(self_count_fds(l), now.fds);
}

/* Who looks for the cause is not told that there are none. */
static void test_none_left(void **state)
{
        struct rlimit before, none;
        struct self now, then;
        uint64_t n;

        self_read(*state, &now);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = (struct rlimit){ .rlim_cur = 3, .rlim_max = before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        self_read(*state, &then);
        n = self_count_fds(*state);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(n, 3);
        assert_true(then.resident > 0 && then.fds >= 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_all, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_counted, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_none_left, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
