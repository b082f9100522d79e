/* SPDX-License-Identifier: Apache-2.0 */

/* Any Authorization header against a fixed HMAC key: whatever is accepted was signed with that key, and what the
 * cache remembers is what was found out. The seeds are signed, so that the claims are reached as well. */

#include <stdbool.h>
#include <string.h>

#include <nettle/base64.h>
#include <nettle/hmac.h>

#include "agent/auth.h"
#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "fuzz-fuzz-fuzz-fuzz-fuzz-fuzz-fuzz"
#define NOW    ((int64_t)1700000000)

static struct auth *new_auth(void)
{
        CLEANUP(fd_close) int fd = fd_memfd("secret", SECRET, strlen(SECRET));
        CLEANUP(mem_free) char *path = xasprintf("/proc/self/fd/%d", fd);
        const struct auth_options o = { .secret_file = path, .algorithm = "HS256" };
        struct error err = ERROR_INIT;
        struct auth *a = NULL;

        MUST(auth_new(&o, &a, &err) == 0);
        return a;
}

/* By other means than auth.c's. */
static bool is_signed(const char *header)
{
        const char *token = strpbrk(header, "eE"); /* "Bearer": then blanks, then the token */
        const char *dot = strrchr(header, '.');
        char expected[BASE64_ENCODE_RAW_LENGTH(SHA256_DIGEST_SIZE) + 1] = "";
        uint8_t digest[SHA256_DIGEST_SIZE];
        struct hmac_sha256_ctx hmac;

        MUST(token && dot);
        token += strcspn(token, " \t");
        token += strspn(token, " \t");

        hmac_sha256_set_key(&hmac, strlen(SECRET), (const uint8_t *)SECRET);
        hmac_sha256_update(&hmac, (size_t)(dot - token), (const uint8_t *)token);
        hmac_sha256_digest(&hmac, sizeof(digest), digest);
        base64_encode_raw(expected, sizeof(digest), digest);

        for (char *p = expected; *p; p++)
                *p = *p == '+' ? '-' : *p == '/' ? '_' : *p == '=' ? '\0' : *p;
        return strncmp(dot + 1, expected, strlen(expected)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct auth *a;
        CLEANUP(mem_free) char *header = xstrndup((const char *)data, size);
        struct principal first = { .expires_s = -1 };
        struct principal second = { .expires_s = -1 };
        enum auth_result result;
        const char *why;

        if (!a)
                a = new_auth();

        result = auth_check(a, header, NOW, &first, &why);
        if (result == AUTH_OK)
                MUST(!why && first.expires_s > NOW && is_signed(header));
        else
                MUST(why && first.expires_s == -1);

        MUST(auth_check(a, header, NOW, &second, &why) == result);
        MUST(strcmp(first.subject, second.subject) == 0);
        MUST(first.expires_s == second.expires_s);
        return 0;
}
