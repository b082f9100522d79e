/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Follows the output of one job for a consumer that asks for it piece by piece, from any offset on: what is in the logs
 * already, and what is still to come. Reading is done by worker threads, one read at a time, and nothing is read that
 * was not asked for. stdout and stderr have no common order; they take turns. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/macros.h"
#include "handlers/jobs/offsets.h"

struct follower;
struct job;
struct log_reader;

#define FOLLOWER_PIECE (64 * KIB)
#define FOLLOWER_EVER  UINT64_MAX

struct follower_piece {
        enum output_channel channel;
        uint64_t offset;  /* of its first byte */
        uint64_t lost;    /* bytes before it that are no longer there; said once */
        const char *data; /* good until the next call of a function below, but for follower_take */
        size_t size;      /* > 0 */
        bool is_last; /* nothing will ever follow in its stream: a character that is cut off here stays so */
};

/* Called on the loop, never from inside a function below. */
struct follower_ops {
        /* What was asked for. It must be taken, by follower_take, before the next is asked for. */
        void (*on_piece)(void *arg, const struct follower_piece *piece);
        /* There is no more: see follower_want. Or (@r < 0) it cannot be read: -ENOENT: its files are gone; -EBADMSG:
         * the log is damaged; or another error of the system. */
        void (*on_end)(void *arg, int r);
};

struct follower_options {
        struct job *job;           /* it is referenced */
        struct log_reader *reader; /* takes it; it has looked */
        bool is_wanted[N_CHANNELS];
        uint64_t from[N_CHANNELS];
        uint64_t until[N_CHANNELS]; /* FOLLOWER_EVER: the end of the job */
        bool is_text; /* where bytes are lost, the rest of a character that is cut off is lost, too */
};

/* NULL: there are LIMIT_JOB_FOLLOWERS; nothing was taken. */
struct follower *follower_new(const struct follower_options *o, const struct follower_ops *ops,
                              void *arg);
/* At any time. Returns NULL. */
struct follower *follower_free(struct follower *f);

/* Asks for the next piece, as soon as there is one. False: there will be none (everything up to the end was delivered,
 * or the job was dropped), and nobody is called. */
bool follower_want(struct follower *f);
/* The first @size bytes of the piece have been used. A rest of 1 to 3 bytes, the beginning of a character, comes again
 * when more follows; but who leaves a rest of the last piece of a stream gets it again at once. */
void follower_take(struct follower *f, size_t size);

/* The offsets behind what was taken. */
const uint64_t *follower_offsets(const struct follower *f);
/* The job has ended, and what was wanted of its output was taken up to the end. */
bool follower_is_complete(const struct follower *f);
