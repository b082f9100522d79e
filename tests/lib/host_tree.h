/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A made root directory with the files of /proc, /sys and /etc that a test wants. */

#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct host_tree {
        char root[64];
};

static inline void host_tree_make_directories(const char *path)
{
        char copy[1024];

        (void)snprintf(copy, sizeof(copy), "%s", path);
        for (char *s = strchr(copy + 1, '/'); s; s = strchr(s + 1, '/')) {
                *s = '\0';
                if (mkdir(copy, 0755) < 0 && errno != EEXIST)
                        abort();
                *s = '/';
        }
}

/* Writes the file @path, such as "/proc/stat", below the root. */
static inline void host_tree_write(const struct host_tree *t, const char *path, const char *text)
{
        char whole[1024];
        FILE *f;

        (void)snprintf(whole, sizeof(whole), "%s%s", t->root, path);
        host_tree_make_directories(whole);
        f = fopen(whole, "we");
        if (!f || fputs(text, f) < 0 || fclose(f) != 0)
                abort();
}

static inline int host_tree_new(struct host_tree *t)
{
        (void)snprintf(t->root, sizeof(t->root), "/tmp/test-host-XXXXXX");
        return mkdtemp(t->root) ? 0 : -1;
}

static inline int host_tree_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *at)
{
        (void)st;
        (void)type;
        (void)at;
        return remove(path);
}

static inline void host_tree_free(struct host_tree *t)
{
        (void)nftw(t->root, host_tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
