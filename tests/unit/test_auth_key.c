/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/auth_key.h"

#include <errno.h>

#include "agent/base/limits.h"
#include "tests/unit/auth_fixture.h"

static void test_asymmetric(void **state)
{
        static const struct {
                const char *key;
                const char *algorithm;
        } cases[] = {
                { "rsa", "RS256" },  { "rsa", "RS384" },  { "rsa", "RS512" },
                { "p256", "ES256" }, { "p384", "ES384" }, { "p521", "ES512" },
        };

        (void)state;
        clock_set_fake(0, NOW);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CLEANUP(mem_free) char *private_name = xasprintf("%s.key", cases[i].key);
                CLEANUP(mem_free) char *public_name = xasprintf("%s.pub", cases[i].key);
                CLEANUP(mem_free) char *private_path = in_dir(private_name);
                struct auth_options o = { .secret_file = private_path,
                                          .algorithm = cases[i].algorithm };
                struct auth *a;
                struct error err = ERROR_INIT;
                char *token = NULL;

                assert_int_equal(auth_mint(&o, "vm-1", 60, &token, &err), 0);
                a = auth_with(&o, public_name, cases[i].algorithm);
                expect(a, token, NOW, AUTH_OK, NULL);
                expect(a, token, NOW + 60, AUTH_EXPIRED, "expired");
                auth_free(a);
                free(token);
        }
}

static void test_secret_forms(void **state)
{
        static const struct {
                const char *content;
                bool accepted; /* as the same secret */
        } cases[] = {
                { SECRET, true },         { SECRET "\n", true }, { SECRET "\r\n", true },
                { SECRET "\n\n", false }, { SECRET " ", false }, { " " SECRET, false },
        };
        CLEANUP(mem_free) char *token = make_token("secret", JWT_ALG_HS256, "{\"exp\":1800000000}");

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct auth_options o = { 0 };
                struct auth *a;

                write_file("form", cases[i].content, strlen(cases[i].content));
                a = auth_with(&o, "form", "HS256");
                expect(a, token, NOW, cases[i].accepted ? AUTH_OK : AUTH_INVALID, NULL);
                auth_free(a);
        }
}

static void expect_bad_key(const char *file, const char *algorithm, int code, const char *words)
{
        CLEANUP(mem_free) char *path = in_dir(file);
        struct auth_options o = { .secret_file = path, .algorithm = algorithm };
        struct error err = ERROR_INIT;
        struct auth *a = NULL;

        assert_int_equal(auth_new(&o, &a, &err), code);
        assert_null(a);
        if (!strstr(err.message, words))
                fail_msg("'%s' does not say '%s'", err.message, words);
}

static void test_bad_keys(void **state)
{
        struct auth_options o = { .algorithm = "HS256" };
        struct error err = ERROR_INIT;
        struct auth *a = NULL;
        char *big = xcalloc(1, LIMIT_SECRET_BYTES + 1);

        (void)state;
        write_file("empty", "", 0);
        write_file("newline", "\n", 1);
        write_file("short", SECRET "\n", strlen(SECRET) - 1);
        write_file("almost", "0123456789abcdef0123456789abcde\n", 32);
        write_file("garbage", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 57);
        memset(big, 'x', LIMIT_SECRET_BYTES + 1);
        write_file("big", big, LIMIT_SECRET_BYTES + 1);
        free(big);

        expect_bad_key("missing", "HS256", -ENOENT, "No such file");
        expect_bad_key(".", "HS256", -EINVAL, "not a regular file");
        expect_bad_key("big", "HS256", -EFBIG, "File too large");
        expect_bad_key("empty", "HS256", -EINVAL, "must have at least 32 bytes, got 0");
        expect_bad_key("newline", "HS256", -EINVAL, "must have at least 32 bytes, got 0");
        expect_bad_key("short", "HS256", -EINVAL, "must have at least 32 bytes, got 31");
        expect_bad_key("almost", "HS256", -EINVAL, "must have at least 32 bytes, got 31");
        expect_bad_key("rsa.pub", "HS256", -EINVAL, "a PEM file cannot be an HMAC secret");
        expect_bad_key("rsa.key", "HS512", -EINVAL, "a PEM file cannot be an HMAC secret");
        expect_bad_key("secret", "RS256", -EINVAL, "is not a PEM public key");
        expect_bad_key("empty", "RS256", -EINVAL, "is not a PEM public key");
        expect_bad_key("garbage", "RS256", -EINVAL, "is not a PEM public key");
        expect_bad_key("rsa.key", "RS256", -EINVAL, "is not a PEM public key");
        expect_bad_key("p256.pub", "RS256", -EINVAL, "RS256 needs an RSA key");
        expect_bad_key("rsa-short.pub", "RS256", -EINVAL, "of at least 2048 bits");
        expect_bad_key("rsa.pub", "ES256", -EINVAL, "ES256 needs an EC key");
        expect_bad_key("p384.pub", "ES256", -EINVAL, "on the curve prime256v1");
        expect_bad_key("secret", "none", -EINVAL, "unknown algorithm 'none'");
        expect_bad_key("secret", "hs256", -EINVAL, "unknown algorithm 'hs256'");

        assert_int_equal(auth_new(&o, &a, &err), -EINVAL);
        assert_string_equal(err.message, "jwt-secret-file: required");
        assert_null(a);
}

static void test_mint(void **state)
{
        CLEANUP(mem_free) char *secret = in_dir("secret");
        CLEANUP(mem_free) char *public_key = in_dir("rsa.pub");
        struct auth_options o = { .secret_file = secret,
                                  .algorithm = "HS512",
                                  .audience = "agent",
                                  .issuer = "cp",
                                  .subject = "vm-1" };
        struct error err = ERROR_INIT;
        struct auth *a = NULL;
        char *token = NULL;

        (void)state;
        clock_set_fake(0, NOW);
        assert_int_equal(auth_new(&o, &a, &err), 0);

        assert_int_equal(auth_mint(&o, NULL, 60, &token, &err), 0);
        expect(a, token, NOW, AUTH_OK, NULL);
        expect(a, token, NOW + 59, AUTH_OK, NULL);
        expect(a, token, NOW + 60, AUTH_EXPIRED, NULL);
        free(token);

        token = NULL;
        assert_int_equal(auth_mint(&o, "somebody", 60, &token, &err), 0);
        expect(a, token, NOW, AUTH_INVALID, "wrong subject");
        free(token);

        token = NULL;
        assert_int_equal(auth_mint(&o, NULL, 0, &token, &err), -EINVAL);
        assert_int_equal(auth_mint(&o, NULL, INT64_MAX, &token, &err), -EINVAL);
        o.secret_file = public_key;
        o.algorithm = "RS256";
        assert_int_equal(auth_mint(&o, NULL, 60, &token, &err), -EINVAL);
        assert_non_null(strstr(err.message, "is not an unencrypted PEM private key"));
        assert_null(token);
        auth_free(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_asymmetric),
                cmocka_unit_test(test_secret_forms),
                cmocka_unit_test(test_bad_keys),
                cmocka_unit_test(test_mint),
        };

        return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
