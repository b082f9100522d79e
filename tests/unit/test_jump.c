/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/jump.h"
#include "agent/base/macros.h"

#define MS INT64_C(1000)
#define S  (1000 * MS)

struct row {
        const char *what;
        /* How far each clock has come. */
        int64_t monotonic, boot, realtime, busy;
        struct jump jump;
};

/* clang-format off */
static const struct row rows[] = {
        { "a tick",             250 * MS, 250 * MS, 250 * MS,   MS,       { JUMP_NONE, 0, 0 } },
        { "a late tick",       1900 * MS, 1900 * MS, 1900 * MS, MS,       { JUMP_NONE, 0, 0 } },
        { "frozen",            2100 * MS, 2100 * MS, 2100 * MS, MS,       { JUMP_PAUSE, 2100 * MS, 0 } },
        { "frozen for a week", 604800 * S, 604800 * S, 604800 * S, 2 * S, { JUMP_PAUSE, 604800 * S, 0 } },
        { "busy",              5 * S, 5 * S, 5 * S, 4900 * MS,            { JUMP_NONE, 0, 0 } },
        { "half busy",         5 * S, 5 * S, 5 * S, 2500 * MS,            { JUMP_NONE, 0, 0 } },
        { "a little busy",     5 * S, 5 * S, 5 * S, 2400 * MS,            { JUMP_PAUSE, 5 * S, 0 } },
        { "suspended",         250 * MS, 3600 * S, 3600 * S, MS,          { JUMP_SUSPEND, 3600 * S - 250 * MS, 0 } },
        { "briefly suspended", 250 * MS, 2 * S, 2 * S, MS,                { JUMP_NONE, 0, 0 } },
        { "both",              3 * S, 10 * S, 10 * S, MS,                 { JUMP_SUSPEND, 10 * S, 0 } },
        { "set forward",       250 * MS, 250 * MS, 2250 * MS, MS,         { JUMP_CLOCK_SET, 0, 2 * S } },
        { "set back",          250 * MS, 250 * MS, -3600 * S, MS,         { JUMP_CLOCK_SET, 0, -3600 * S - 250 * MS } },
        { "steered",           250 * MS, 250 * MS, 2200 * MS, MS,         { JUMP_NONE, 0, 0 } },
        { "frozen and set",    4 * S, 4 * S, 90 * S, MS,                  { JUMP_PAUSE, 4 * S, 86 * S } },
        { "suspended and set", 250 * MS, 60 * S, 40 * S, MS,              { JUMP_SUSPEND, 60 * S - 250 * MS, -20 * S } },
        { "set while busy",    5 * S, 5 * S, 65 * S, 5 * S,               { JUMP_CLOCK_SET, 0, 60 * S } },
};
/* clang-format on */

static void test_verdicts(void **state)
{
        const struct jump_clocks before = {
                .monotonic_us = 1000, .boot_us = 77, .realtime_us = 1769594400 * S, .busy_us = 5
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const struct row *row = &rows[i];
                const struct jump_clocks now = {
                        .monotonic_us = before.monotonic_us + (uint64_t)row->monotonic,
                        .boot_us = before.boot_us + (uint64_t)row->boot,
                        .realtime_us = before.realtime_us + row->realtime,
                        .busy_us = before.busy_us + (uint64_t)row->busy,
                };
                struct jump jump = jump_judge(&before, &now);

                if (jump.kind != row->jump.kind || jump.paused_us != row->jump.paused_us ||
                    jump.wall_us != row->jump.wall_us)
                        fail_msg("%s: kind %d, paused %lld, set %lld", row->what, (int)jump.kind,
                                 (long long)jump.paused_us, (long long)jump.wall_us);
        }
}

static void test_names(void **state)
{
        (void)state;
        assert_null(jump_name(JUMP_NONE));
        assert_string_equal(jump_name(JUMP_PAUSE), "pause");
        assert_string_equal(jump_name(JUMP_SUSPEND), "suspend");
        assert_string_equal(jump_name(JUMP_CLOCK_SET), "clock_set");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verdicts),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
