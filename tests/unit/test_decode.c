/* SPDX-License-Identifier: Apache-2.0 */

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "agent/base/utf8.h"
#include "agent/json/decode.h"
#include "tests/lib/sample_fields.h"

static json_t *body; /* of the last decode, which the arguments borrow from */
static struct sample_args args;
static struct error err;

static int teardown(void **state)
{
        (void)state;
        json_decref(body);
        body = NULL;
        return 0;
}

/* Parses and decodes @text by the sample table. */
static int decode_bytes(const char *text, size_t size)
{
        struct json_source src = { .body = NULL };
        int r;

        json_decref(body);
        body = NULL;
        err = (struct error)ERROR_INIT;
        r = json_parse_object(text, size, &body, &err);
        if (r < 0)
                return r;
        src.body = body;
        return json_decode(sample_fields, &src, &args, sizeof(args), &err);
}

static int decode(const char *text)
{
        return decode_bytes(text, strlen(text));
}

#define assert_decodes(text)                                     \
        do {                                                     \
                if (decode(text) < 0)                            \
                        fail_msg("%s: %s", (text), err.message); \
        } while (0)

#define assert_refused(text, blamed, words)                \
        do {                                               \
                assert_true(decode(text) < 0);             \
                assert_string_equal(err.message, (words)); \
                assert_string_equal(err.field, (blamed));  \
        } while (0)

/* The name of a corpus file says what has to happen: ok-<what>.json decodes; bad-<field>-<why>.json
 * blames that field, in which "." stands for "/"; "body" is no field at all. */
static void check_corpus_file(const char *directory, const char *name)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", directory, name);
        CLEANUP(buf_done) struct buf content;
        char field[128] = "";
        int r;

        buf_init(&content, 0);
        assert_int_equal(fd_read_file(path, MIB, &content, &err), 0);
        r = decode_bytes(content.data ? content.data : "", content.size);

        if (str_has_prefix(name, "ok-")) {
                if (r < 0)
                        fail_msg("%s: %s", name, err.message);
                return;
        }
        if (!str_has_prefix(name, "bad-"))
                fail_msg("%s: neither ok- nor bad-", name);

        name += strlen("bad-");
        if (!str_has_prefix(name, "body-")) {
                (void)snprintf(field, sizeof(field), "/%.*s", (int)strcspn(name, "-"), name);
                for (char *p = field; *p; p++)
                        *p = *p == '.' ? '/' : *p;
        }
        if (r >= 0)
                fail_msg("%s: was accepted", name);
        if (!str_equal(err.field, field))
                fail_msg("%s: blames '%s': %s", name, err.field, err.message);

        /* The message starts with the name, without the pointer's slash. */
        assert_true(str_has_prefix(err.message, field[0] ? field + 1 : "body: "));
        assert_true(utf8_is_valid(err.message, strlen(err.message)));
        for (const char *p = err.message; *p; p++)
                assert_true((unsigned char)*p >= 0x20);
}

static void test_corpus(void **state)
{
        const char *root = getenv("TEST_SOURCE_ROOT");
        CLEANUP(mem_free)
        char *directory = xasprintf("%s/tests/corpus/decode", root ? root : ".");
        DIR *dir = opendir(directory);
        struct dirent *entry;
        unsigned n = 0;

        (void)state;
        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                if (entry->d_name[0] == '.')
                        continue;
                check_corpus_file(directory, entry->d_name);
                n++;
        }
        (void)closedir(dir);
        assert_in_range(n, 50, 10000);
}

static void test_defaults(void **state)
{
        (void)state;
        memset(&args, 0xff, sizeof(args));
        assert_decodes("{\"code\": \"x\"}");
        assert_int_equal(args.language, SAMPLE_PYTHON);
        assert_int_equal(args.timeout_ms, 30000);
        assert_false(args.timeout_is_set);
        assert_string_equal(args.workdir, "/workspace");
        assert_null(args.env);
        assert_null(args.args);
        assert_null(args.input.data);
        assert_int_equal(args.input.size, 0);
        assert_int_equal(args.max_output, 65536);
        assert_true(args.background);
        assert_false(args.background_is_set);
        assert_null(args.id);
        assert_int_equal(args.offset, 0);
        assert_false(args.follow);
}

