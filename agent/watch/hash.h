/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A hash of names below a number. Whoever is watched chooses the names, so there is a secret in it: nobody can make
 * long chains on purpose. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The secret, the same for the life of the process. */
uint64_t hash_secret(void);

static inline uint64_t hash_mix(uint64_t h, uint64_t value)
{
        h = (h ^ value) * UINT64_C(0x9e3779b97f4a7c15);
        return h ^ (h >> 29);
}

static inline uint64_t hash_name(uint64_t secret, uint64_t number, const char *name, size_t size)
{
        uint64_t h = hash_mix(secret, number ^ ((uint64_t)size << 48));
        uint64_t word;

        for (; size >= sizeof(word); name += sizeof(word), size -= sizeof(word)) {
                memcpy(&word, name, sizeof(word));
                h = hash_mix(h, word);
        }
        word = 0;
        memcpy(&word, name, size);
        return hash_mix(hash_mix(h, word), secret);
}
