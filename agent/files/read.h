/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading a regular file, or a part of it, into memory. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/base/buf.h"
#include "agent/files/info.h"
#include "agent/files/roots.h"

struct file_read_options {
        uint64_t offset;           /* bytes; behind the end is an empty part */
        uint64_t limit;            /* bytes; 0: to the end */
        uint64_t line_start;       /* 1 is the first line; 0: the part is not chosen by lines */
        uint64_t line_end;         /* the last line that is wanted; 0: to the end */
        size_t max;                /* bytes in memory; a larger part is FILES_E_TOO_LARGE */
        const atomic_bool *cancel; /* may be NULL */
};

struct file_part {
        struct buf content;
        struct file_info info; /* of the file, before it was read */
        uint64_t offset;       /* in the file, of the content */
        uint64_t n_lines;      /* by lines: how many there are in the content */
        bool is_at_end;        /* nothing follows the content */
};

/* Of offset with limit, and lines, lines win. A file without a size of its own (in /proc) is read until it ends. */
int file_read(const struct roots *roots, const char *path, const struct file_read_options *o,
              struct file_part *ret, struct error *err);
void file_part_done(struct file_part *p);

static inline void file_part_done_cleanup_(struct file_part *p)
{
        file_part_done(p);
}

/* The same, but opened only: for those who send the file themselves. *ret is a new descriptor of a regular file. */
int file_open(const struct roots *roots, const char *path, int *ret, struct file_info *ret_info,
              struct error *err);