static void test_values(void **state)
{
        (void)state;
        assert_decodes("{\"code\": \"a\\u0000b\", \"language\": \"js\", \"timeout\": 60,"
                       " \"workdir\": \"/tmp\", \"env\": {\"A\": \"1\"}, \"args\": [\"x\"],"
                       " \"stdin\": \"\", \"max_output\": 5.0, \"background\": false}");
        assert_int_equal(args.code.size, 3);
        assert_memory_equal(args.code.data, "a\0b", 4);
        assert_int_equal(args.language, SAMPLE_JAVASCRIPT);
        assert_int_equal(args.timeout_ms, 60000);
        assert_true(args.timeout_is_set);
        assert_string_equal(args.workdir, "/tmp");
        assert_string_equal(json_string_value(json_object_get(args.env, "A")), "1");
        assert_string_equal(json_string_value(json_array_get(args.args, 0)), "x");
        assert_non_null(args.input.data); /* given, though empty */
        assert_int_equal(args.input.size, 0);
        assert_int_equal(args.max_output, 5);
        assert_false(args.background);
        assert_true(args.background_is_set);
}

static void test_null_is_absent(void **state)
{
        (void)state;
        assert_decodes("{\"code\": \"x\", \"timeout\": null, \"background\": null}");
        assert_int_equal(args.timeout_ms, 30000);
        assert_false(args.timeout_is_set);
        assert_true(args.background);

        assert_refused("{\"code\": null}", "/code", "code: required");
        assert_int_equal(err.code, -ENOKEY);
}

static void test_alias(void **state)
{
        (void)state;
        assert_decodes("{\"code\": \"x\", \"working_dir\": \"/srv\"}");
        assert_string_equal(args.workdir, "/srv");
        assert_decodes("{\"code\": \"x\", \"workdir\": null, \"working_dir\": \"/srv\"}");
        assert_string_equal(args.workdir, "/srv");
        assert_decodes("{\"code\": \"x\", \"workdir\": \"/a\", \"working_dir\": \"/b\"}");
        assert_string_equal(args.workdir, "/a");
        assert_refused("{\"code\": \"x\", \"working_dir\": 5}", "/working_dir",
                       "working_dir: expected a string, got a number");
}

static void test_seconds(void **state)
{
        static const struct {
                const char *text;
                uint64_t ms;
        } rows[] = {
                { "1", 1000 },         { "1.5", 1500 },
                { "1.0004", 1000 },    { "1.0006", 1001 },
                { "0.9996", 1000 },    { "3600", 3600000 },
                { "3600.1", 3600000 }, { "999999", 3600000 },
                { "1e300", 3600000 },  { "9223372036854775807", 3600000 },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                CLEANUP(mem_free)
                char *text = xasprintf("{\"code\": \"x\", \"timeout\": %s}", rows[i].text);

                assert_decodes(text);
                assert_int_equal(args.timeout_ms, rows[i].ms);
        }

        assert_refused("{\"code\": \"x\", \"timeout\": 0}", "/timeout",
                       "timeout: must be between 1 and 3600, got 0");
        assert_refused("{\"code\": \"x\", \"timeout\": -0.5}", "/timeout",
                       "timeout: must be between 1 and 3600, got -0.5");
        assert_refused("{\"code\": \"x\", \"timeout\": \"1\"}", "/timeout",
                       "timeout: expected a number, got a string");
}

/* JSON has no word for these, but other sources of a tree may. */
static void test_not_a_number(void **state)
{
        static const struct json_field fields[] = { F_SECONDS(struct sample_args, timeout_ms,
                                                              .name = "timeout"),
                                                    F_UINT(struct sample_args, max_output), F_END };
        const double bad[] = { -1, -1e300, -0.001 };
        struct json_source src;

        (void)state;
        body = json_object();
        src.body = body;
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                assert_int_equal(json_object_set_new(body, "timeout", json_real(bad[i])), 0);
                assert_int_equal(json_decode(fields, &src, &args, sizeof(args), &err), -EINVAL);
                assert_string_equal(err.field, "/timeout");
        }
        json_object_clear(body);

        /* Without a maximum, the longest time can still be added to a clock. */
        assert_int_equal(json_object_set_new(body, "timeout", json_real(1e300)), 0);
        assert_int_equal(json_decode(fields, &src, &args, sizeof(args), &err), 0);
        assert_int_equal(args.timeout_ms, INT64_MAX);

        assert_int_equal(json_object_set_new(body, "max_output", json_real(0x1p64)), 0);
        assert_int_equal(json_decode(fields, &src, &args, sizeof(args), &err), -EINVAL);
        assert_string_equal(err.message,
                            "max_output: must be at least 0, got 1.84467440737096e+19");
        assert_int_equal(json_object_set_new(body, "max_output", json_real(0x1p63)), 0);
        assert_int_equal(json_decode(fields, &src, &args, sizeof(args), &err), 0);
        assert_int_equal(args.max_output, UINT64_C(1) << 63);
}

