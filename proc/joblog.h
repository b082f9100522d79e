/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The log of one output stream of a background job: a file that is a ring, so that it never grows beyond its
 * capacity. One process writes it (agent-keeper), others may read it at any time, without locks.
 *
 *     0     struct joblog_header, JOBLOG_DATA bytes with what is reserved
 *     4096  the data region, at most `capacity` bytes; the byte at offset N of the stream is at N modulo capacity
 *
 * Offsets count the bytes that were written since the beginning, markers included; what is still there is
 * [max(0, total - capacity), total). The file starts empty and grows as it is filled.
 *
 * A disk that is full does not stop the job: what cannot be written has no offset and is counted as dropped. As soon
 * as there is space again, a line in the stream says how much is missing there.
 *
 * How a reader knows that it was overtaken: before the writer overwrites anything it announces in `reserved` up to
 * which offset it is going to write; so all below reserved - capacity may be gone. Who looks at the mark again after
 * it has read data knows which part of it was safe. `check` tells a mark that was read while it was written.
 *
 * Numbers are in the machine's own byte order: the file does not travel. Nothing here uses the loop. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define JOBLOG_MAGIC   "vmajlog\n"
#define JOBLOG_VERSION 1
#define JOBLOG_DATA    4096 /* where the data region begins */

/* Of the files in a job's directory. */
#define JOBLOG_STDOUT "stdout.log"
#define JOBLOG_STDERR "stderr.log"

struct joblog_mark {
        uint64_t total;    /* bytes ever written */
        uint64_t reserved; /* >= total: what may be written next */
        uint64_t dropped;  /* bytes that there was no space for */
        uint64_t check;    /* joblog_check of the three */
};

struct joblog_header {
        char magic[8];
        uint32_t version;
        uint32_t data; /* JOBLOG_DATA */
        uint64_t capacity;
        struct joblog_mark mark;
};

static inline uint64_t joblog_check(const struct joblog_mark *m)
{
        uint64_t sum = 0x6a6f626c6f670001;

        sum = (sum ^ m->total) * 0x9e3779b97f4a7c15;
        sum = (sum ^ m->reserved ^ (sum >> 29)) * 0x9e3779b97f4a7c15;
        return (sum ^ m->dropped ^ (sum >> 31)) * 0x9e3779b97f4a7c15;
}

/* The writer. Knows no C library beyond memcpy and memset: it is also compiled into agent-keeper. */
struct joblog_writer {
        int fd; /* borrowed */
        uint64_t capacity;
        struct joblog_mark mark;
        uint64_t unsaid; /* bytes dropped that no marker in the stream tells of yet */
};

/* Makes an empty log of the empty file @fd. Returns 0 or a negative errno. */
int joblog_writer_init(struct joblog_writer *w, int fd, uint64_t capacity);
/* Appends. What cannot be written is counted; it never fails. */
void joblog_write(struct joblog_writer *w, const void *data, size_t size);
/* What the writer writes with: pwrite, but returns a negative errno. */
ssize_t joblog_pwrite(int fd, const void *data, size_t size, uint64_t offset);

/* The reader. */
struct joblog {
        int fd;
        uint64_t capacity;
};

struct joblog_totals {
        uint64_t total;   /* bytes ever written: the offset behind the last one */
        uint64_t first;   /* the oldest offset that can still be read */
        uint64_t dropped; /* bytes that there was no space for */
};

/* Opens log @name in the directory @dir_fd. -ENOENT; -EBADMSG: no log, or one of another version. */
int joblog_open(int dir_fd, const char *name, struct joblog *ret);
void joblog_close(struct joblog *l);
/* -EBADMSG: the file is damaged. */
int joblog_totals(const struct joblog *l, struct joblog_totals *ret);
/* Reads up to @size bytes from @offset on. Returns how many; *ret_offset is the offset of the first of them, which
 * is larger than @offset when older ones are gone (the difference was lost). 0: nothing there yet (*ret_offset is
 * then where to go on). -ERANGE: @offset is beyond the end. */
ssize_t joblog_read(const struct joblog *l, uint64_t offset, void *dst, size_t size,
                    uint64_t *ret_offset);
