/* SPDX-License-Identifier: Apache-2.0 */

/* A wrong key must be noticed when the agent starts, not when the first client is turned away; and the wrong
 * kind of key must never be used at all. The worst mistake is a public key as an HMAC secret: everybody knows
 * it, so everybody could sign. So HS* refuses whatever looks like PEM, RS* and ES* refuse whatever is not the
 * right PEM, and libcrypto, not a guess, says what a PEM contains. */

#include "agent/auth_key.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/macros.h"
#include "agent/base/str.h"

#define OPTION       "jwt-secret-file"
#define MIN_RSA_BITS 2048 /* RFC 7518, 3.3 */

enum key_kind { KEY_HMAC, KEY_RSA, KEY_EC };

struct algorithm {
        const char *name;
        enum key_kind kind;
        const char *curve; /* KEY_EC: each algorithm has its own (RFC 7518, 3.4) */
};

static const struct algorithm algorithms[] = {
        { "HS256", KEY_HMAC, NULL },       { "HS384", KEY_HMAC, NULL },
        { "HS512", KEY_HMAC, NULL },       { "RS256", KEY_RSA, NULL },
        { "RS384", KEY_RSA, NULL },        { "RS512", KEY_RSA, NULL },
        { "ES256", KEY_EC, "prime256v1" }, { "ES384", KEY_EC, "secp384r1" },
        { "ES512", KEY_EC, "secp521r1" },
};

static const struct algorithm *find_algorithm(const char *name)
{
        for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
                if (str_equal(algorithms[i].name, name))
                        return &algorithms[i];
        return NULL;
}

static bool looks_like_pem(const char *data, size_t size)
{
        static const char marker[] = "-----BEGIN ";

        return memmem(data, size, marker, strlen(marker)) != NULL;
}

/* Editors and `echo` leave one line end behind; more than that is part of the secret. */
static size_t size_without_newline(const char *data, size_t size)
{
        if (size > 0 && data[size - 1] == '\n')
                size--;
        if (size > 0 && data[size - 1] == '\r')
                size--;
        return size;
}

static int check_hmac(const char *file, const char *data, size_t *size, struct error *err)
{
        if (looks_like_pem(data, *size))
                return error_set_field(err, -EINVAL, "",
                                       OPTION " %s: a PEM file cannot be an HMAC secret "
                                              "(is jwt-algorithm right?)",
                                       file);

        *size = size_without_newline(data, *size);
        if (*size < MIN_SECRET_BYTES)
                return error_set_field(err, -EINVAL, "",
                                       OPTION
                                       " %s: the secret must have at least %d bytes, got %zu",
                                       file, MIN_SECRET_BYTES, *size);
        return 0;
}

/* An encrypted key is refused: a daemon has nobody to ask, and libcrypto would ask the terminal. */
static int on_passphrase(char *buf, int size, int rwflag, void *arg)
{
        (void)buf;
        (void)size;
        (void)rwflag;
        (void)arg;
        return -1;
}

static bool key_fits(const struct algorithm *a, const EVP_PKEY *pkey)
{
        char curve[32] = "";

        if (a->kind == KEY_RSA)
                return EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA &&
                       EVP_PKEY_get_bits(pkey) >= MIN_RSA_BITS;

        return EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC &&
               EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL) == 1 &&
               str_equal(curve, a->curve);
}

static int check_pem(const char *file, const struct algorithm *a, enum auth_key_use use,
                     const char *data, size_t size, struct error *err)
{
        BIO *bio = BIO_new_mem_buf(data, (int)size);
        EVP_PKEY *pkey = NULL;
        bool fits;

        if (bio && use == AUTH_KEY_VERIFY)
                pkey = PEM_read_bio_PUBKEY(bio, NULL, on_passphrase, NULL);
        else if (bio)
                pkey = PEM_read_bio_PrivateKey(bio, NULL, on_passphrase, NULL);
        fits = pkey && key_fits(a, pkey);
        BIO_free(bio);
        ERR_clear_error(); /* what failed here must not be taken for somebody else's failure */

        if (!pkey)
                return error_set_field(err, -EINVAL, "", OPTION " %s: is not %s", file,
                                       use == AUTH_KEY_VERIFY ? "a PEM public key"
                                                              : "an unencrypted PEM private key");
        EVP_PKEY_free(pkey);
        if (!fits && a->kind == KEY_RSA)
                return error_set_field(err, -EINVAL, "",
                                       OPTION " %s: %s needs an RSA key of at least %d bits", file,
                                       a->name, MIN_RSA_BITS);
        if (!fits)
                return error_set_field(err, -EINVAL, "",
                                       OPTION " %s: %s needs an EC key on the curve %s", file,
                                       a->name, a->curve);
        return 0;
}

static void wipe(struct buf *b)
{
        if (b->data)
                explicit_bzero(b->data, b->capacity);
        buf_done(b);
}

/* The file is read into memory reserved beforehand, so that growing leaves no copies behind. */
int auth_key_load(const char *file, const char *algorithm, enum auth_key_use use,
                  struct auth_key *ret, struct error *err)
{
        const struct algorithm *a = find_algorithm(algorithm);
        struct buf text;
        int r;

        if (!a)
                return error_set_field(err, -EINVAL, "", "jwt-algorithm: unknown algorithm '%.16s'",
                                       algorithm ? algorithm : "");
        if (!file)
                return error_set_field(err, -EINVAL, "", OPTION ": required");

        buf_init(&text, 0);
        r = buf_reserve(&text, LIMIT_SECRET_BYTES + 1);
        if (r < 0)
                return error_set(err, r, OPTION);

        r = fd_read_file(file, LIMIT_SECRET_BYTES, &text, err);
        if (r < 0)
                (void)error_wrap(err, OPTION);
        else if (a->kind == KEY_HMAC)
                r = check_hmac(file, text.data, &text.size, err);
        else
                r = check_pem(file, a, use, text.data, text.size, err);
        if (r < 0) {
                wipe(&text);
                return r;
        }

        ret->algorithm = a->name;
        ret->data = memcpy(xcalloc(1, text.size), text.data, text.size);
        ret->size = text.size;
        wipe(&text);
        return 0;
}

/* Harmless on a zeroed one. */
void auth_key_done(struct auth_key *k)
{
        if (k->data)
                explicit_bzero(k->data, k->size);
        free(k->data);
        *k = (struct auth_key){ 0 };
}
