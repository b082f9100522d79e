/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What there is to know about a file without reading it. */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/files/roots.h"

enum file_type { FILE_REGULAR, FILE_DIRECTORY, FILE_LINK, FILE_SPECIAL };

struct file_info {
        enum file_type type;
        uint64_t size; /* bytes */
        mode_t mode;   /* with the type's bits */
        uid_t uid;
        gid_t gid;
        uint64_t n_links;
        uint64_t inode;
        uint64_t device;
        uint64_t used;       /* bytes on the disk */
        int64_t modified_ns; /* nanoseconds since the epoch, as all times here */
        int64_t accessed_ns;
        int64_t changed_ns;
        int64_t created_ns; /* 0: the file system does not know */
};

/* What @path leads to or, without @follow, what it names itself. Special files have information, too. @ret_path is
 * where it really is, and may be NULL; so may @ret_target, which is the text of a link (not followed), or "". */
int file_info(const struct roots *roots, const char *path, bool follow, struct file_info *ret,
              char ret_path[PATH_MAX], char ret_target[PATH_MAX], struct error *err);

/* Is there anything, after links, at @path? 0 with *ret; outside the allowed directories, and where the user may not
 * look, it fails. */
int file_exists(const struct roots *roots, const char *path, bool *ret, bool *ret_is_directory,
                struct error *err);

/* The entry @name of directory @dir; a link is not followed. "" is @dir itself. Returns a negative errno. */
int file_info_at(int dir, const char *name, struct file_info *ret);

/* "drwxr-xr-x", as ls writes it. Returns @dst. */
#define FILE_PERMISSIONS_SIZE 11
const char *file_permissions(mode_t mode, char dst[FILE_PERMISSIONS_SIZE]);
