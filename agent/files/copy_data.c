/* SPDX-License-Identifier: Apache-2.0 */

/* Each way is tried, and left for good when it does not work here. */

#include "agent/files/copy_data.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/macros.h"

#undef BLOCK_SIZE /* of linux/fs.h */
#define BLOCK_SIZE (256 * KIB)
#define SLICE_SIZE (8 * MIB) /* in the kernel, between two looks at the cancel flag */

struct data_copy {
        int from, to;
        const atomic_bool *cancel;
        bool is_by_hand;
        char *block;
        off_t at;
};

static ssize_t write_block(const struct data_copy *c, size_t size)
{
        for (size_t done = 0; done < size;) {
                ssize_t n = pwrite(c->to, c->block + done, size - done, c->at + (off_t)done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                done += (size_t)n;
        }
        return (ssize_t)size;
}

static ssize_t copy_by_hand(struct data_copy *c, size_t size)
{
        ssize_t n;

        if (!c->block)
                c->block = try_alloc(BLOCK_SIZE);
        if (!c->block)
                return -ENOMEM;
        do {
                n = pread(c->from, c->block, MIN(size, (size_t)BLOCK_SIZE), c->at);
        } while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : write_block(c, (size_t)n);
}

/* Copies some bytes, at most @size; 0: the file ends. */
static ssize_t copy_some(struct data_copy *c, size_t size)
{
        off_t in = c->at, out = c->at;
        ssize_t n;

        if (!c->is_by_hand) {
                n = copy_file_range(c->from, &in, c->to, &out, MIN(size, (size_t)SLICE_SIZE), 0);
                if (n > 0)
                        return n;
                if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EFBIG))
                        return -errno;
                c->is_by_hand = true; /* it cannot, or it says that a file of /proc is empty */
        }
        return copy_by_hand(c, size);
}

/* Up to @end, or to the end of the file. */
static int copy_until(struct data_copy *c, off_t end)
{
        while (c->at < end) {
                ssize_t n;

                if (c->cancel && atomic_load_explicit(c->cancel, memory_order_relaxed))
                        return -ECANCELED;
                n = copy_some(c, (size_t)MIN((uint64_t)(end - c->at), (uint64_t)SIZE_MAX / 2));
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        break;
                c->at += n;
        }
        return 0;
}

/* Only what is not a hole. */
static int copy_parts(struct data_copy *c, off_t size)
{
        struct stat st;
        int r;

        for (;;) {
                off_t data = lseek(c->from, c->at, SEEK_DATA);
                off_t hole;

                if (data < 0 && errno == ENXIO) {
                        /* Either the rest is a hole, or the file has become shorter. */
                        if (lseek(c->from, c->at, SEEK_HOLE) != c->at)
                                return 0;
                        break;
                }
                hole = data < 0 ? -1 : lseek(c->from, data, SEEK_HOLE);
                if (hole < 0) /* holes are unknown here */
                        return copy_until(c, INT64_MAX);
                c->at = data;
                r = copy_until(c, hole);
                if (r < 0)
                        return r;
                if (c->at < hole)
                        return 0; /* it became shorter */
        }
        if (fstat(c->from, &st) < 0)
                return -errno;
        c->at = MAX(c->at, MIN(size, st.st_size));
        return ftruncate(c->to, c->at) < 0 ? -errno : 0;
}

/* See the header. */
int copy_data(int from, int to, const atomic_bool *cancel, uint64_t *ret)
{
        struct data_copy c = { .from = from, .to = to, .cancel = cancel };
        struct stat st;
        int r;

        if (fstat(from, &st) < 0)
                return -errno;
        if (st.st_size > 0 && ioctl(to, FICLONE, from) == 0) {
                *ret = (uint64_t)st.st_size;
                return 0;
        }
        r = st.st_size > 0 ? copy_parts(&c, st.st_size) : copy_until(&c, INT64_MAX);
        (void)mem_free(c.block);
        if (r < 0)
                return r;
        *ret = (uint64_t)c.at;
        return 0;
}
