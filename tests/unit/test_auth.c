/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/auth.h"

#include <errno.h>

#include "tests/unit/auth_fixture.h"

static void test_authorization_header(void **state)
{
        CLEANUP(mem_free)
        char *token = make_token("secret", JWT_ALG_HS256, "{\"exp\":1700000100,\"sub\":\"vm-1\"}");
        static const struct {
                const char *prefix;
                const char *suffix;
                enum auth_result result;
        } cases[] = {
                { "Bearer ", "", AUTH_OK },
                { "bearer ", "", AUTH_OK },
                { "BEARER \t  ", "", AUTH_OK },
                { "  Bearer ", "  \t", AUTH_OK },
                { "", "", AUTH_MISSING },
                { "Basic ", "", AUTH_MISSING },
                { "Bearer", "", AUTH_MISSING },
                { "Bearerx ", "", AUTH_MISSING },
                { "Bearer ", " x", AUTH_INVALID },
                { "Bearer ", ".", AUTH_INVALID },
                { "Bearer Bearer ", "", AUTH_INVALID },
        };
        struct auth *a = hmac_auth();
        struct principal p;
        const char *why;

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CLEANUP(mem_free)
                char *header = xasprintf("%s%s%s", cases[i].prefix, token, cases[i].suffix);

                assert_int_equal(auth_check(a, header, NOW, &p, &why), cases[i].result);
        }
        assert_int_equal(auth_check(a, NULL, NOW, &p, &why), AUTH_MISSING);
        assert_string_equal(why, "no Authorization header");
        assert_int_equal(auth_check(a, "", NOW, &p, &why), AUTH_MISSING);
        assert_int_equal(auth_check(a, "Bearer ", NOW, &p, &why), AUTH_MISSING);
        assert_string_equal(why, "no token");
        auth_free(a);
}

static void test_principal(void **state)
{
        CLEANUP(mem_free)
        char *named = make_token("secret", JWT_ALG_HS256, "{\"exp\":1700000100,\"sub\":\"vm-1\"}");
        CLEANUP(mem_free)
        char *anonymous = make_token("secret", JWT_ALG_HS256, "{\"exp\":1700000200}");
        CLEANUP(mem_free) char *first = xasprintf("Bearer %s", named);
        CLEANUP(mem_free) char *second = xasprintf("Bearer %s", anonymous);
        struct auth *a = hmac_auth();
        struct principal p;
        const char *why;

        (void)state;
        for (int i = 0; i < 2; i++) { /* the second time from the cache */
                assert_int_equal(auth_check(a, first, NOW, &p, &why), AUTH_OK);
                assert_string_equal(p.subject, "vm-1");
                assert_int_equal(p.expires_s, NOW + 100);
                assert_int_equal(auth_check(a, second, NOW, &p, &why), AUTH_OK);
                assert_string_equal(p.subject, "");
                assert_int_equal(p.expires_s, NOW + 200);
        }
        auth_free(a);
}

static void test_times(void **state)
{
        static const struct {
                const char *claims;
                enum auth_result result;
                const char *why;
        } cases[] = {
                { "{\"exp\":1700000001}", AUTH_OK, NULL },
                { "{\"exp\":1700000000}", AUTH_EXPIRED, "expired" },
                { "{\"exp\":1700000001.5}", AUTH_OK, NULL },
                { "{\"exp\":1699999999.5}", AUTH_EXPIRED, "expired" },
                { "{\"exp\":0}", AUTH_EXPIRED, "expired" },
                { "{\"exp\":-1}", AUTH_EXPIRED, "expired" },
                { "{\"exp\":-1e300}", AUTH_EXPIRED, "expired" },
                { "{\"exp\":1e300}", AUTH_OK, NULL },
                { "{\"exp\":9223372036854775807}", AUTH_OK, NULL },
                { "{\"sub\":\"x\"}", AUTH_INVALID, "no exp claim" },
                { "{\"exp\":\"1800000000\"}", AUTH_INVALID, "malformed exp claim" },
                { "{\"exp\":null}", AUTH_INVALID, "malformed exp claim" },
                { "{\"exp\":true}", AUTH_INVALID, "malformed exp claim" },
                { "{\"exp\":1800000000,\"nbf\":1700000030}", AUTH_OK, NULL },
                { "{\"exp\":1800000000,\"nbf\":1700000031}", AUTH_INVALID, "not yet valid" },
                { "{\"exp\":1800000000,\"iat\":1700000030}", AUTH_OK, NULL },
                { "{\"exp\":1800000000,\"iat\":1700000031}", AUTH_INVALID, "not yet valid" },
                { "{\"exp\":1800000000,\"nbf\":9223372036854775807}", AUTH_INVALID,
                  "not yet valid" },
                { "{\"exp\":1800000000,\"nbf\":1,\"iat\":1}", AUTH_OK, NULL },
                { "{\"exp\":1800000000,\"nbf\":\"1\"}", AUTH_INVALID, "malformed nbf claim" },
                { "{\"exp\":1800000000,\"iat\":[]}", AUTH_INVALID, "malformed iat claim" },
                { "{\"exp\":1800000000,\"sub\":1}", AUTH_INVALID, "malformed sub claim" },
        };
        struct auth *a = hmac_auth();

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                expect_claims(a, cases[i].claims, cases[i].result, cases[i].why);
        auth_free(a);
}

