/* SPDX-License-Identifier: Apache-2.0 */

/* Tokens that somebody made up, bent, or signed with what he should not have signed with. */

#include "agent/auth.h"

#include "agent/base/limits.h"
#include "tests/unit/auth_fixture.h"

/* Segments as text, signed by nobody or with the real secret: base64url of the given JSON. */
static char *encode_segment(const char *json)
{
        static const char alphabet[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        size_t size = strlen(json);
        char *text = xcalloc(1, size * 4 / 3 + 4);
        size_t n = 0;

        for (size_t i = 0; i < size; i += 3) {
                uint32_t bits = 0;
                size_t have = MIN(size - i, (size_t)3);

                for (size_t j = 0; j < 3; j++)
                        bits = bits << 8 | (j < have ? (unsigned char)json[i + j] : 0);
                for (size_t j = 0; j <= have; j++)
                        text[n++] = alphabet[bits >> (18 - 6 * j) & 63];
        }
        return text;
}

static char *sign_hs256(const char *header, const char *claims)
{
        CLEANUP(mem_free) char *h = encode_segment(header);
        CLEANUP(mem_free) char *c = encode_segment(claims);
        CLEANUP(mem_free) char *text = xasprintf("%s.%s", h, c);
        unsigned char mac[EVP_MAX_MD_SIZE];
        char b64[64];
        size_t mac_size;
        size_t size;

        assert_non_null(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, SECRET, strlen(SECRET),
                                  (unsigned char *)text, strlen(text), mac, sizeof(mac),
                                  &mac_size));
        size = (size_t)EVP_EncodeBlock((unsigned char *)b64, mac, (int)mac_size);
        for (size_t i = 0; i < size; i++)
                b64[i] = b64[i] == '+' ? '-' : b64[i] == '/' ? '_' : b64[i] == '=' ? '\0' : b64[i];
        return xasprintf("%s.%s", text, b64);
}

/* Correctly signed, all of them: only the header or the claims are at fault. */
static void test_signed_but_refused(void **state)
{
        static const char good[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
        static const char claims[] = "{\"exp\":1800000000}";
        static const struct {
                const char *header;
                const char *claims;
                const char *why; /* NULL: accepted */
        } cases[] = {
                { good, claims, NULL },
                { "{\"alg\":\"HS256\"}", claims, NULL },
                { "{\"alg\":\"none\"}", claims, "wrong algorithm" },
                { "{\"alg\":\"None\"}", claims, "wrong algorithm" },
                { "{\"alg\":\"hs256\"}", claims, "wrong algorithm" },
                { "{\"alg\":\"HS512\"}", claims, "wrong algorithm" },
                { "{\"alg\":\"RS256\"}", claims, "wrong algorithm" },
                { "{\"alg\":null}", claims, "wrong algorithm" },
                { "{\"alg\":[\"HS256\"]}", claims, "wrong algorithm" },
                { "{\"alg\":\"HS256\\u0000\"}", claims, "malformed header" },
                { "{}", claims, "wrong algorithm" },
                { "[]", claims, "malformed header" },
                { "\"HS256\"", claims, "malformed header" },
                { "{\"alg\":\"HS256\",\"alg\":\"none\"}", claims, "malformed header" },
                { "{\"alg\":\"HS256\"} x", claims, "malformed header" },
                { "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", claims, "unknown critical extension" },
                { "{\"alg\":\"HS256\",\"crit\":null}", claims, "unknown critical extension" },
                { good, "{\"exp\":1,\"exp\":1800000000}", "malformed claims" },
        };
        struct auth *a = hmac_auth();

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CLEANUP(mem_free) char *token = sign_hs256(cases[i].header, cases[i].claims);

                expect(a, token, NOW, cases[i].why ? AUTH_INVALID : AUTH_OK, cases[i].why);
        }
        auth_free(a);
}

static void test_unsigned(void **state)
{
        CLEANUP(mem_free) char *token = make_token("secret", JWT_ALG_NONE, "{\"exp\":1800000000}");
        CLEANUP(mem_free) char *with_signature = xasprintf("%sAAAA", token);
        struct auth *a = hmac_auth();

        (void)state;
        expect(a, token, NOW, AUTH_INVALID, "malformed token"); /* no signature at all */
        expect(a, with_signature, NOW, AUTH_INVALID, "wrong algorithm");
        auth_free(a);
}

