/* SPDX-License-Identifier: Apache-2.0 */

/* Webhooks that are really sent, to a receiver that does everything wrong. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/base/limits.h"
#include "tests/lib/skip.h"
#include "tests/lib/webhook_fixture.h"

/* --- success --- */

static void test_what_is_sent(void **state)
{
        struct hooks *h = *state;
        json_auto_t *headers = json_pack("{s:s, s:s, s:s}", "Authorization", "Bearer x", "X-Empty",
                                         "", "Accept", "text/x");
        json_auto_t *record = NULL;
        char url[128];
        struct hook *hook;

        snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok?a=b", receiver.port);
        hook = hooks_queue(h, "sent_1", url, HOOK_SECRET, headers, HOOK_BODY);
        assert_false(hook->is_queued); /* not before it is on the disk */
        hooks_run(h);

        assert_int_equal(hook->queue_result, 0);
        expect_hook(hook, WEBHOOK_DELIVERED, 1, 200, "");
        assert_int_equal(hook->n_changes, 3); /* pending, delivering, delivered */
        assert_int_equal(receiver_count("sent_1", &record), 1);
        assert_string_equal(json_string_value(json_object_get(record, "method")), "POST");
        assert_string_equal(json_string_value(json_object_get(record, "path")), "/ok?a=b");
        assert_string_equal(json_string_value(json_object_get(record, "body")), HOOK_BODY);
        assert_string_equal(record_header(record, "content-type"), "application/json");
        assert_string_equal(record_header(record, "authorization"), "Bearer x");
        assert_string_equal(record_header(record, "accept"), "text/x");
        assert_string_equal(record_header(record, "x-empty"), "");
        assert_true(str_has_prefix(record_header(record, "user-agent"), "vm-agent/"));
        assert_null(record_header(record, "expect"));
        assert_null(record_header(record, "transfer-encoding"));
}

/* By the example in the guide. */
static void test_signatures_verify(void **state)
{
        struct hooks *h = *state;
        json_auto_t *record = NULL, *other = NULL, *none = NULL;
        char url[128];
        json_t *forms;

        snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", receiver.port);
        hooks_queue(h, "signed_body", url, HOOK_SECRET, NULL, HOOK_BODY);
        hooks_queue(h, "signed_not", url, "", NULL, HOOK_BODY);
        hooks_queue(h, "signed_wrong", url, "another secret", NULL, HOOK_BODY);
        hooks_run(h);
        assert_int_equal(receiver_count("signed_body", &record), 1);
        forms = json_object_get(record, "verified");
        assert_int_equal(json_array_size(forms), 1);
        assert_string_equal(json_string_value(json_array_get(forms, 0)), "body");
        assert_int_equal(receiver_count("signed_not", &none), 1);
        assert_null(record_header(none, "x-hopx-signature"));
        json_decref(record);
        assert_int_equal(receiver_count("signed_wrong", &record), 1);
        assert_non_null(record_header(record, "x-hopx-signature"));
        assert_int_equal(json_array_size(json_object_get(record, "verified")), 0);

        h->options.signature = WEBHOOK_SIGN_TIMESTAMP_BODY;
        hooks_reconfigure(h);
        hooks_queue(h, "signed_time", url, HOOK_SECRET, NULL, HOOK_BODY);
        hooks_run(h);
        assert_int_equal(receiver_count("signed_time", &other), 1);
        forms = json_object_get(other, "verified");
        assert_int_equal(json_array_size(forms), 1);
        assert_string_equal(json_string_value(json_array_get(forms, 0)), "timestamp-body");
}

/* Larger than a socket takes at once. */
static void test_large_body(void **state)
{
        struct hooks *h = *state;
        CLEANUP(mem_free) char *body = xcalloc(1, 8 * MIB + 1);
        json_auto_t *record = NULL;
        char url[128];

        memset(body, 'x', 8 * MIB);
        snprintf(url, sizeof(url), "http://127.0.0.1:%d/ok", receiver.port);
        hooks_queue(h, "large", url, HOOK_SECRET, NULL, body);
        hooks_run(h);
        assert_int_equal(receiver_count("large", &record), 1);
        assert_int_equal(json_integer_value(json_object_get(record, "size")), 8 * MIB);
        assert_int_equal(json_array_size(json_object_get(record, "verified")), 1);
}

static void test_many(void **state)
{
        struct hooks *h = *state;
        char id[32];

        for (int i = 0; i < 100; i++) {
                snprintf(id, sizeof(id), "many_%d", i);
                hooks_post(h, id, "/ok");
        }
        hooks_run(h);
        for (int i = 0; i < 100; i++) {
                snprintf(id, sizeof(id), "many_%d", i);
                expect_hook(hooks_find(h, id), WEBHOOK_DELIVERED, 1, 200, "");
                assert_int_equal(receiver_count(id, NULL), 1);
        }
}

