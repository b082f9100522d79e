/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The lines of /proc/self/mountinfo. */

#include <stdbool.h>

struct host_mount {
        const char *device;  /* "254:0" */
        const char *root;    /* what of the file system is mounted: "/", or a directory of it */
        const char *point;   /* where; without the octal escapes */
        const char *type;    /* "ext4" */
        const char *source;  /* "/dev/vda" */
        const char *options; /* of the file system: "rw,cpu,cpuacct" */
};

/* Takes the next mount off *@text, and writes into it: what @ret points to is a part of it. Lines that are not
 * understood are skipped. False: there are no more. */
bool host_mount_next(char **text, struct host_mount *ret);
/* Is @word one of the words of @list, which are divided by commas? */
bool host_mount_has(const char *list, const char *word);