static void test_malformed(void **state)
{
        static const char *const tokens[] = {
                ".",
                "..",
                "...",
                "a",
                "a.b",
                "a.b.c",
                "a.b.c.d",
                "e30.e30.",
                "e30..e30",
                ".e30.e30",
                "e30.e30.e30",
                "\xff.\xff.\xff",
                "e30=.e30.e30",
                "{}.{}.{}",
                "null",
        };
        struct auth *a = hmac_auth();
        char *huge = xcalloc(1, LIMIT_TOKEN_BYTES + 2);

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
                expect(a, tokens[i], NOW, AUTH_INVALID, NULL);

        memset(huge, 'a', LIMIT_TOKEN_BYTES + 1);
        expect(a, huge, NOW, AUTH_INVALID, "token too long");
        huge[LIMIT_TOKEN_BYTES] = '\0';
        expect(a, huge, NOW, AUTH_INVALID, "malformed token");
        huge[LIMIT_TOKEN_BYTES - 2] = huge[LIMIT_TOKEN_BYTES - 4] = '.';
        expect(a, huge, NOW, AUTH_INVALID, "malformed header");
        free(huge);
        auth_free(a);
}

/* A signed token of the greatest length there may be. */
static void test_largest_token(void **state)
{
        struct auth *a = hmac_auth();
        char filler[LIMIT_TOKEN_BYTES] = "";
        bool ok_at_limit = false;

        (void)state;
        memset(filler, 'x', 6020);
        for (size_t n = 6020; n < 6200; n++) {
                CLEANUP(mem_free)
                char *claims = xasprintf("{\"exp\":1800000000,\"f\":\"%s\"}", filler);
                CLEANUP(mem_free) char *token = make_token("secret", JWT_ALG_HS256, claims);
                bool fits = strlen(token) <= LIMIT_TOKEN_BYTES;

                expect(a, token, NOW, fits ? AUTH_OK : AUTH_INVALID,
                       fits ? NULL : "token too long");
                ok_at_limit = ok_at_limit || strlen(token) == LIMIT_TOKEN_BYTES;
                filler[n] = 'x';
        }
        assert_true(ok_at_limit);
        auth_free(a);
}

/* Every single bit of every character of the token counts. */
static void flip_bits(const char *key, const char *public_key, jwt_alg_t alg, const char *name)
{
        struct auth_options o = { 0 };
        struct auth *a = auth_with(&o, public_key, name);
        CLEANUP(mem_free) char *token = make_token(key, alg, "{\"exp\":1800000000}");
        size_t size = strlen(token);
        size_t signature = (size_t)(strrchr(token, '.') - token) + 1;

        expect(a, token, NOW, AUTH_OK, NULL);
        for (size_t i = 0; i < size; i++) {
                /* Before the signature a bit of each will do: public key operations are slow. */
                for (int bit = 0; bit < (i < signature ? 1 : 7); bit++) {
                        char original = token[i];

                        token[i] = (char)(original ^ (1 << bit));
                        if (token[i] != ' ' && token[i] != '\t' && token[i] != '\0')
                                expect(a, token, NOW, AUTH_INVALID, NULL);
                        token[i] = original;
                }
        }
        expect(a, token, NOW, AUTH_OK, NULL);
        auth_free(a);
}

static void test_bit_flips(void **state)
{
        (void)state;
        flip_bits("secret", "secret", JWT_ALG_HS256, "HS256");
        flip_bits("rsa.key", "rsa.pub", JWT_ALG_RS256, "RS256");
        flip_bits("p256.key", "p256.pub", JWT_ALG_ES256, "ES256");
}

/* The classic: the public key, which everybody has, used as an HMAC secret. */
static void test_algorithm_confusion(void **state)
{
        CLEANUP(mem_free)
        char *forged = make_token("rsa.pub", JWT_ALG_HS256, "{\"exp\":1800000000}");
        CLEANUP(mem_free)
        char *rs256 = make_token("rsa.key", JWT_ALG_RS256, "{\"exp\":1800000000}");
        CLEANUP(mem_free)
        char *rs512 = make_token("rsa.key", JWT_ALG_RS512, "{\"exp\":1800000000}");
        struct auth_options o = { 0 };
        struct auth *a = auth_with(&o, "rsa.pub", "RS256");

        (void)state;
        expect(a, rs256, NOW, AUTH_OK, NULL);
        expect(a, forged, NOW, AUTH_INVALID, "wrong algorithm");
        expect(a, rs512, NOW, AUTH_INVALID, "wrong algorithm");
        auth_free(a);

        a = hmac_auth();
        expect(a, rs256, NOW, AUTH_INVALID, "wrong algorithm");
        expect(a, forged, NOW, AUTH_INVALID, "bad signature");
        auth_free(a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signed_but_refused),
                cmocka_unit_test(test_unsigned),
                cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_largest_token),
                cmocka_unit_test(test_bit_flips),
                cmocka_unit_test(test_algorithm_confusion),
        };

        return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
