/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The logs of one job, read by worker threads: one thing at a time. Logs are opened as soon as they are there and stay
 * open, so what was opened once can be read also after the job was evicted. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "handlers/jobs/offsets.h"
#include "proc/joblog.h"

struct log_reader;
struct loop;

/* What came of it. */
struct log_read {
        int r; /* 0; -ENOENT: there is no log (yet); -ERANGE: the offset is beyond the end; -EBADMSG, -EIO … */
        uint64_t offset; /* of the first byte; larger than asked for when older ones are gone */
        char *data;      /* to be freed by the receiver; NULL when size is 0 */
        size_t size;
};

/* The machine lacks something just now; any other error is the log's own. */
static inline bool log_error_may_pass(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/* @dir: the job's; copied. */
struct log_reader *log_reader_new(struct loop *l, const char *dir);
/* At any time; nothing is called after it. Returns NULL. */
struct log_reader *log_reader_free(struct log_reader *r);

/* Opens what is there, and looks how much it is; @done(@arg) later. */
void log_reader_look(struct log_reader *r, void (*done)(void *arg), void *arg);
/* Reads up to @size bytes; @done(@arg, result) later. Totals are looked at before. */
void log_reader_read(struct log_reader *r, enum output_channel channel, uint64_t offset,
                     size_t size, void (*done)(void *arg, const struct log_read *read), void *arg);

/* As of the last call of done; zero without a log. */
const struct joblog_totals *log_reader_totals(const struct log_reader *r,
                                              enum output_channel channel);
/* 0; -ENOENT: there is no log (yet), or its directory is gone; -EBADMSG: no log (yet), or it is damaged; or another
 * error of opening it. */
int log_reader_error(const struct log_reader *r, enum output_channel channel);