static void test_long_subject(void **state)
{
        struct auth *a = hmac_auth();
        char subject[129] = "";

        (void)state;
        memset(subject, 's', 127);
        for (int i = 0; i < 2; i++) {
                CLEANUP(mem_free)
                char *claims = xasprintf("{\"exp\":1800000000,\"sub\":\"%s\"}", subject);

                expect_claims(a, claims, i == 0 ? AUTH_OK : AUTH_INVALID,
                              i == 0 ? NULL : "malformed sub claim");
                subject[127] = 's';
        }
        auth_free(a);
}

static void test_identity(void **state)
{
        static const struct {
                const char *claims;
                const char *why; /* NULL: accepted */
        } cases[] = {
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":\"cp\",\"sub\":\"vm-1\"}", NULL },
                { "{\"exp\":1800000000,\"aud\":[\"x\",\"agent\"],\"iss\":\"cp\","
                  "\"sandbox_id\":\"vm-1\"}",
                  NULL },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":\"cp\",\"sub\":\"me\","
                  "\"vm_id\":\"vm-1\"}",
                  NULL },
                { "{\"exp\":1800000000,\"iss\":\"cp\",\"sub\":\"vm-1\"}", "wrong audience" },
                { "{\"exp\":1800000000,\"aud\":\"agents\",\"iss\":\"cp\",\"sub\":\"vm-1\"}",
                  "wrong audience" },
                { "{\"exp\":1800000000,\"aud\":[],\"iss\":\"cp\",\"sub\":\"vm-1\"}",
                  "wrong audience" },
                { "{\"exp\":1800000000,\"aud\":[1,[\"agent\"]],\"iss\":\"cp\",\"sub\":\"vm-1\"}",
                  "wrong audience" },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"sub\":\"vm-1\"}", "wrong issuer" },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":\"c\",\"sub\":\"vm-1\"}",
                  "wrong issuer" },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":[\"cp\"],\"sub\":\"vm-1\"}",
                  "wrong issuer" },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":\"cp\"}", "wrong subject" },
                { "{\"exp\":1800000000,\"aud\":\"agent\",\"iss\":\"cp\",\"sub\":\"vm-2\"}",
                  "wrong subject" },
        };
        struct auth_options o = { .audience = "agent", .issuer = "cp", .subject = "vm-1" };
        struct auth *a = auth_with(&o, "secret", "HS256");

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                expect_claims(a, cases[i].claims, cases[i].why ? AUTH_INVALID : AUTH_OK,
                              cases[i].why);
        auth_free(a);
}

static void test_cache_and_time(void **state)
{
        CLEANUP(mem_free)
        char *token = make_token("secret", JWT_ALG_HS256,
                                 "{\"exp\":1700000100,\"nbf\":1700000000}");
        struct auth *a = hmac_auth();

        (void)state;
        expect(a, token, NOW, AUTH_OK, NULL);
        expect(a, token, NOW + 99, AUTH_OK, NULL);
        expect(a, token, NOW - 31, AUTH_INVALID, "not yet valid"); /* the clock went back */
        expect(a, token, NOW + 100, AUTH_EXPIRED, "expired");
        expect(a, token, NOW + 100, AUTH_EXPIRED, "expired");
        expect(a, token, NOW, AUTH_OK, NULL);
        auth_free(a);
}

/* The new secret decides at once, also about tokens that were accepted before; a bad one changes nothing. */
static void test_reload(void **state)
{
        CLEANUP(mem_free) char *path = in_dir("changing");
        CLEANUP(mem_free) char *token = make_token("secret", JWT_ALG_HS256, "{\"exp\":1800000000}");
        struct auth_options o = { .secret_file = path, .algorithm = "HS256" };
        struct auth *a = NULL;
        struct error err = ERROR_INIT;

        (void)state;
        write_file("changing", SECRET, strlen(SECRET));
        assert_int_equal(auth_new(&o, &a, &err), 0);
        expect(a, token, NOW, AUTH_OK, NULL);

        write_file("changing", "short", 5);
        assert_int_equal(auth_reload(a, &o, &err), -EINVAL);
        expect(a, token, NOW, AUTH_OK, NULL);

        write_file("changing", "another secret, also long enough.", 33);
        expect(a, token, NOW, AUTH_OK, NULL); /* nobody has reloaded yet */
        assert_int_equal(auth_reload(a, &o, &err), 0);
        expect(a, token, NOW, AUTH_INVALID, "bad signature");

        write_file("changing", SECRET, strlen(SECRET));
        o.audience = "agent";
        assert_int_equal(auth_reload(a, &o, &err), 0);
        expect(a, token, NOW, AUTH_INVALID, "wrong audience");
        auth_free(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_authorization_header),
                cmocka_unit_test(test_principal),
                cmocka_unit_test(test_times),
                cmocka_unit_test(test_long_subject),
                cmocka_unit_test(test_identity),
                cmocka_unit_test(test_cache_and_time),
                cmocka_unit_test(test_reload),
        };

        return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
