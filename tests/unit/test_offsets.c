/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "handlers/jobs/offsets.h"

#define LARGEST "9223372036854775807"

static void test_valid(void **state)
{
        static const struct {
                const char *text;
                enum output_channel lone;
                uint64_t stdout_at, stderr_at;
        } rows[] = {
                { "0", CHANNEL_STDOUT, 0, 0 },
                { "12", CHANNEL_STDOUT, 12, 0 },
                { "12", CHANNEL_STDERR, 0, 12 },
                { "007", CHANNEL_STDOUT, 7, 0 },
                { "1,2", CHANNEL_STDOUT, 1, 2 },
                { "1,2", CHANNEL_STDERR, 1, 2 },
                { "0,0", CHANNEL_STDERR, 0, 0 },
                { LARGEST "," LARGEST, CHANNEL_STDOUT, INT64_MAX, INT64_MAX },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                uint64_t at[N_CHANNELS] = { 98, 99 };

                assert_int_equal(offsets_parse(rows[i].text, rows[i].lone, at), 0);
                assert_true(at[CHANNEL_STDOUT] == rows[i].stdout_at);
                assert_true(at[CHANNEL_STDERR] == rows[i].stderr_at);
        }
}

static void test_invalid(void **state)
{
        static const char *const rows[] = { "",     "-1",    "+1",      "1,",  ",1",  ",",
                                            "1,2,", "1,2,3", "1,2,end", " 1",  "1 ",  "1, 2",
                                            "0x1",  "1a",    "a",       "1.5", "1;2", "end",
                                            "1,-2", "1,2\n", "\xc2\xb2" };
        static const char *const too_large[] = {
                "9223372036854775808",
                "9999999999999999999",
                "18446744073709551615",
                "18446744073709551616",
                "1,9223372036854775808",
                "100000000000000000000,1",
                "99999999999999999999999999999999999999",
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                uint64_t at[N_CHANNELS] = { 98, 99 };
                bool is_end;

                assert_int_equal(offsets_parse(rows[i], CHANNEL_STDOUT, at), -EINVAL);
                assert_int_equal(offsets_parse(rows[i], CHANNEL_STDERR, at), -EINVAL);
                if (i != 8) /* the id of an end */
                        assert_int_equal(offsets_parse_id(rows[i], at, &is_end), -EINVAL);
                assert_true(i == 8 || (at[0] == 98 && at[1] == 99));
        }
        for (size_t i = 0; i < ARRAY_LEN(too_large); i++) {
                uint64_t at[N_CHANNELS] = { 98, 99 };

                assert_int_equal(offsets_parse(too_large[i], CHANNEL_STDOUT, at), -EINVAL);
                assert_true(at[0] == 98 && at[1] == 99);
        }
}

static void test_ids(void **state)
{
        static const struct {
                uint64_t at[N_CHANNELS];
                bool is_end;
                const char *text;
        } rows[] = {
                { { 0, 0 }, false, "0,0" },
                { { 5, 17 }, false, "5,17" },
                { { 5, 17 }, true, "5,17,end" },
                { { INT64_MAX, INT64_MAX }, true, LARGEST "," LARGEST ",end" },
        };
        static const char *const wrong[] = { "5",        "5,17,", "5,17,en", "5,17,end ",
                                             "5,17,END", "end",   ",,end",   "5,end" };
        uint64_t at[N_CHANNELS];
        bool is_end;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char id[OFFSETS_ID_SIZE];

                assert_string_equal(offsets_write_id(id, rows[i].at, rows[i].is_end), rows[i].text);
                is_end = !rows[i].is_end;
                assert_int_equal(offsets_parse_id(id, at, &is_end), 0);
                assert_memory_equal(at, rows[i].at, sizeof(at));
                assert_int_equal(is_end, rows[i].is_end);
        }
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
                assert_int_equal(offsets_parse_id(wrong[i], at, &is_end), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_ids),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
