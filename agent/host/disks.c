/* SPDX-License-Identifier: Apache-2.0 */

/* A file system may be mounted in many places; containers show files of the machine's own, such as /etc/hosts, as
 * mounts. So each device counts once, and where it is mounted as a directory. */

#include "agent/host/disks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/str.h"
#include "agent/host/mounts.h"
#include "agent/host/text.h"

/* File systems on a disk have a device as their source, but for these. */
static const char *const other_types[] = { "btrfs", "zfs", "bcachefs", "virtiofs", "9p" };
/* Images of programs: always full. */
static const char *const image_types[] = { "squashfs", "iso9660", "erofs", "cramfs" };

static bool is_one_of(const char *type, const char *const *types, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (str_equal(type, types[i]))
                        return true;
        return false;
}

/* A program answers for what FUSE mounts, or never does, and it may call its source what it likes. */
static bool is_disk(const struct host_mount *m)
{
        if (str_has_prefix(m->type, "fuse.") && !str_equal(m->point, "/"))
                return false;
        if (is_one_of(m->type, image_types, ARRAY_LEN(image_types)))
                return false;
        return str_has_prefix(m->source, "/dev/") || str_equal(m->point, "/") ||
               is_one_of(m->type, other_types, ARRAY_LEN(other_types));
}

/* How much of the mount's name is the beginning of @path; 0: it is not below it. */
static size_t depth(const char *point, const char *path)
{
        size_t size = str_equal(point, "/") ? 0 : strlen(point);

        if (strncmp(point, path, size) != 0 || (path[size] != '/' && path[size] != '\0'))
                return 0;
        return size + 1;
}

/* The real path of @path or of the first directory above it that there is; from malloc. */
static char *resolve(const char *path)
{
        CLEANUP(mem_free) char *copy = xstrdup(path);
        char *real;

        while ((real = realpath(copy, NULL)) == NULL) {
                char *slash = strrchr(copy, '/');

                if (!slash || slash == copy)
                        return xstrdup("/");
                *slash = '\0';
        }
        return real;
}

static bool measure(const char *path, struct host_disk *ret)
{
        struct statvfs fs;

        if (statvfs(path, &fs) < 0 || fs.f_blocks == 0)
                return false;
        ret->total = (uint64_t)fs.f_blocks * fs.f_frsize;
        ret->used = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
        ret->free = (uint64_t)fs.f_bavail * fs.f_frsize;
        return true;
}

static void name(struct host_disk *d, const char *mount, const char *type)
{
        (void)snprintf(d->mount, sizeof(d->mount), "%s", mount);
        (void)snprintf(d->type, sizeof(d->type), "%s", type);
}

/* The devices of what is in the list already. */
struct seen {
        char *devices[HOST_MAX_DISKS];
        size_t n;
};

static bool is_new(const struct seen *seen, const char *device)
{
        for (size_t i = 0; i < seen->n; i++)
                if (str_equal(seen->devices[i], device))
                        return false;
        return true;
}

static void add_first(const char *text, const char *path, struct seen *seen, struct host_disks *ret)
{
        CLEANUP(mem_free) char *copy = xstrdup(text), *real = resolve(path);
        struct host_disk *d = &ret->disks[0];
        struct host_mount m, best = { .point = NULL };
        char *rest = copy;
        size_t deepest = 0;

        /* Of several mounts at one place the last is on top. */
        while (host_mount_next(&rest, &m))
                if (depth(m.point, real) > 0 && depth(m.point, real) >= deepest) {
                        deepest = depth(m.point, real);
                        best = m;
                }
        if (!measure(real, d))
                return;
        name(d, best.point ? best.point : "/", best.point ? best.type : "");
        if (best.point)
                seen->devices[seen->n++] = xstrdup(best.device);
        ret->has_first = true;
        ret->n = 1;
}

static void add_other(const char *root, const struct host_mount *m, struct seen *seen,
                      struct host_disks *ret)
{
        CLEANUP(mem_free) char *path = xasprintf("%s%s", root, m->point);
        struct stat st;

        if (!is_disk(m) || !is_new(seen, m->device) || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return;
        if (!measure(path, &ret->disks[ret->n]))
                return;
        name(&ret->disks[ret->n++], m->point, m->type);
        seen->devices[seen->n++] = xstrdup(m->device);
}

/* See the header. */
void host_disks_read(const char *root, const char *path, struct host_disks *ret)
{
        CLEANUP(buf_done) struct buf text = { 0 };
        struct seen seen = { .n = 0 };
        struct host_mount m;
        char *rest;

        memset(ret, 0, sizeof(*ret));
        (void)host_text_read(root, "/proc/self/mountinfo", &text);
        add_first(text.data ? text.data : "", path, &seen, ret);
        rest = text.data;
        while (ret->n < HOST_MAX_DISKS && host_mount_next(&rest, &m))
                add_other(root, &m, &seen, ret);
        for (size_t i = 0; i < seen.n; i++)
                free(seen.devices[i]);
}
