/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"
#include "agent/json/write.h"

static void test_strings(void **state)
{
        static const struct {
                const char *text, *written;
        } rows[] = {
                { NULL, "null" },
                { "", "\"\"" },
                { "plain", "\"plain\"" },
                { "a\"b\\c\n\x01", "\"a\\\"b\\\\c\\n\\u0001\"" },
                { "caf\xc3\xa9", "\"caf\xc3\xa9\"" },
                { "cut\xe2\x82", "\"cut\xef\xbf\xbd\"" },
                { "\xff", "\"\xef\xbf\xbd\"" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                CLEANUP(buf_done) struct buf b;

                buf_init(&b, 0);
                assert_int_equal(json_write_string(&b, rows[i].text), 0);
                assert_string_equal(b.data, rows[i].written);
        }
}

static void test_members(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(buf_append_str(&b, "{\"a\":1"), 0);
        assert_int_equal(json_write_member(&b, "b", "x"), 0);
        assert_int_equal(json_write_member(&b, "c", NULL), 0);
        assert_string_equal(b.data, "{\"a\":1,\"b\":\"x\",\"c\":null");
}

/* Longer than any piece that it is done in, cut at all places, and with NULs: what is read is what was written. */
static void test_long(void **state)
{
        CLEANUP(mem_free) char *text = malloc(5000);

        (void)state;
        for (size_t i = 0; i < 5000; i++)
                text[i] = "\xc3\xa9\0\"x\n\xf0\x9d\x84\x9e"[i % 10];
        for (size_t size = 1000; size < 5000; size += 10) {
                CLEANUP(buf_done) struct buf b;
                json_t *value;

                buf_init(&b, 0);
                assert_int_equal(buf_append_str(&b, "\""), 0);
                assert_int_equal(json_write_escaped(&b, text, size), 0);
                assert_int_equal(buf_append_str(&b, "\""), 0);
                value = json_loadb(b.data, b.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
                assert_non_null(value);
                assert_int_equal(json_string_length(value), size);
                assert_memory_equal(json_string_value(value), text, size);
                json_decref(value);
        }
}

static void test_failures(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 4);
        assert_int_equal(json_write_string(&b, "long text"), -EFBIG);
        assert_int_equal(json_write_member(&b, "key", "x"), -EFBIG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_strings),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_long),
                cmocka_unit_test(test_failures),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
