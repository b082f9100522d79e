/* SPDX-License-Identifier: Apache-2.0 */

/* What of webhooks needs no network: signatures, headers, when to try again. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/webhook/headers.h"
#include "agent/webhook/retry.h"
#include "agent/webhook/signature.h"

/* --- signatures --- */

static void expect_signature(enum webhook_signature form, const char *secret, int64_t timestamp,
                             const char *body, const char *expected)
{
        char signature[SIGNATURE_SIZE];

        assert_string_equal(signature_make(signature, form, secret, timestamp, body, strlen(body)),
                            expected);
}

static void test_signature(void **state)
{
        (void)state;
        /* RFC 4231, test case 2 */
        expect_signature(WEBHOOK_SIGN_BODY, "Jefe", 0, "what do ya want for nothing?",
                         "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        /* RFC 2104's empty ones */
        expect_signature(WEBHOOK_SIGN_BODY, "", 7, "",
                         "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
        /* printf 1700000000'{"a":1}' | openssl dgst -sha256 -hmac key */
        expect_signature(WEBHOOK_SIGN_TIMESTAMP_BODY, "key", 1700000000, "{\"a\":1}",
                         "sha256=241653ad78c4f3ee1dba548cbb1ca6120ea634c9ba4b7e5824b048b05ff028c9");
        expect_signature(WEBHOOK_SIGN_BODY, "key", 1700000000, "{\"a\":1}",
                         "sha256=88a67f24bbcdaed0e6c997404bb79a743baf44c6bab2f4c27328e3009d22e342");
}

/* --- headers --- */

static json_t *parse(const char *text)
{
        json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);

        assert_non_null(json);
        return json;
}

static void expect_headers(const char *text, const char *field)
{
        json_auto_t *headers = parse(text);
        struct error err = ERROR_INIT;
        int r = headers_check(headers, &err);

        if (!field) {
                if (r < 0)
                        fail_msg("%s: %s", text, err.message);
                return;
        }
        assert_int_equal(r, -EINVAL);
        assert_string_equal(err.field, field);
        assert_true(str_has_prefix(err.message, "callback_headers: "));
}

static void test_headers_are_checked(void **state)
{
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(headers_check(NULL, &err), 0);
        expect_headers("{}", NULL);
        expect_headers("{\"Authorization\": \"Bearer x\", \"X-Empty\": \"\", \"X-Tab\": \"a\\tb\", "
                       "\"X-Utf8\": \"\\u00e9\", \"accept\": \"text/html\", \"Cookie\": \"a=b\"}",
                       NULL);
        expect_headers("{\"content-type\": \"application/json; charset=utf-8\"}", NULL);

        expect_headers("{\"X-A\": \"1\\r\\nX-B: 2\"}", "/callback_headers/X-A");
        expect_headers("{\"X-A\": \"1\\nX-B: 2\"}", "/callback_headers/X-A");
        expect_headers("{\"X-A\": \"1\\u0000\"}", "/callback_headers/X-A");
        expect_headers("{\"X-A\": \"\\u007f\"}", "/callback_headers/X-A");
        expect_headers("{\"X-A\": 1}", "/callback_headers/X-A");
        expect_headers("{\"X A\": \"\"}", "/callback_headers/X A");
        expect_headers("{\"X-A:\": \"\"}", "/callback_headers/X-A:");
        expect_headers("{\"X-A\\r\\nB\": \"\"}", "/callback_headers/X-A  B");
        expect_headers("{\"a/b~c\": \"\\n\"}", "/callback_headers/a~1b~0c");
        expect_headers("{\"\": \"x\"}", "/callback_headers/");
        expect_headers("{\"\\u00e9\": \"x\"}", "/callback_headers/\xc3\xa9");
        expect_headers("{\"X-A\": \"1\", \"x-a\": \"2\"}", "/callback_headers/X-A");

        expect_headers("{\"Host\": \"a\"}", "/callback_headers/Host");
        expect_headers("{\"content-length\": \"1\"}", "/callback_headers/content-length");
        expect_headers("{\"TRANSFER-ENCODING\": \"chunked\"}",
                       "/callback_headers/TRANSFER-ENCODING");
        expect_headers("{\"Connection\": \"close\"}", "/callback_headers/Connection");
        expect_headers("{\"Expect\": \"100-continue\"}", "/callback_headers/Expect");
        expect_headers("{\"x-hopx-signature\": \"sha256=\"}", "/callback_headers/x-hopx-signature");
        expect_headers("{\"X-HopX-Timestamp\": \"1\"}", "/callback_headers/X-HopX-Timestamp");
        expect_headers("{\"X-HopX-Delivery\": \"1\"}", "/callback_headers/X-HopX-Delivery");
        expect_headers("{\"User-Agent\": \"me\"}", "/callback_headers/User-Agent");
        expect_headers("{\"Content-Type\": \"text/plain\"}", "/callback_headers/Content-Type");
}

static void test_headers_are_limited(void **state)
{
        json_auto_t *headers = json_object();
        struct error err = ERROR_INIT;
        char name[LIMIT_WEBHOOK_HEADER_NAME + 2];
        char value[1025];

        (void)state;
        for (int i = 0; i <= LIMIT_WEBHOOK_HEADERS; i++) {
                assert_int_equal(headers_check(headers, &err), 0);
                snprintf(name, sizeof(name), "X-%d", i);
                json_object_set_new(headers, name, json_string(""));
        }
        assert_int_equal(headers_check(headers, &err), -EINVAL);
        assert_string_equal(err.field, "/callback_headers");

        json_object_clear(headers);
        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        for (size_t i = 0; i < LIMIT_WEBHOOK_HEADER_BYTES / (sizeof(value) - 1); i++) {
                assert_int_equal(headers_check(headers, &err), 0);
                snprintf(name, sizeof(name), "X-%zu", i);
                json_object_set_new(headers, name, json_string(value));
        }
        assert_int_equal(headers_check(headers, &err), -EINVAL);

        json_object_clear(headers);
        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        json_object_set_new(headers, name, json_string(""));
        assert_int_equal(headers_check(headers, &err), -EINVAL);
        json_object_clear(headers);
        json_object_set_new(headers, name + 1, json_string(""));
        assert_int_equal(headers_check(headers, &err), 0);
}

static void expect_lines(const struct headers_values *values, const char *const *expected)
{
        struct curl_slist *list = headers_make(values);
        size_t i = 0;

        assert_non_null(list);
        for (struct curl_slist *h = list; h; h = h->next) {
                assert_non_null(expected[i]);
                assert_string_equal(h->data, expected[i++]);
        }
        assert_null(expected[i]);
        curl_slist_free_all(list);
}

static void test_headers_are_made(void **state)
{
        json_auto_t *custom = parse("{\"Authorization\": \"Bearer x\", \"X-Empty\": \" \", "
                                    "\"content-type\": \"application/json\"}");
        struct headers_values values = { .id = "d_1", .timestamp_s = 1700000000 };

        (void)state;
        expect_lines(&values, (const char *const[]){ "Expect:", "Content-Type: application/json",
                                                     "X-HopX-Delivery: d_1",
                                                     "X-HopX-Timestamp: 1700000000", NULL });
        values.signature = "sha256=00";
        values.custom = custom;
        expect_lines(&values,
                     (const char *const[]){ "Expect:", "Content-Type: application/json",
                                            "X-HopX-Delivery: d_1", "X-HopX-Timestamp: 1700000000",
                                            "X-HopX-Signature: sha256=00",
                                            "Authorization: Bearer x", "X-Empty;", NULL });
}

/* --- trying again --- */

static void test_which_status_is_worth_a_retry(void **state)
{
        (void)state;
        for (unsigned status = 100; status <= 599; status++) {
                bool expected = status == 408 || status == 425 || status == 429 || status >= 500;

                assert_int_equal(retry_is_worthwhile(status), expected);
        }
        assert_false(retry_is_worthwhile(600));
        assert_false(retry_is_worthwhile(0));
}

static void test_retry_after(void **state)
{
        const int64_t now = 1445412480; /* Wed, 21 Oct 2015 07:28:00 GMT */
        const int64_t max = (int64_t)LIMIT_WEBHOOK_RETRY_AFTER_MS;
        const struct {
                const char *value;
                int64_t expected;
        } table[] = {
                { "0", 0 },
                { "1", 1000 },
                { "120", 120000 },
                { "3600", max },
                { "3601", max },
                { "99999999999999999999999999", max },
                { "Wed, 21 Oct 2015 07:28:10 GMT", 10000 },
                { "Wednesday, 21-Oct-15 07:28:10 GMT", 10000 },
                { "Wed Oct 21 07:28:10 2015", 10000 },
                { "Wed, 21 Oct 2015 07:27:00 GMT", 0 },
                { "Thu, 22 Oct 2015 07:28:00 GMT", max },
                { "", -1 },
                { "-1", -1 },
                { "+1", -1 },
                { "1.5", -1 },
                { "0x10", -1 },
                { "soon", -1 },
                { "20151021", max }, /* seconds, although it looks like a date */
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(table); i++) {
                int64_t ms = retry_after_ms(table[i].value, now);

                if (ms != table[i].expected)
                        fail_msg("%s: %lld", table[i].value, (long long)ms);
        }
}

/* Full jitter: anything from 0 to the limit, all of it used. */
static void test_backoff(void **state)
{
        const uint64_t limits[] = { 1000, 2000, 4000, 8000, 10000, 10000, 10000 };

        (void)state;
        for (unsigned i = 0; i < ARRAY_LEN(limits); i++) {
                uint64_t least = UINT64_MAX, most = 0;

                for (int n = 0; n < 500; n++) {
                        uint64_t ms = retry_backoff_ms(i + 1, 1000, 10000);

                        least = MIN(least, ms);
                        most = MAX(most, ms);
                }
                assert_true(most <= limits[i]);
                assert_true(most > limits[i] * 9 / 10); /* fails once in 10^22 */
                assert_true(least < limits[i] / 10);
        }
        assert_true(retry_backoff_ms(UINT32_MAX, 1, UINT64_MAX / 2) <= UINT64_MAX / 2);
        assert_true(retry_backoff_ms(1, 5000, 10) <= 10);
        assert_int_equal(retry_backoff_ms(3, 0, 10), 0);
        assert_int_equal(retry_backoff_ms(3, 5, 0), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signature),
                cmocka_unit_test(test_headers_are_checked),
                cmocka_unit_test(test_headers_are_limited),
                cmocka_unit_test(test_headers_are_made),
                cmocka_unit_test(test_which_status_is_worth_a_retry),
                cmocka_unit_test(test_retry_after),
                cmocka_unit_test(test_backoff),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
