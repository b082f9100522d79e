/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A small disk for one process: a tmpfs in a mount namespace of its own, as root or by way of a user namespace. */

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static inline bool keeper_write_map_(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

        if (fd >= 0)
                close(fd);
        return ok;
}

static inline bool keeper_become_root_(void)
{
        char users[32], groups[32];

        snprintf(users, sizeof(users), "0 %u 1", (unsigned)geteuid());
        snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getegid());
        return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
               keeper_write_map_("/proc/self/setgroups", "deny") &&
               keeper_write_map_("/proc/self/uid_map", users) &&
               keeper_write_map_("/proc/self/gid_map", groups);
}

/* Mounts @size ("128k") at @path, for the calling process, which has to be a child. False: not allowed here. */
static inline bool keeper_mount_disk(const char *path, const char *size)
{
        char options[32];

        if (unshare(CLONE_NEWNS) < 0 && !keeper_become_root_())
                return false;
        snprintf(options, sizeof(options), "size=%s", size);
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("tmpfs", path, "tmpfs", 0, options) == 0;
}
