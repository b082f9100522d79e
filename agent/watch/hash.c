/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/watch/hash.h"

#include <sys/random.h>
#include <time.h>

/* See the header. First asked by the loop, before there are workers. Without random numbers the time has to do. */
uint64_t hash_secret(void)
{
        static uint64_t secret;

        if (secret == 0) {
                struct timespec now;

                if (getrandom(&secret, sizeof(secret), GRND_NONBLOCK) != sizeof(secret)) {
                        (void)clock_gettime(CLOCK_REALTIME, &now);
                        secret = hash_mix((uint64_t)now.tv_sec, (uint64_t)now.tv_nsec);
                }
                secret |= 1;
        }
        return secret;
}