static void test_messages(void **state)
{
        (void)state;
        assert_refused("{}", "/code", "code: required");
        assert_refused("{\"code\": 5}", "/code", "code: expected a string, got a number");
        assert_refused("{\"code\": [1]}", "/code", "code: expected a string, got an array");
        assert_refused("{\"code\": \"\"}", "/code", "code: must not be empty");
        assert_refused("{\"code\": \"x\", \"language\": \"ruby\"}", "/language",
                       "language: unknown value 'ruby'; expected one of python, javascript, bash, "
                       "go");
        assert_refused("{\"code\": \"x\", \"max_output\": 0}", "/max_output",
                       "max_output: must be between 1 and 1048576, got 0");
        assert_refused("{\"code\": \"x\", \"max_output\": 5.5}", "/max_output",
                       "max_output: expected a whole number, got 5.5");
        assert_refused("{\"code\": \"x\", \"background\": 1}", "/background",
                       "background: expected a boolean, got a number");
        assert_refused("{\"code\": \"x\", \"workdir\": \"a\\u0000\"}", "/workdir",
                       "workdir: must not contain NUL");
        assert_refused("{\"code\": \"x\", \"args\": {}}", "/args",
                       "args: expected an array, got an object");
        assert_refused("{\"code\": \"x\", \"args\": [\"a\", null]}", "/args/1",
                       "args/1: expected a string, got null");
        assert_refused("{\"code\": \"x\", \"args\": [1,2,3,4,5]}", "/args",
                       "args: must have at most 4 entries, got 5");
        assert_refused("{\"code\": \"x\", \"env\": {\"A\": [] }}", "/env/A",
                       "env/A: expected a string, got an array");
}

/* What a client sent is shown short, and harmless for a terminal. */
static void test_quoted_values(void **state)
{
        (void)state;
        assert_refused("{\"code\": \"x\", \"language\": \"r\\u001b[31mby\"}", "/language",
                       "language: unknown value 'r\\x1b[31mby'; expected one of python, "
                       "javascript, bash, go");
        assert_refused("{\"code\": \"x\", \"language\": "
                       "\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff\"}",
                       "/language",
                       "language: unknown value 'aaaaaaaaaabbbbbbbbbbccccccccccddddddddddee...'; "
                       "expected one of python, javascript, bash, go");
}

static void test_environment_names(void **state)
{
        static const char *const good[] = { "A", "_", "a1", "A_B9", "__" };
        static const char *const bad[] = { "", "1A", "A-B", "A B", "A=B", "A.B", "\\u00c4", "A/~" };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
                CLEANUP(mem_free)
                char *text = xasprintf("{\"code\": \"x\", \"env\": {\"%s\": \"\"}}", good[i]);

                assert_decodes(text);
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                CLEANUP(mem_free)
                char *text = xasprintf("{\"code\": \"x\", \"env\": {\"%s\": \"\"}}", bad[i]);

                assert_int_equal(decode(text), -EINVAL);
                assert_true(str_has_prefix(err.field, "/env/"));
                assert_non_null(strstr(err.message, "environment variable"));
        }

        assert_int_equal(decode("{\"code\": \"x\", \"env\": {\"1BAD\": \"\"}}"), -EINVAL);
        assert_string_equal(err.field, "/env/1BAD");
        assert_true(str_has_prefix(err.message, "env/1BAD: "));
}

/* The kernel limits NAME=value, so the name counts. */
static void test_environment_size(void **state)
{
        char text[160];

        (void)state;
        (void)snprintf(text, sizeof(text), "{\"code\": \"x\", \"env\": {\"AB\": \"%061d\"}}", 0);
        assert_decodes(text);
        (void)snprintf(text, sizeof(text), "{\"code\": \"x\", \"env\": {\"ABC\": \"%061d\"}}", 0);
        assert_refused(text, "/env/ABC",
                       "env/ABC: must be at most 64 bytes long with its name, got 65");
}

