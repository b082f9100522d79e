/* SPDX-License-Identifier: Apache-2.0 */

/* The part is collected through one block, so lines far behind in a large file cost time, but no memory. */

#include "agent/files/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

#define MAX_BLOCK     (256 * KIB)
#define UNKNOWN_BLOCK (64 * KIB) /* for files that do not know their size */

static bool is_cancelled(const struct file_read_options *o)
{
        return o->cancel && atomic_load_explicit(o->cancel, memory_order_relaxed);
}

static ssize_t read_block(int fd, char *block, size_t size, uint64_t offset)
{
        ssize_t n;

        if (offset > INT64_MAX - size)
                return 0;
        do {
                n = pread(fd, block, size, (off_t)offset);
        } while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

static int read_bytes(int fd, const struct file_read_options *o, char *block, size_t block_size,
                      struct file_part *p)
{
        uint64_t left = o->limit > 0 ? o->limit : UINT64_MAX;
        ssize_t n;
        int r;

        p->offset = o->offset;
        /* What is known to be too large is not read first. */
        if (p->info.size > o->offset && MIN(p->info.size - o->offset, left) > o->max)
                return -EFBIG;
        if (p->info.size > o->offset) {
                r = buf_reserve(&p->content, (size_t)MIN(p->info.size - o->offset, left));
                if (r < 0)
                        return r;
        }

        for (uint64_t at = o->offset; left > 0; at += (uint64_t)n, left -= (uint64_t)n) {
                if (is_cancelled(o))
                        return -ECANCELED;
                n = read_block(fd, block, (size_t)MIN(left, (uint64_t)block_size), at);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        break;
                r = buf_append(&p->content, block, (size_t)n);
                if (r < 0)
                        return r;
        }
        n = read_block(fd, block, 1, o->offset + p->content.size);
        p->is_at_end = n <= 0;
        return 0;
}

/* Where in a file of lines the reading is. */
struct lines {
        uint64_t line; /* number of the line that the next byte belongs to */
        uint64_t at;   /* offset of the block */
        bool has_begun;
        bool is_done;
};

/* Takes from the block what belongs to the wanted lines. */
static int take_lines(struct lines *l, const struct file_read_options *o, const char *block,
                      size_t size, struct file_part *p)
{
        size_t begin = 0, end = 0;
        int r;

        while (end < size && !l->is_done) {
                const char *newline = memchr(block + end, '\n', size - end);

                if (l->line < o->line_start) {
                        end = newline ? (size_t)(newline - block) + 1 : size;
                        begin = end;
                } else {
                        if (!l->has_begun) {
                                l->has_begun = true;
                                p->offset = l->at + end;
                        }
                        end = newline ? (size_t)(newline - block) + 1 : size;
                }
                if (newline) {
                        if (l->line >= o->line_start)
                                p->n_lines++;
                        l->is_done = o->line_end > 0 && l->line >= o->line_end;
                        l->line++;
                }
        }
        r = buf_append(&p->content, block + begin, end - begin);
        l->at += end;
        return r;
}

static int read_lines(int fd, const struct file_read_options *o, char *block, size_t block_size,
                      struct file_part *p)
{
        struct lines l = { .line = 1 };
        ssize_t n;
        int r;

        if (o->line_end > 0 && o->line_end < o->line_start)
                return 0;
        while (!l.is_done) {
                if (is_cancelled(o))
                        return -ECANCELED;
                n = read_block(fd, block, block_size, l.at);
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        break;
                r = take_lines(&l, o, block, (size_t)n, p);
                if (r < 0)
                        return r;
        }
        if (!l.has_begun)
                p->offset = l.at;
        if (p->content.size > 0 && p->content.data[p->content.size - 1] != '\n')
                p->n_lines++; /* the last line has no end */
        p->is_at_end = read_block(fd, block, 1, l.at) <= 0;
        return 0;
}

/* See the header. */
int file_open(const struct roots *roots, const char *path, int *ret, struct file_info *ret_info,
              struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        CLEANUP(fd_close) int fd = -1;
        int r;

        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r != 0)
                return r;
        if (S_ISDIR(p.st.st_mode))
                return files_fail(err, FILES_E_IS_DIRECTORY, path);
        fd = place_open(&p, O_RDONLY);
        if (fd < 0)
                return files_fail_errno(err, fd, path);
        r = file_info_at(fd, "", ret_info);
        if (r < 0)
                return files_fail_errno(err, r, path);
        *ret = STEAL_FD(fd);
        return 0;
}

/* See the header. */
int file_read(const struct roots *roots, const char *path, const struct file_read_options *o,
              struct file_part *ret, struct error *err)
{
        CLEANUP(file_part_done) struct file_part p = { .offset = 0 };
        CLEANUP(mem_free) char *block = NULL;
        CLEANUP(fd_close) int fd = -1;
        size_t size;
        int r;

        buf_init(&p.content, MAX(o->max, (size_t)1));
        r = file_open(roots, path, &fd, &p.info, err);
        if (r != 0)
                return r;
        size = p.info.size > 0 ? (size_t)MIN(p.info.size + 1, (uint64_t)MAX_BLOCK) : UNKNOWN_BLOCK;
        block = try_alloc(size);
        if (!block)
                return files_fail_errno(err, -ENOMEM, path);
        if (o->line_start > 0)
                r = read_lines(fd, o, block, size, &p);
        else
                r = read_bytes(fd, o, block, size, &p);
        if (r == 0 && p.content.size > o->max)
                r = -EFBIG;
        if (r < 0)
                return files_fail_errno(err, r, path);

        *ret = p;
        p.content = (struct buf){ .data = NULL };
        return 0;
}

/* See the header. */
void file_part_done(struct file_part *p)
{
        buf_done(&p->content);
}
