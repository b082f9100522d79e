/* SPDX-License-Identifier: Apache-2.0 */

/* Which URLs and addresses webhooks may go to. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/webhook/target.h"

#define LIST(...) ((char *const *)(const char *const[]){ __VA_ARGS__, NULL })

static void make(struct target_rules *rules, char *const *allow, char *const *deny, bool metadata)
{
        struct error err = ERROR_INIT;

        if (target_rules_init(rules, allow, deny, metadata, &err) < 0)
                fail_msg("%s", err.message);
}

static void expect_url(const struct target_rules *rules, const char *url, int expected,
                       const char *host_or_words)
{
        struct error err = ERROR_INIT;
        struct target target;
        int r = target_from_url(rules, url, &target, &err);

        if (r != expected)
                fail_msg("%s: %d %s", url, r, r < 0 ? err.message : target.host);
        if (r == 0) {
                assert_string_equal(target.host, host_or_words);
                return;
        }
        assert_string_equal(err.field, "/callback_url");
        assert_true(str_has_prefix(err.message, "callback_url: "));
        if (!strstr(err.message, host_or_words))
                fail_msg("%s: %s", url, err.message);
}

static void test_urls(void **state)
{
        struct target_rules rules;
        char *url = calloc(1, LIMIT_WEBHOOK_URL + 2);

        (void)state;
        make(&rules, NULL, NULL, true);
        expect_url(&rules, "http://example.com", 0, "example.com");
        expect_url(&rules, "HTTPS://Example.COM:8443/a/b?c=d&e=%20#f", 0, "example.com");
        expect_url(&rules, "https://example.com./", 0, "example.com");
        expect_url(&rules, "http://a_b.internal/", 0, "a_b.internal");
        expect_url(&rules, "http://127.0.0.1:80/", 0, "127.0.0.1");
        expect_url(&rules, "http://[::1]:80/", 0, "::1");
        expect_url(&rules, "http://ex%61mple.com/", 0, "example.com");

        expect_url(&rules, "", -EINVAL, "http://");
        expect_url(&rules, "example.com/x", -EINVAL, "http://");
        expect_url(&rules, "//example.com/x", -EINVAL, "http://");
        expect_url(&rules, "ftp://example.com/x", -EINVAL, "http://");
        expect_url(&rules, "file:///etc/passwd", -EINVAL, "http://");
        expect_url(&rules, "gopher://example.com", -EINVAL, "http://");
        expect_url(&rules, "http:/example.com", -EINVAL, "http://");
        expect_url(&rules, "http://", -EINVAL, "no host");
        expect_url(&rules, "http:///example.com", -EINVAL, "no host");
        expect_url(&rules, "http://:80/", -EINVAL, "no host");
        expect_url(&rules, "http://?q", -EINVAL, "no host");
        expect_url(&rules, "http://user@example.com/", -EINVAL, "user name");
        expect_url(&rules, "http://user:pw@example.com/", -EINVAL, "user name");
        expect_url(&rules, "http://example.com@169.254.169.254/", -EINVAL, "user name");
        expect_url(&rules, "http://example.com\\@evil/", -EINVAL, "%XX");
        expect_url(&rules, "http://example.com/a b", -EINVAL, "%XX");
        expect_url(&rules, " http://example.com/", -EINVAL, "%XX");
        expect_url(&rules, "http://example.com/\r\nX: y", -EINVAL, "%XX");
        expect_url(&rules, "http://ex\xc3\xa4mple.com/", -EINVAL, "%XX");
        expect_url(&rules, "http://example.com:0/", -EINVAL, "port");
        expect_url(&rules, "http://example.com:65536/", -EINVAL, "");
        expect_url(&rules, "http://example.com:x/", -EINVAL, "");
        expect_url(&rules, "http://exa%00mple.com/", -EINVAL, "");
        expect_url(&rules, "http://exa%2fmple.com/", -EINVAL, "");
        expect_url(&rules, "http://[::1/", -EINVAL, "");

        memset(url, 'x', LIMIT_WEBHOOK_URL + 1);
        memcpy(url, "http://a/", 9);
        expect_url(&rules, url, -EINVAL, "longer");
        url[LIMIT_WEBHOOK_URL] = '\0';
        expect_url(&rules, url, 0, "a");
        free(url);
        target_rules_done(&rules);
}

/* The same place, written in every way that libcurl or the resolver understands. */
static void test_literals(void **state)
{
        static const char *const denied[] = {
                "169.254.169.254",
                "169.254.0.1",
                "2852039166",
                "0xa9fea9fe",
                "0xA9FEA9FE",
                "025177524776",
                "0xa9.0xfe.0xa9.0xfe",
                "0251.0376.0251.0376",
                "169.254.43518",
                "169.16689662",
                "169.254.169.254.",
                "%31%36%39.254.169.254",
                "[fe80::1]",
                "[febf::1]",
                "[fe80::1%25eth0]",
                "[::ffff:169.254.169.254]",
                "[::ffff:a9fe:a9fe]",
                "[0:0:0:0:0:ffff:a9fe:a9fe]",
                "[::169.254.169.254]",
                "[64:ff9b::169.254.169.254]",
                "[2002:a9fe:a9fe::1]",
                "[fd00:ec2::254]",
                "[FD00:0EC2:0::0254]",
                "[fd20:ce::254]",
                "100.100.100.200",
                "192.0.0.192",
                "168.63.129.16",
                "metadata.google.internal",
                "METADATA.google.internal",
                "metadata.google.internal.",
                "metadata",
                "metadata.goog",
        };
        static const char *const allowed[] = {
                "169.253.255.255", "169.255.0.0",
                "10.0.0.1",        "127.0.0.1",
                "[::1]",           "[fec0::1]",
                "[fd00::1]",       "[fd00:ec2::253]",
                "0.0.0.0",         "metadata.example.com",
        };
        struct target_rules rules;
        struct target_rules off;
        struct error err = ERROR_INIT;
        struct target target;
        char url[128];

        (void)state;
        make(&rules, NULL, NULL, true);
        make(&off, NULL, NULL, false);
        for (size_t i = 0; i < ARRAY_LEN(denied); i++) {
                snprintf(url, sizeof(url), "http://%s:8080/latest/", denied[i]);
                expect_url(&rules, url, -EPERM, "not allowed");
                if (target_from_url(&off, url, &target, &err) < 0)
                        fail_msg("%s: %s", url, err.message);
        }
        for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
                snprintf(url, sizeof(url), "http://%s/", allowed[i]);
                if (target_from_url(&rules, url, &target, &err) < 0)
                        fail_msg("%s: %s", url, err.message);
        }
        target_rules_done(&rules);
        target_rules_done(&off);
}

