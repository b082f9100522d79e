/* SPDX-License-Identifier: Apache-2.0 */

/* The decoder on values that are text: query and path parameters. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/macros.h"
#include "agent/json/decode.h"
#include "tests/lib/sample_fields.h"

static struct sample_args args;
static struct error err;

struct parameter {
        enum field_in in;
        const char *name;
        const char *value;
        size_t size;
};

static bool lookup(void *arg, enum field_in in, const char *name, const char **ret,
                   size_t *ret_size)
{
        const struct parameter *p = arg;

        if (p->in != in || strcmp(p->name, name) != 0)
                return false;
        *ret = p->value;
        *ret_size = p->size;
        return true;
}

/* Decodes one parameter, without a body. */
static int decode_parameter(enum field_in in, const char *name, const char *value, size_t size)
{
        struct parameter p = { .in = in, .name = name, .value = value, .size = size };
        struct json_source src = { .lookup = lookup, .arg = &p };

        /* Past the fields of the body, of which one is required. */
        return json_decode(sample_fields + 9, &src, &args, sizeof(args), &err);
}

static void test_parameters(void **state)
{
        (void)state;
        assert_int_equal(sample_fields[9].in, IN_PATH);
        assert_int_equal(decode_parameter(IN_PATH, "id", "p_1", 3), 0);
        assert_string_equal(args.id, "p_1");
        assert_int_equal(decode_parameter(IN_QUERY, "id", "p_1", 3), 0); /* from the path only */
        assert_null(args.id);
        assert_int_equal(decode_parameter(IN_QUERY, "offset", "42", 2), 0);
        assert_int_equal(args.offset, 42);
        assert_int_equal(decode_parameter(IN_QUERY, "wait", "1.5", 3), 0);
        assert_int_equal(args.wait_ms, 1500);
        assert_int_equal(decode_parameter(IN_QUERY, "follow", "true", 4), 0);
        assert_true(args.follow);
        assert_int_equal(decode_parameter(IN_QUERY, "lang", "sh", 2), 0);
        assert_int_equal(args.query_language, SAMPLE_BASH);
        assert_int_equal(decode_parameter(IN_QUERY, "filter", "na\xc3\xafve", 6), 0);
        assert_string_equal(args.filter, "na\xc3\xafve");
}

static void test_names_may_be_any_bytes(void **state)
{
        struct name_args {
                const char *name;
        } names;
        static const struct json_field fields[] = {
                F_STRING(struct name_args, name, .in = IN_QUERY, .bytes_ok = true, .max = 8),
                F_END,
        };
        struct parameter p = { .in = IN_QUERY, .name = "name", .value = "caf\xe9", .size = 4 };
        struct json_source src = { .lookup = lookup, .arg = &p };

        (void)state;
        assert_int_equal(json_decode(fields, &src, &names, sizeof(names), &err), 0);
        assert_string_equal(names.name, "caf\xe9");
        p.value = "\xff\0\xff";
        p.size = 3;
        assert_int_equal(json_decode(fields, &src, &names, sizeof(names), &err), -EINVAL);
        assert_string_equal(err.message, "name: must not contain NUL");
        p.value = "\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        p.size = 9;
        assert_int_equal(json_decode(fields, &src, &names, sizeof(names), &err), -EINVAL);
        assert_string_equal(err.message, "name: must be at most 8 bytes long, got 9");
}

static void test_bad_parameters(void **state)
{
        static const struct {
                const char *name;
                const char *value;
                size_t size;
                const char *message;
        } rows[] = {
                { "offset", "-1", 2, "offset: expected a whole number, got '-1'" },
                { "offset", "1.5", 3, "offset: expected a whole number, got '1.5'" },
                { "offset", "", 0, "offset: expected a whole number, got ''" },
                { "offset", NULL, 0, "offset: expected a whole number, got ''" },
                { "offset", "1\0", 2, "offset: expected a whole number, got '1\\x00'" },
                { "offset", "99999999999999999999", 20,
                  "offset: must be at least 0, got '99999999999999999999'" },
                { "wait", "0.1", 3, "wait: must be at least 0.5, got '0.1'" },
                { "wait", "inf", 3, "wait: expected a number of seconds, got 'inf'" },
                { "wait", "nan", 3, "wait: expected a number of seconds, got 'nan'" },
                { "wait", "1e3", 3, "wait: expected a number of seconds, got '1e3'" },
                { "wait", "0x9", 3, "wait: expected a number of seconds, got '0x9'" },
                { "wait", " 1", 2, "wait: expected a number of seconds, got ' 1'" },
                { "wait", "1.", 2, "wait: expected a number of seconds, got '1.'" },
                { "wait", ".5", 2, "wait: expected a number of seconds, got '.5'" },
                { "wait", "1\0", 2, "wait: expected a number of seconds, got '1\\x00'" },
                { "follow", "maybe", 5, "follow: expected true or false, got 'maybe'" },
                { "follow", "", 0, "follow: expected true or false, got ''" },
                { "lang", "go\0", 3,
                  "lang: unknown value 'go\\x00'; expected one of python, javascript, bash, go" },
                { "filter", "\xff", 1, "filter: must be valid UTF-8" },
                { "filter", "a\0b", 3, "filter: must not contain NUL" },
                { "filter", "12345678901234567", 17,
                  "filter: must be at most 16 bytes long, got 17" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                assert_int_equal(
                        decode_parameter(IN_QUERY, rows[i].name, rows[i].value, rows[i].size),
                        -EINVAL);
                assert_string_equal(err.message, rows[i].message);
                assert_int_equal(err.field[0], '/');
                assert_string_equal(err.field + 1, rows[i].name);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parameters),
                cmocka_unit_test(test_names_may_be_any_bytes),
                cmocka_unit_test(test_bad_parameters),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
