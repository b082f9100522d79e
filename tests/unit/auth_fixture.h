/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the tests of auth*.c share: keys that are made for each run, and tokens. */

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jwt.h>

#include "agent/auth.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/str.h"

#define NOW    ((int64_t)1700000000)
#define SECRET "0123456789abcdef0123456789abcdef"

/* Keys are made for each run and live in a directory of their own. */
static char dir[] = "/tmp/test-auth-XXXXXX";

static inline char *in_dir(const char *name)
{
        return xasprintf("%s/%s", dir, name);
}

static inline void write_file(const char *name, const void *data, size_t size)
{
        CLEANUP(mem_free) char *path = in_dir(name);
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static inline void write_pem(const char *name, EVP_PKEY *pkey, bool is_private)
{
        BIO *bio = BIO_new(BIO_s_mem());
        char *data;
        long size;

        assert_non_null(pkey);
        if (is_private)
                assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
        else
                assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
        size = BIO_get_mem_data(bio, &data);
        write_file(name, data, (size_t)size);
        BIO_free(bio);
}

static inline void write_pair(const char *name, EVP_PKEY *pkey)
{
        CLEANUP(mem_free) char *public_name = xasprintf("%s.pub", name);
        CLEANUP(mem_free) char *private_name = xasprintf("%s.key", name);

        write_pem(public_name, pkey, false);
        write_pem(private_name, pkey, true);
        EVP_PKEY_free(pkey);
}

static inline int make_keys(void **state)
{
        (void)state;
        if (!mkdtemp(dir))
                return -1;
        write_file("secret", SECRET "\n", strlen(SECRET) + 1);
        write_pair("rsa", EVP_RSA_gen(2048));
        write_pair("rsa-short", EVP_RSA_gen(1024));
        write_pair("p256", EVP_EC_gen("P-256"));
        write_pair("p384", EVP_EC_gen("P-384"));
        write_pair("p521", EVP_EC_gen("P-521"));
        return 0;
}

static inline int remove_keys(void **state)
{
        CLEANUP(mem_free) char *command = xasprintf("rm -r %s", dir);

        (void)state;
        clock_set_fake(0, -1);
        return system(command);
}

/* @key is "file" or "file.pub" in the directory. */
static inline struct auth *auth_with(struct auth_options *o, const char *key, const char *algorithm)
{
        CLEANUP(mem_free) char *path = in_dir(key);
        struct error err = ERROR_INIT;
        struct auth *a = NULL;

        o->secret_file = path;
        o->algorithm = algorithm;
        if (auth_new(o, &a, &err) < 0)
                fail_msg("%s", err.message);
        o->secret_file = NULL;
        return a;
}

static inline struct auth *hmac_auth(void)
{
        struct auth_options o = { .leeway_ms = 30000 };

        return auth_with(&o, "secret", "HS256");
}

/* A token with exactly these claims, signed with the content of @key. */
static inline char *make_token(const char *key, jwt_alg_t alg, const char *claims)
{
        CLEANUP(mem_free) char *path = in_dir(key);
        unsigned char data[8192];
        FILE *file = fopen(path, "re");
        jwt_t *jwt = NULL;
        size_t size;
        char *token;

        assert_non_null(file);
        size = fread(data, 1, sizeof(data), file);
        fclose(file);
        if (str_equal(key, "secret"))
                size--; /* the newline */

        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_add_grants_json(jwt, claims), 0);
        assert_int_equal(jwt_set_alg(jwt, alg, alg == JWT_ALG_NONE ? NULL : data,
                                     alg == JWT_ALG_NONE ? 0 : (int)size),
                         0);
        token = jwt_encode_str(jwt);
        assert_non_null(token);
        jwt_free(jwt);
        return token;
}

static inline enum auth_result check_at(struct auth *a, const char *token, int64_t now_s,
                                        const char **why)
{
        CLEANUP(mem_free) char *header = xasprintf("Bearer %s", token);
        struct principal p = { .expires_s = -77 };
        enum auth_result result = auth_check(a, header, now_s, &p, why);

        /* Who fails tells nobody anything but why. */
        if (result == AUTH_OK) {
                assert_null(*why);
                assert_int_not_equal(p.expires_s, -77);
        } else {
                assert_non_null(*why);
                assert_int_equal(p.expires_s, -77);
        }
        return result;
}

static inline void expect(struct auth *a, const char *token, int64_t now_s, enum auth_result result,
                          const char *reason)
{
        const char *why;

        assert_int_equal(check_at(a, token, now_s, &why), result);
        if (reason)
                assert_string_equal(why, reason);
}

/* Twice: what a cache remembers must not differ from what was found out. */
static inline void expect_claims(struct auth *a, const char *claims, enum auth_result result,
                                 const char *reason)
{
        CLEANUP(mem_free) char *token = make_token("secret", JWT_ALG_HS256, claims);

        expect(a, token, NOW, result, reason);
        expect(a, token, NOW, result, reason);
}