static void expect_socket(const struct target_rules *rules, const char *name, const char *address,
                          bool expected)
{
        struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(80) };
        struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(80) };
        bool is_six = strchr(address, ':') != NULL;
        bool allowed;

        assert_int_equal(is_six ? inet_pton(AF_INET6, address, &six.sin6_addr)
                                : inet_pton(AF_INET, address, &four.sin_addr),
                         1);
        allowed = is_six ? target_socket_is_allowed(rules, name, (struct sockaddr *)&six,
                                                    sizeof(six))
                         : target_socket_is_allowed(rules, name, (struct sockaddr *)&four,
                                                    sizeof(four));
        if (allowed != expected)
                fail_msg("%s at %s: %d", name, address, allowed);
}

static void test_addresses_denied(void **state)
{
        struct target_rules rules;
        struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/run/x" };
        struct sockaddr_in four = { .sin_family = AF_INET };

        (void)state;
        make(&rules, NULL,
             LIST("127.0.0.0/8", "10.1.2.3", "192.168.0.0/17", "::1", "2001:db8::/33"), true);
        expect_socket(&rules, "x", "127.0.0.1", false);
        expect_socket(&rules, "x", "127.255.255.255", false);
        expect_socket(&rules, "x", "128.0.0.1", true);
        expect_socket(&rules, "x", "::ffff:127.0.0.1", false);
        expect_socket(&rules, "x", "::127.0.0.2", false);
        expect_socket(&rules, "x", "64:ff9b::7f00:1", false);
        expect_socket(&rules, "x", "2002:7f00:1::", false);
        expect_socket(&rules, "x", "::ffff:0:127.0.0.1", false);
        expect_socket(&rules, "x", "::ffff:0:8.8.8.8", true);
        expect_socket(&rules, "x", "::ffff:1:127.0.0.1", true);
        /* NAT64's local prefix, with all lengths that a part of it may have. */
        expect_socket(&rules, "x", "64:ff9b:1::127.0.0.1", false);
        expect_socket(&rules, "x", "64:ff9b:1:ab:cd::10.1.2.3", false);
        expect_socket(&rules, "x", "64:ff9b:1:a01:2:300::", false);
        expect_socket(&rules, "x", "64:ff9b:1:a:1:203::", false);
        expect_socket(&rules, "x", "64:ff9b:1:a:a:102:300::", false);
        expect_socket(&rules, "x", "64:ff9b:1::169.254.169.254", false);
        expect_socket(&rules, "x", "64:ff9b:1::8.8.8.8", true);
        expect_socket(&rules, "x", "64:ff9b:2::127.0.0.1", true);
        expect_socket(&rules, "x", "2002:8000:1::", true);
        expect_socket(&rules, "x", "0.0.0.0", false); /* connects to this machine */
        expect_socket(&rules, "x", "::", false);
        expect_socket(&rules, "x", "::ffff:0.0.0.0", false);
        expect_socket(&rules, "x", "::1", false);
        expect_socket(&rules, "x", "10.1.2.3", false);
        expect_socket(&rules, "x", "10.1.2.2", true);
        expect_socket(&rules, "x", "192.168.127.255", false);
        expect_socket(&rules, "x", "192.168.128.0", true);
        expect_socket(&rules, "x", "2001:db8:7fff::1", false);
        expect_socket(&rules, "x", "2001:db8:8000::1", true);
        expect_socket(&rules, "x", "169.254.169.254", false);
        expect_socket(&rules, "x", "fe80::1", false);
        expect_socket(&rules, "x", "::ffff:169.254.1.1", false);

        assert_false(
                target_socket_is_allowed(&rules, "x", (struct sockaddr *)&local, sizeof(local)));
        assert_false(target_socket_is_allowed(&rules, "x", (struct sockaddr *)&four, 4));
        target_rules_done(&rules);
}