/* --- what receivers answer --- */

static void test_final_answers(void **state)
{
        struct hooks *h = *state;
        struct hook *redirect = hooks_post(h, "redirect", "/redirect");
        struct hook *not_found = hooks_post(h, "not-found", "/status/404");
        struct hook *no_content = hooks_post(h, "no-content", "/status/299");
        struct hook *interim = hooks_post(h, "interim", "/interim");

        hooks_run(h);
        expect_hook(redirect, WEBHOOK_FAILED, 1, 302,
                    "HTTP status 302: redirects are not followed");
        assert_int_equal(receiver_count("redirect", NULL), 1);
        expect_hook(not_found, WEBHOOK_FAILED, 1, 404, "HTTP status 404");
        expect_hook(no_content, WEBHOOK_DELIVERED, 1, 299, "");
        expect_hook(interim, WEBHOOK_DELIVERED, 1, 200, "");
}

static void test_tries_again(void **state)
{
        struct hooks *h = *state;
        struct hook *later = hooks_post(h, "later", "/then-ok/500/2");
        struct hook *never = hooks_post(h, "never", "/status/503");
        struct hook *timeout = hooks_post(h, "timeout", "/then-ok/408/1");
        struct hook *busy = hooks_post(h, "busy", "/then-ok/429/1");

        hooks_run(h);
        expect_hook(later, WEBHOOK_DELIVERED, 3, 200, "HTTP status 500");
        assert_int_equal(receiver_count("later", NULL), 3);
        expect_hook(never, WEBHOOK_FAILED, 3, 503, "HTTP status 503");
        assert_int_equal(receiver_count("never", NULL), 3);
        expect_hook(timeout, WEBHOOK_DELIVERED, 2, 200, "HTTP status 408");
        expect_hook(busy, WEBHOOK_DELIVERED, 2, 200, "HTTP status 429");
}

static double record_time(const char *id, unsigned attempt)
{
        json_auto_t *all = receiver_records();
        json_t *record;
        size_t i;

        json_array_foreach(all, i, record) {
                if (str_equal(json_string_value(json_object_get(record, "delivery")), id) &&
                    json_integer_value(json_object_get(record, "attempt")) == attempt)
                        return json_real_value(json_object_get(record, "time"));
        }
        fail_msg("no attempt %u of %s", attempt, id);
        return 0;
}

static int is_pending_again(void *arg)
{
        const struct hook *hook = arg;

        return hook->attempts > 0 && hook->status == WEBHOOK_PENDING;
}

static void test_retry_after(void **state)
{
        struct hooks *h = *state;
        struct hook *seconds = hooks_post(h, "after-seconds", "/retry-after/1/1");
        struct hook *date = hooks_post(h, "after-date", "/retry-after/date+2/1");
        struct hook *rubbish = hooks_post(h, "after-rubbish", "/retry-after/soon/1");
        struct hook *far = hooks_post(h, "after-far", "/retry-after/999999/9");
        int64_t now_ms;

        assert_true(loop_run_until(h->loop, is_pending_again, far, HOOK_DEADLINE_MS));
        now_ms = (int64_t)time(NULL) * 1000;
        assert_true(far->next_attempt_at_ms > now_ms + 3590 * 1000);
        assert_true(far->next_attempt_at_ms < now_ms + 3610 * 1000);

        for (unsigned i = 0; i < 3; i++) /* all but the one that waits for an hour */
                while (!hook_is_final(i == 0 ? seconds : i == 1 ? date : rubbish))
                        (void)uv_run(&h->loop->uv, UV_RUN_ONCE);
        expect_hook(seconds, WEBHOOK_DELIVERED, 2, 200, "429");
        assert_true(record_time("after-seconds", 2) - record_time("after-seconds", 1) >= 0.99);
        expect_hook(date, WEBHOOK_DELIVERED, 2, 200, "429");
        assert_true(record_time("after-date", 2) - record_time("after-date", 1) >= 0.9);
        expect_hook(rubbish, WEBHOOK_DELIVERED, 2, 200, "429");
        assert_true(record_time("after-rubbish", 2) - record_time("after-rubbish", 1) < 1);
}

static void test_no_answer(void **state)
{
        struct hooks *h = *state;
        struct hook *closed, *early, *garbage, *headers;

        h->options.max_tries = 2;
        hooks_reconfigure(h);
        closed = hooks_post(h, "close", "/close");
        early = hooks_post(h, "early", "/close-early");
        garbage = hooks_post(h, "garbage", "/garbage");
        headers = hooks_post(h, "headers", "/huge-headers");
        hooks_run(h);
        expect_hook(closed, WEBHOOK_FAILED, 2, 0, "");
        assert_int_equal(receiver_count("close", NULL), 2);
        assert_true(closed->last_error[0] != '\0');
        expect_hook(early, WEBHOOK_FAILED, 2, 0, "");
        assert_true(early->last_error[0] != '\0');
        expect_hook(garbage, WEBHOOK_FAILED, 2, 0, "");
        expect_hook(headers, WEBHOOK_FAILED, 2, 0, "headers are too long");
}

