/* SPDX-License-Identifier: Apache-2.0 */

/* Why nothing here waits, call by call:
 *
 * - openat2 with RESOLVE_CACHED fails where a name is not in memory, and where a file system wants to be asked about
 *   one (as 9p, SMB and cluster file systems always do). With O_PATH the file itself is not opened.
 * - readlink in /proc/self/fd looks at names in memory.
 * - statx with AT_STATX_DONT_SYNC takes what is in memory. File systems that ignore the flag have failed above, so it
 *   would be a file of such a one that is itself a mount point.
 * - What follows is done on a few kinds of file systems only, whose opening is a check of permissions in memory. Which
 *   one it is cannot be asked here (statfs waits for a dead file server); a worker does, when it has opened a file
 *   there. It knows for a short time only, because numbers of devices and mounts are used again.
 * - Leases are not waited for, because of O_NONBLOCK. Programs that want to be asked about each file that is opened
 *   (fanotify) are: they hold up the whole system in that way.
 * - preadv2 with RWF_NOWAIT takes what is in the page cache. tmpfs does not know the flag, but has nothing else; what
 *   of it is swapped out is no worse than memory of the agent that is.
 * - Reading may write the time of the last access, which waits for a journal. So only files are read whose time is
 *   not due: by relatime's rules the first reading after a change is a worker's.
 *
 * overlayfs is left out: it does not know RWF_NOWAIT, and what is below it may be anything. */

#include "agent/files/cached.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/macros.h"
#include "agent/files/place.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u /* Linux 6.8; earlier ones use the numbers of mounts again */
#endif
#define XFS_MAGIC 0x58465342

#define N_MOUNTS 16
#define TRUST_MS 2000
#define DAY_S    (24 * 3600)

/* Of the loop's thread. */
static _Thread_local struct {
        struct cached_mount mounts[N_MOUNTS];
        uint64_t until_ms[N_MOUNTS];
        size_t next;
} known;

static int look(int fd, struct statx *ret)
{
        return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
                     STATX_BASIC_STATS | STATX_MNT_ID | STATX_MNT_ID_UNIQUE, ret);
}

static uint64_t device_of(const struct statx *x)
{
        return makedev(x->stx_dev_major, x->stx_dev_minor);
}

static const struct cached_mount *find_mount(const struct statx *x)
{
        for (size_t i = 0; i < N_MOUNTS; i++) {
                const struct cached_mount *m = &known.mounts[i];

                if (m->id == x->stx_mnt_id && m->device == device_of(x))
                        return clock_now_ms() < known.until_ms[i] ? m : NULL;
        }
        return NULL;
}

/* See the header. */
void cached_remember(const struct cached_mount *m)
{
        size_t i = 0;

        if (m->id == 0)
                return;
        while (i < N_MOUNTS && (known.mounts[i].id != m->id || known.mounts[i].device != m->device))
                i++;
        if (i == N_MOUNTS)
                i = known.next++ % N_MOUNTS;
        known.mounts[i] = *m;
        known.until_ms[i] = clock_now_ms() + TRUST_MS;
}

/* See the header. */
void cached_look(int fd, struct cached_mount *ret)
{
        struct statx x;
        struct statfs fs;

        *ret = (struct cached_mount){ .id = 0 };
        if (look(fd, &x) < 0 || fstatfs(fd, &fs) < 0)
                return;
        ret->id = x.stx_mnt_id; /* 0: the kernel does not tell */
        ret->device = device_of(&x);
        ret->keeps_times = fs.f_flags & (ST_NOATIME | ST_RDONLY);
        if (fs.f_type == TMPFS_MAGIC) {
                ret->kind = CACHED_MEMORY;
                ret->keeps_times = true; /* in memory, too */
        } else if ((fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_MAGIC ||
                    fs.f_type == BTRFS_SUPER_MAGIC) &&
                   (ret->keeps_times || (fs.f_flags & ST_RELATIME))) {
                ret->kind = CACHED_PAGES;
        }
}

static bool is_before(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
        return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* Would reading it write when that was? */
static bool is_time_due(const struct statx *x)
{
        return !is_before(&x->stx_mtime, &x->stx_atime) ||
               !is_before(&x->stx_ctime, &x->stx_atime) ||
               clock_realtime_s() - x->stx_atime.tv_sec >= DAY_S;
}

/* Can the file @fd be opened and read here? *ret is how. */
static int check(int fd, size_t max, enum cached_kind *ret)
{
        const struct cached_mount *m;
        struct statx x;

        if (look(fd, &x) < 0 || !S_ISREG(x.stx_mode) || x.stx_size > max)
                return -EAGAIN;
        m = find_mount(&x);
        if (!m)
                return x.stx_mnt_id != 0 ? -ENODEV : -EAGAIN;
        /* Those have keys and digests to be read. */
        if (m->kind == CACHED_NEVER ||
            (x.stx_attributes & (STATX_ATTR_ENCRYPTED | STATX_ATTR_VERITY)) ||
            (!m->keeps_times && is_time_due(&x)))
                return -EAGAIN;
        *ret = m->kind;
        return 0;
}

static int read_all(int fd, enum cached_kind kind, size_t size, struct buf *ret)
{
        CLEANUP(buf_done) struct buf b;
        struct iovec v;

        buf_init(&b, 0);
        if (buf_reserve(&b, size) < 0)
                return -EAGAIN;
        v = (struct iovec){ b.data, size };
        if (preadv2(fd, &v, 1, 0, kind == CACHED_PAGES ? RWF_NOWAIT : 0) != (ssize_t)size)
                return -EAGAIN;
        b.size = size;
        b.data[size] = '\0';
        *ret = b;
        b = (struct buf){ .data = NULL };
        return 0;
}

/* See the header. */
int cached_read(const struct roots *roots, const char *path, size_t max, struct buf *ret,
                struct stat *ret_st)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(fd_close) int found = -1;
        CLEANUP(fd_close) int fd = -1;
        enum cached_kind kind;
        struct stat st;
        int r;

        if (files_scope_enter(&scope, &roots->user) < 0)
                return -EAGAIN;
        found = place_find_cached(roots, path);
        if (found < 0)
                return found;
        r = check(found, max, &kind);
        if (r < 0)
                return r;
        fd = place_reopen(found, O_RDONLY);
        if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size > max)
                return -EAGAIN;
        r = read_all(fd, kind, (size_t)st.st_size, ret);
        if (r == 0)
                *ret_st = st;
        return r;
}