static void test_names_denied(void **state)
{
        struct target_rules rules;

        (void)state;
        make(&rules, NULL, LIST("Evil.example", "*.corp.example.", "0x7f000001"), false);
        expect_url(&rules, "http://evil.example/", -EPERM, "evil.example");
        expect_url(&rules, "http://EVIL.example./", -EPERM, "evil.example");
        expect_url(&rules, "http://not-evil.example/", 0, "not-evil.example");
        expect_url(&rules, "http://a.evil.example/", 0, "a.evil.example");
        expect_url(&rules, "http://a.corp.example/", -EPERM, "a.corp.example");
        expect_url(&rules, "http://a.b.corp.example/", -EPERM, "a.b.corp.example");
        expect_url(&rules, "http://corp.example/", 0, "corp.example");
        expect_url(&rules, "http://acorp.example/", 0, "acorp.example");
        expect_url(&rules, "http://127.1/", -EPERM, "127");
        target_rules_done(&rules);
}

static void test_allow_list(void **state)
{
        struct target_rules rules;

        (void)state;
        make(&rules, LIST("hooks.example", "10.0.0.0/8"), LIST("10.9.0.0/16"), true);
        expect_url(&rules, "http://hooks.example/", 0, "hooks.example");
        expect_socket(&rules, "hooks.example", "203.0.113.1", true);
        expect_socket(&rules, "hooks.example", "10.9.0.1", false); /* deny wins */
        expect_socket(&rules, "hooks.example", "169.254.169.254", false);
        expect_url(&rules, "http://other.example/", 0, "other.example"); /* it may be in 10/8 */
        expect_socket(&rules, "other.example", "10.1.1.1", true);
        expect_socket(&rules, "other.example", "203.0.113.1", false);
        expect_url(&rules, "http://10.2.3.4/", 0, "10.2.3.4");
        expect_url(&rules, "http://203.0.113.1/", -EPERM, "203.0.113.1");
        expect_socket(&rules, "x", "64:ff9b::10.1.1.1", false); /* only what is meant is allowed */
        target_rules_done(&rules);

        /* Bytes that are no address yet are none of 0.0.0.0/8. */
        make(&rules, NULL, LIST("0.0.0.0/8"), true);
        expect_socket(&rules, "x", "64:ff9b:1::8.8.8.8", true);
        expect_socket(&rules, "x", "64:ff9b:1::0.0.0.0", false);
        target_rules_done(&rules);

        make(&rules, LIST("*.example"), NULL, true);
        expect_url(&rules, "http://a.example/", 0, "a.example");
        expect_url(&rules, "http://a.other/", -EPERM, "a.other");
        expect_url(&rules, "http://10.2.3.4/", -EPERM, "10.2.3.4");
        target_rules_done(&rules);

        /* Naming what is denied by default does not allow it. */
        make(&rules, LIST("0.0.0.0/0"), NULL, true);
        expect_url(&rules, "http://169.254.169.254/", -EPERM, "169.254");
        target_rules_done(&rules);
}

static void test_lists_are_checked(void **state)
{
        static const char *const bad[] = {
                "10.0.0.0/33",
                "10.0.0.0/",
                "10.0.0.0/x",
                "10.0.0.0/-1",
                "::/129",
                "/8",
                "::ffff:10.0.0.0/95",
                "http://x/",
                "a b",
                "",
                "a..b",
                ".a",
                "x:80",
                "*",
                "*.",
                "a.*.b",
        };
        struct error err = ERROR_INIT;
        struct target_rules rules;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                if (target_rules_init(&rules, LIST("10.0.0.0/8", "a.b", bad[i]), NULL, true,
                                      &err) != -EINVAL)
                        fail_msg("allowed: %s", bad[i]);
                assert_true(str_has_prefix(err.message, "webhook-allow: "));
                assert_int_equal(target_rules_init(&rules, NULL, LIST(bad[i]), true, &err),
                                 -EINVAL);
                assert_true(str_has_prefix(err.message, "webhook-deny: "));
        }

        make(&rules, NULL, LIST("::ffff:10.0.0.0/104", "0.0.0.0/0"), false);
        assert_int_equal(rules.deny.networks[0].bits, 8);
        assert_int_equal(rules.deny.networks[0].address.size, 4);
        expect_socket(&rules, "x", "1.2.3.4", false);
        expect_socket(&rules, "x", "2001:db8::1", true);
        target_rules_done(&rules);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_urls),
                cmocka_unit_test(test_literals),
                cmocka_unit_test(test_addresses_denied),
                cmocka_unit_test(test_names_denied),
                cmocka_unit_test(test_allow_list),
                cmocka_unit_test(test_lists_are_checked),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
