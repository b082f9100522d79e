/* SPDX-License-Identifier: Apache-2.0 */

/* Identifiers. A sandbox may be snapshotted and started many times from the same memory image: a
 * counter, the clock or a seeded generator would repeat itself then, the kernel's generator does
 * not. */

#include "agent/base/id.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RANDOM_BYTES 12

/* Writes @prefix and 96 random bits in hexadecimal. Aborts when the kernel has no random numbers
 * for us. */
char *id_new(char dst[ID_SIZE], const char *prefix)
{
        static const char digits[] = "0123456789abcdef";
        unsigned char random[RANDOM_BYTES];
        size_t length = strlen(prefix);
        ssize_t n;
        char *p;

        assert(length <= 8);

        /* Requests of up to 256 bytes are never cut short, but may be interrupted before the first
         * seed. */
        do {
                n = getrandom(random, sizeof(random), 0);
        } while (n < 0 && errno == EINTR);
        if (n != (ssize_t)sizeof(random))
                abort();

        memcpy(dst, prefix, length);
        p = dst + length;
        for (size_t i = 0; i < sizeof(random); i++) {
                *p++ = digits[random[i] >> 4];
                *p++ = digits[random[i] & 15];
        }
        *p = '\0';
        return dst;
}
