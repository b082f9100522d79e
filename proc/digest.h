/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What things are, in 32 bytes: SHA-256 over parts, each with its length before it, so that no two lists of parts are
 * the same to it. Nothing here belongs to a thread. */

#include <stddef.h>
#include <stdint.h>

#include <nettle/sha2.h>

#define DIGEST_SIZE     32
#define DIGEST_HEX_SIZE (2 * DIGEST_SIZE + 1)

struct digest {
        struct sha256_ctx sha;
};

void digest_init(struct digest *d);
/* One part. */
void digest_part(struct digest *d, const void *data, size_t size);
/* A string; NULL is another one than "". */
void digest_text(struct digest *d, const char *s);
void digest_number(struct digest *d, uint64_t n);
/* A piece of a part whose length is not known before; digest_number tells it afterwards. */
void digest_piece(struct digest *d, const void *data, size_t size);
/* Which file is at @path, as far as that can be known without reading it: its identity, size and time of change. That
 * there is none is an answer, too. */
void digest_file(struct digest *d, const char *path);
void digest_end(struct digest *d, uint8_t ret[DIGEST_SIZE]);

/* Its digits in hexadecimal. */
void digest_hex(const uint8_t digest[DIGEST_SIZE], char ret[DIGEST_HEX_SIZE]);
