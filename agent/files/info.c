/* SPDX-License-Identifier: Apache-2.0 */

/* statx() in this agent's words. Nothing is opened for more than its name. */

#include "agent/files/info.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/files/explain.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"

static int64_t nanoseconds(const struct statx_timestamp *t)
{
        return t->tv_sec * 1000000000 + t->tv_nsec;
}

static enum file_type type_of(mode_t mode)
{
        switch (mode & S_IFMT) {
        case S_IFREG:
                return FILE_REGULAR;
        case S_IFDIR:
                return FILE_DIRECTORY;
        case S_IFLNK:
                return FILE_LINK;
        default:
                return FILE_SPECIAL;
        }
}

/* See the header. */
int file_info_at(int dir, const char *name, struct file_info *ret)
{
        struct statx x;

        if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
                  STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
                return -errno;
        *ret = (struct file_info){
                .type = type_of(x.stx_mode),
                .size = x.stx_size,
                .mode = x.stx_mode,
                .uid = x.stx_uid,
                .gid = x.stx_gid,
                .n_links = x.stx_nlink,
                .inode = x.stx_ino,
                .device = makedev(x.stx_dev_major, x.stx_dev_minor),
                .used = x.stx_blocks * 512,
                .modified_ns = nanoseconds(&x.stx_mtime),
                .accessed_ns = nanoseconds(&x.stx_atime),
                .changed_ns = nanoseconds(&x.stx_ctime),
                .created_ns = x.stx_mask & STATX_BTIME ? nanoseconds(&x.stx_btime) : 0,
        };
        return 0;
}

/* See the header. */
int file_info(const struct roots *roots, const char *path, bool follow, struct file_info *ret,
              char ret_path[PATH_MAX], char ret_target[PATH_MAX], struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct file_info info;
        ssize_t n = 0;
        int r;

        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, follow ? PLACE_FOLLOW : PLACE_SELF, 0, &p, err);
        if (r != 0)
                return explain_missing(roots, path, r, err);
        r = file_info_at(p.fd, "", &info);
        if (r < 0)
                return files_fail_errno(err, r, path);
        if (ret_target && info.type == FILE_LINK) {
                n = readlinkat(p.fd, "", ret_target, PATH_MAX - 1);
                if (n < 0)
                        return files_fail_errno(err, -errno, path);
        }

        if (ret_target)
                ret_target[n] = '\0';
        if (ret_path)
                memcpy(ret_path, p.path, PATH_MAX);
        *ret = info;
        return 0;
}

/* See the header. */
int file_exists(const struct roots *roots, const char *path, bool *ret, bool *ret_is_directory,
                struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        int r;

        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r != 0 && r != FILES_E_NOT_FOUND && r != FILES_E_NOT_DIRECTORY)
                return r;

        *ret = r == 0;
        *ret_is_directory = r == 0 && S_ISDIR(p.st.st_mode);
        return 0;
}

/* See the header. */
const char *file_permissions(mode_t mode, char dst[FILE_PERMISSIONS_SIZE])
{
        static const char letters[] = "rwxrwxrwx";
        static const struct {
                mode_t type;
                char letter;
        } types[] = { { S_IFREG, '-' }, { S_IFDIR, 'd' },  { S_IFLNK, 'l' }, { S_IFIFO, 'p' },
                      { S_IFCHR, 'c' }, { S_IFSOCK, 's' }, { S_IFBLK, 'b' } };

        dst[0] = '?';
        for (size_t i = 0; i < ARRAY_LEN(types); i++)
                if ((mode & S_IFMT) == types[i].type)
                        dst[0] = types[i].letter;
        for (unsigned i = 0; i < 9; i++)
                dst[1 + i] = mode & (0400U >> i) ? letters[i] : '-';
        if (mode & S_ISUID)
                dst[3] = mode & S_IXUSR ? 's' : 'S';
        if (mode & S_ISGID)
                dst[6] = mode & S_IXGRP ? 's' : 'S';
        if (mode & S_ISVTX)
                dst[9] = mode & S_IXOTH ? 't' : 'T';
        dst[10] = '\0';
        return dst;
}
