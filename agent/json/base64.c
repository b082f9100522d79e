/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/json/base64.h"

#include <errno.h>
#include <stdint.h>

#include <nettle/base64.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"

/* See the header. */
int base64_to_bytes(const char *text, size_t size, char **ret, size_t *ret_size)
{
        CLEANUP(mem_free) char *bytes = try_alloc(BASE64_DECODE_LENGTH(size) + 1);
        size_t n = BASE64_DECODE_LENGTH(size);
        struct base64_decode_ctx ctx;

        if (!bytes)
                return -ENOMEM;
        base64_decode_init(&ctx);
        if (!base64_decode_update(&ctx, &n, (uint8_t *)bytes, size, text) ||
            !base64_decode_final(&ctx))
                return -EINVAL;
        bytes[n] = '\0';
        *ret = STEAL(bytes);
        *ret_size = n;
        return 0;
}
