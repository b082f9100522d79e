/* SPDX-License-Identifier: Apache-2.0 */

#include "proc/digest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static_assert(DIGEST_SIZE == SHA256_DIGEST_SIZE, "the digest is SHA-256");

/* See the header. */
void digest_init(struct digest *d)
{
        sha256_init(&d->sha);
}

/* See the header. */
void digest_piece(struct digest *d, const void *data, size_t size)
{
        if (size > 0)
                sha256_update(&d->sha, size, data);
}

/* See the header. */
void digest_number(struct digest *d, uint64_t n)
{
        uint8_t bytes[8];

        for (unsigned i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(n >> (8 * i));
        digest_piece(d, bytes, sizeof(bytes));
}

/* See the header. */
void digest_part(struct digest *d, const void *data, size_t size)
{
        digest_number(d, size);
        digest_piece(d, data, size);
}

/* See the header. */
void digest_text(struct digest *d, const char *s)
{
        if (s)
                digest_part(d, s, strlen(s));
        else
                digest_number(d, UINT64_MAX);
}

/* See the header. */
void digest_file(struct digest *d, const char *path)
{
        struct stat st;

        digest_text(d, path);
        if (stat(path, &st) < 0) {
                digest_number(d, 0);
                return;
        }
        digest_number(d, 1);
        digest_number(d, st.st_dev);
        digest_number(d, st.st_ino);
        digest_number(d, (uint64_t)st.st_size);
        digest_number(d, (uint64_t)st.st_mtim.tv_sec);
        digest_number(d, (uint64_t)st.st_mtim.tv_nsec);
}

/* See the header. */
void digest_end(struct digest *d, uint8_t ret[DIGEST_SIZE])
{
        sha256_digest(&d->sha, DIGEST_SIZE, ret);
}

/* See the header. */
void digest_hex(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_HEX_SIZE])
{
        for (unsigned i = 0; i < DIGEST_SIZE; i++)
                (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
