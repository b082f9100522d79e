/* SPDX-License-Identifier: Apache-2.0 */

/* From bytes to a JSON object: what is refused before any field is looked at. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/limits.h"
#include "agent/json/decode.h"

static struct error err;

/* The number of members of the object @text, or a negative errno. */
static int parse(const char *text)
{
        json_t *object = NULL;
        int r;

        err = (struct error)ERROR_INIT;
        r = json_parse_object(text, strlen(text), &object, &err);
        if (r < 0) {
                assert_null(object);
                assert_string_equal(err.field, "");
                return r;
        }
        r = (int)json_object_size(object);
        json_decref(object);
        return r;
}

static void test_nothing_is_an_empty_object(void **state)
{
        (void)state;
        assert_int_equal(parse(""), 0);
        assert_int_equal(parse(" \t\r\n"), 0);
        assert_int_equal(parse("{}"), 0);
        assert_int_equal(parse("{\"a\": 1}"), 1);
}

static void test_errors(void **state)
{
        (void)state;
        assert_int_equal(parse("{\"code\": \"x\", \"code\": \"y\"}"), -EINVAL);
        assert_non_null(strstr(err.message, "duplicate"));
        assert_non_null(strstr(err.message, "code"));

        assert_int_equal(parse("[]"), -EINVAL);
        assert_string_equal(err.message, "body: must be a JSON object");
        assert_int_equal(parse("{\"a\":\n  tru}"), -EINVAL);
        assert_non_null(strstr(err.message, "line 2"));
        assert_int_equal(parse("{\"a\": 1} x"), -EINVAL);
        assert_int_equal(parse("{\"a\": \"\xff\"}"), -EINVAL);
}

/* Brackets count wherever the parser would recurse, and nowhere else. */
static void test_depth(void **state)
{
        (void)state;
        for (unsigned depth = LIMIT_JSON_DEPTH - 2; depth <= LIMIT_JSON_DEPTH + 2; depth++) {
                for (unsigned objects = 0; objects < 2; objects++) {
                        char text[1024];
                        char *p = stpcpy(text, "{\"s\": \"[\\\"[{\", \"d\": ");

                        for (unsigned i = 1; i < depth; i++)
                                p = stpcpy(p, objects ? "{\"a\":" : "[");
                        p = stpcpy(p, "1");
                        for (unsigned i = 1; i < depth; i++)
                                p = stpcpy(p, objects ? "}" : "]");
                        stpcpy(p, "}");

                        if (depth <= LIMIT_JSON_DEPTH) {
                                assert_int_equal(parse(text), 2);
                        } else {
                                assert_int_equal(parse(text), -EINVAL);
                                assert_string_equal(err.message,
                                                    "body: nested deeper than 64 levels");
                        }
                }
        }
}

static void test_number_of_values(void **state)
{
        size_t n = LIMIT_JSON_VALUES;
        char *text = malloc(2 * n + 64);
        char *p;

        (void)state;
        /* The key's colon and the commas between the numbers make n values, and then one more. */
        for (unsigned extra = 0; extra < 2; extra++) {
                p = stpcpy(text, "{\"a,,,\":[0");
                for (size_t i = 0; i < n - 2 + extra; i++)
                        p = stpcpy(p, ",0");
                stpcpy(p, "]}");
                assert_int_equal(parse(text), extra ? -EINVAL : 1);
        }
        assert_string_equal(err.message, "body: more than 65536 values");
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_is_an_empty_object),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_number_of_values),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
