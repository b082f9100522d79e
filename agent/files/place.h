/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* From a client's path to a descriptor, under the policy. What is returned has been checked where it really is, and
 * nothing that others do with names afterwards leads a descriptor elsewhere. Everything is opened with O_PATH, which
 * has no effect on what is opened, and does not wait: FIFOs and devices are known before they could do anything.
 *
 * Call these within a scope of the user (roots_enter). */

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "agent/base/fd.h"
#include "agent/files/roots.h"

enum place_mode {
        PLACE_FOLLOW, /* what the path leads to: it exists */
        PLACE_SELF,   /* the same, but a link at the end is meant itself */
        PLACE_ENTRY, /* a name in a directory, which need not exist; a link there is meant itself */
        PLACE_CREATE, /* the name in the directory where links at the end lead to, which need not exist */
};

struct place {
        int fd;  /* O_PATH: the thing itself; -1: there is none */
        int dir; /* ENTRY and CREATE. O_PATH: the directory that name is in; else -1 */
        struct stat st;
        char name[NAME_MAX + 1]; /* ENTRY and CREATE */
        char path[PATH_MAX];     /* where it really is */
};

#define PLACE_INIT                  \
        {                           \
                .fd = -1, .dir = -1 \
        }

/* Once, before the first use of anything here, and before there are more threads: makes what follows cheaper. */
void place_prepare(void);

/* Finds @path. With @parents_mode not 0 missing directories on the way are made (ENTRY and CREATE).
 * A missing directory on the way is FILES_E_NOT_FOUND. On failure nothing stays open. */
int place_find(const struct roots *roots, const char *path, enum place_mode mode,
               mode_t parents_mode, struct place *ret, struct error *err);
void place_done(struct place *p);

/* Opens what @p is once more, with @flags such as O_RDONLY. Returns the descriptor or a negative errno; -ENXIO:
 * neither file nor directory. */
int place_open(const struct place *p, int flags);

/* The same for the descriptor @fd of a regular file or a directory, which may be one with O_PATH. */
int place_reopen(int fd, int flags);

/* Where what @fd is open for is now, however it got there. Returns the length of @dst, or a negative errno. */
int place_where(int fd, char dst[PATH_MAX]);

/* A descriptor of what @path leads to (FOLLOW), if it is allowed and finding it needs nothing but the kernel's memory;
 * else -EAGAIN, whatever is wrong with it. For the loop: it never waits. */
int place_find_cached(const struct roots *roots, const char *path);

/* 0: the user may write to the file that @p is. Else a negative errno. */
int place_check_writable(const struct place *p);

/* 0: the user may make and remove names in the directory @dir. Else a negative errno. */
int place_check_changeable(int dir);

/* 0: the user may remove the name @name from the directory @dir, as far as can be known without trying. Else a negative
 * errno; -EBUSY: something is mounted there. What is in a directory is not looked at. */
int place_check_removable(int dir, const char *name);

/* "/proc/self/fd/N", for calls that take no descriptor of this kind. Returns @dst. */
#define PLACE_FD_PATH_SIZE 32
const char *place_fd_path(int fd, char dst[PLACE_FD_PATH_SIZE]);

/* Publishes @temporary, a name in @p's directory, as @p: an existing file is replaced at once (so is an empty
 * directory by a directory) or, without @overwrite, nothing is and -EEXIST is returned. The journal of temporary names
 * is told. Returns a negative errno. */
int place_publish(const struct place *p, const char *temporary, bool overwrite);

static inline void place_done_cleanup_(struct place *p)
{
        place_done(p);
}
