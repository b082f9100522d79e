/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/webhook/signature.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <nettle/hmac.h>

/* See the header. */
char *signature_make(char dst[SIGNATURE_SIZE], enum webhook_signature form, const char *secret,
                     int64_t timestamp_s, const void *body, size_t size)
{
        static const char digits[] = "0123456789abcdef";
        struct hmac_sha256_ctx ctx;
        uint8_t digest[SHA256_DIGEST_SIZE];
        char timestamp[24];
        char *p;
        int n;

        hmac_sha256_set_key(&ctx, strlen(secret), (const uint8_t *)secret);
        if (form == WEBHOOK_SIGN_TIMESTAMP_BODY) {
                n = snprintf(timestamp, sizeof(timestamp), "%" PRId64, timestamp_s);
                hmac_sha256_update(&ctx, (size_t)n, (const uint8_t *)timestamp);
        }
        hmac_sha256_update(&ctx, size, body);
        hmac_sha256_digest(&ctx, sizeof(digest), digest);
        explicit_bzero(&ctx, sizeof(ctx)); /* made from the secret */

        p = dst + snprintf(dst, SIGNATURE_SIZE, "sha256=");
        for (size_t i = 0; i < sizeof(digest); i++) {
                *p++ = digits[digest[i] >> 4];
                *p++ = digits[digest[i] & 15];
        }
        *p = '\0';
        return dst;
}
