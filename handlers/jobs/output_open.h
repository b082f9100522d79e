/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The first step of all that answers with output: a worker looks at the logs, which alone know what offsets there are,
 * and what the client has asked for is checked. */

#include <stdbool.h>
#include <stdint.h>

#include "handlers/jobs/follower.h"

struct job;
struct log_reader;
struct request;

struct output_wanted {
        bool is_wanted[N_CHANNELS];
        uint64_t from[N_CHANNELS];
        bool is_events; /* the caller's own business */
};

/* Good until on_open returns. */
struct output_open {
        struct request *req;
        struct job *job;
        struct log_reader *reader; /* has looked; may be stolen */
        struct output_wanted wanted;
        bool was_final; /* the job, before the look */
        bool is_left;   /* the client has gone; on_open is not called then */
        void (*on_open)(struct output_open *o);
};

/* Calls @on_open, which answers @req; or fails @req; or nothing, when the client leaves before. Later. */
void output_open(struct request *req, struct job *job, const struct output_wanted *w,
                 void (*on_open)(struct output_open *o));

/* A log cannot be read: fails @req. @r is the reader's error. */
void output_fail_log(struct request *req, const struct job *job, enum output_channel c, int r);

/* Reads the argument offset; NULL: leaves @ret alone. False: @req was failed. */
bool output_parse_offset(struct request *req, const char *text, enum output_channel lone,
                         uint64_t ret[N_CHANNELS]);

/* Job, reader (stolen), what is wanted, and no end. */
void output_follow_from(struct output_open *o, struct follower_options *ret);
/* There are too many followers: fails @req, and frees the reader of @o. */
void output_refuse_follower(struct request *req, struct follower_options *o);
