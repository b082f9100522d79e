/* SPDX-License-Identifier: Apache-2.0 */

/* The file is read in pieces, as it came: what is in it was not looked at before. */

#include "handlers/jobs/rich_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "handlers/jobs/log_reader.h"
#include "proc/keeper_protocol.h"
#include "proc/rich.h"

#define PIECE_SIZE (64 * KIB)

struct rich_log {
        struct output_budget budget; /* its own: the executions' is the loop's */
        struct rich *content;
};

static int read_content(struct rich *r, int fd)
{
        CLEANUP(mem_free) char *piece = try_alloc(PIECE_SIZE);
        ssize_t n;

        if (!piece)
                return -ENOMEM;
        do {
                n = read(fd, piece, PIECE_SIZE);
                if (n > 0)
                        rich_append(r, piece, (size_t)n);
        } while (n > 0 || (n < 0 && errno == EINTR));
        return 0;
}

static int open_file(const char *dir)
{
        CLEANUP(fd_close) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = dir_fd < 0 ? -1
                            : openat(dir_fd, KEEPER_RICH,
                                     O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

        return fd < 0 ? -errno : fd;
}

/* See the header. */
int rich_log_read(const char *dir, const struct rich_limits *limits, struct rich_log **ret)
{
        CLEANUP(fd_close) int fd = open_file(dir);
        struct rich_log *l;
        int r = 0;

        if (log_error_may_pass(fd))
                return fd;
        l = xnew(struct rich_log);
        l->budget.max = UINT64_MAX;
        l->content = rich_new((size_t)limits->max_size, limits->max_count, &l->budget);
        if (fd >= 0)
                r = read_content(l->content, fd);
        if (r < 0) {
                rich_log_free(l);
                return r;
        }
        rich_end(l->content);
        *ret = l;
        return 0;
}

/* See the header. */
struct rich_log *rich_log_free(struct rich_log *l)
{
        if (!l)
                return NULL;

        rich_free(l->content);
        free(l);
        return NULL;
}

/* See the header. */
const struct rich *rich_log_content(const struct rich_log *l)
{
        return l->content;
}