/* RFC 6901: "~" and "/" inside a name are escaped in the pointer, not in the message. */
static void test_pointer_escapes(void **state)
{
        (void)state;
        assert_refused("{\"code\": \"x\", \"a/b~c\": \"5\"}", "/a~1b~0c",
                       "a/b~c: expected a number, got a string");
}

static void test_long_pointer(void **state)
{
        (void)state;
        for (size_t shift = 0; shift < 4; shift++) {
                char text[600] = "{\"code\": \"x\", \"env\": {\"1";
                size_t used = strlen(text);

                for (size_t i = 0; i < shift; i++)
                        text[used++] = 'x';
                for (size_t i = 0; i < 100; i++) {
                        memcpy(text + used, i % 2 ? "\xe2\x82\xac" : "/~x", 3);
                        used += 3;
                }
                (void)snprintf(text + used, sizeof(text) - used, "\": \"\"}}");

                assert_int_equal(decode(text), -EINVAL);
                assert_true(strlen(err.field) > sizeof(err.field) - 5);
                assert_true(utf8_is_valid(err.field, strlen(err.field)));
                for (const char *p = strchr(err.field, '~'); p; p = strchr(p + 1, '~'))
                        assert_true(p[1] == '0' || p[1] == '1');
        }
}

/* Numbers and booleans in maps and lists arrive as strings. */
static void test_items_become_strings(void **state)
{
        static const char *const expected[][2] = {
                { "A", "3000" }, { "B", "0.1" }, { "C", "true" }, { "D", "false" }
        };

        (void)state;
        assert_decodes("{\"code\": \"x\", \"env\": {\"A\": 3000, \"B\": 0.1, \"C\": true,"
                       " \"D\": false}, \"args\": [-1, \"s\", true, 2.5]}");
        for (size_t i = 0; i < ARRAY_LEN(expected); i++)
                assert_string_equal(json_string_value(json_object_get(args.env, expected[i][0])),
                                    expected[i][1]);
        assert_string_equal(json_string_value(json_array_get(args.args, 0)), "-1");
        assert_string_equal(json_string_value(json_array_get(args.args, 1)), "s");
        assert_string_equal(json_string_value(json_array_get(args.args, 2)), "true");
        assert_string_equal(json_string_value(json_array_get(args.args, 3)), "2.5");
}

/* Where a field says so, a whole number will do for a string. */
static void test_number_for_a_string(void **state)
{
        struct number_args {
                const char *id;
                const char *name;
        } numbers;
        static const struct json_field fields[] = {
                F_STRING(struct number_args, id, .alias = "other", .number_ok = true, .max = 8),
                F_STRING(struct number_args, name), F_END
        };
        static const struct {
                const char *text, *id, *field;
        } cases[] = {
                { "{\"id\": 1234}", "1234", NULL },     { "{\"other\": -5}", "-5", NULL },
                { "{\"id\": \"1x\"}", "1x", NULL },     { "{\"id\": null}", NULL, NULL },
                { "{\"id\": 123456789}", NULL, "/id" }, { "{\"id\": 1.5}", NULL, "/id" },
                { "{\"id\": true}", NULL, "/id" },      { "{\"name\": 5}", NULL, "/name" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct json_source source = { .body = json_loads(cases[i].text, 0, NULL) };
                int r = json_decode(fields, &source, &numbers, sizeof(numbers), &err);

                assert_int_equal(r, cases[i].field ? -EINVAL : 0);
                if (cases[i].field)
                        assert_string_equal(err.field, cases[i].field);
                else if (cases[i].id)
                        assert_string_equal(numbers.id, cases[i].id);
                else
                        assert_null(numbers.id);
                json_decref(source.body);
        }
}

#define TEST(fn) cmocka_unit_test_teardown(fn, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_corpus),
                TEST(test_defaults),
                TEST(test_values),
                TEST(test_null_is_absent),
                TEST(test_alias),
                TEST(test_seconds),
                TEST(test_not_a_number),
                TEST(test_messages),
                TEST(test_quoted_values),
                TEST(test_environment_names),
                TEST(test_environment_size),
                TEST(test_pointer_escapes),
                TEST(test_long_pointer),
                TEST(test_items_become_strings),
                TEST(test_number_for_a_string),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