static void test_hanging(void **state)
{
        struct hooks *h = *state;
        struct hook *hang, *headers;

        h->options.timeout_ms = 300;
        h->options.max_tries = 2;
        hooks_reconfigure(h);
        hang = hooks_post(h, "hang", "/hang");
        headers = hooks_post(h, "hang-headers", "/hang-headers");
        hooks_run(h);
        expect_hook(hang, WEBHOOK_FAILED, 2, 0, "timed out");
        assert_int_equal(receiver_count("hang", NULL), 2);
        expect_hook(headers, WEBHOOK_FAILED, 2, 0, "timed out");
}

/* Once the status and the headers are there, the receiver has said what it thinks. */
static void test_broken_bodies_do_not_matter(void **state)
{
        struct hooks *h = *state;
        json_auto_t *all = NULL;
        struct hook *cut, *huge, *hang;
        json_t *record;
        json_int_t flood = 0;
        size_t i;

        h->options.timeout_ms = 1000;
        hooks_reconfigure(h);
        cut = hooks_post(h, "cut", "/close-in-answer");
        huge = hooks_post(h, "huge", "/huge");
        hang = hooks_post(h, "hang-body", "/hang-body");
        hooks_run(h);
        expect_hook(cut, WEBHOOK_DELIVERED, 1, 200, "");
        expect_hook(huge, WEBHOOK_DELIVERED, 1, 200, "");
        expect_hook(hang, WEBHOOK_DELIVERED, 1, 200, "");

        /* Not read to the end, which is far: what went out is what sockets' buffers hold. */
        all = receiver_records();
        json_array_foreach(all, i, record) {
                flood = MAX(flood, json_integer_value(json_object_get(record, "flood")));
        }
        assert_true(flood < (json_int_t)(32 * MIB));
}

static void test_connection_refused(void **state)
{
        struct hooks *h = *state;
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct hook *hook;
        char url[64];

        /* Bound, but not listening: the port cannot become anybody else's. */
        assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
        snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
        hook = hooks_queue(h, "refused", url, NULL, NULL, "{}");
        hooks_run(h);
        expect_hook(hook, WEBHOOK_FAILED, 3, 0, "Failed to connect");
        fd_close(fd);
}

/* --- TLS --- */

static void test_tls(void **state)
{
        struct hooks *h = *state;
        struct hook *hook;
        char url[64];

        if (receiver.tls_port == 0)
                SKIP_TEST("there is no openssl to make a certificate");
        snprintf(url, sizeof(url), "https://127.0.0.1:%d/ok", receiver.tls_port);
        hook = hooks_queue(h, "tls-self-signed", url, NULL, NULL, "{}");
        hooks_run(h);
        expect_hook(hook, WEBHOOK_FAILED, 3, 0, "certificate");
        assert_int_equal(receiver_count("tls-self-signed", NULL), 0);

        h->options.ca_file = receiver.certificate;
        hooks_reconfigure(h);
        hook = hooks_queue(h, "tls-ca-file", url, NULL, NULL, "{}");
        hooks_run(h);
        expect_hook(hook, WEBHOOK_DELIVERED, 1, 200, "");

        h->options.ca_file = "/nonexistent";
        hooks_reconfigure(h);
        hook = hooks_queue(h, "tls-no-file", url, NULL, NULL, "{}");
        hooks_run(h);
        expect_hook(hook, WEBHOOK_FAILED, 3, 0, "/nonexistent");
}

/* --- the environment --- */

static void test_no_proxy(void **state)
{
        struct hooks *h = *state;
        struct hook *hook;

        setenv("http_proxy", "http://127.0.0.1:1/", 1);
        setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
        hook = hooks_post(h, "no-proxy", "/ok");
        hooks_run(h);
        unsetenv("http_proxy");
        unsetenv("ALL_PROXY");
        expect_hook(hook, WEBHOOK_DELIVERED, 1, 200, "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                HOOK_TEST(test_what_is_sent),
                HOOK_TEST(test_signatures_verify),
                HOOK_TEST(test_large_body),
                HOOK_TEST(test_many),
                HOOK_TEST(test_final_answers),
                HOOK_TEST(test_tries_again),
                HOOK_TEST(test_retry_after),
                HOOK_TEST(test_no_answer),
                HOOK_TEST(test_hanging),
                HOOK_TEST(test_broken_bodies_do_not_matter),
                HOOK_TEST(test_connection_refused),
                HOOK_TEST(test_tls),
                HOOK_TEST(test_no_proxy),
        };

        return cmocka_run_group_tests(tests, receiver_start, receiver_stop);
}
