/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How an operation on files can end, besides well. Every function of this folder that takes a struct error returns 0
 * or one of these (so does err->code), and err->message is a sentence that names the path as the client wrote it. */

#include "agent/base/error.h"

enum files_outcome {
        FILES_E_NOT_FOUND = 1, /* no such file */
        FILES_E_NO_DIRECTORY,  /* no such directory, where one was asked for or is needed */
        FILES_E_NOT_ALLOWED, /* outside the allowed directories, or only reached by a magic link of /proc */
        FILES_E_DENIED, /* the user may not */
        FILES_E_EXISTS,
        FILES_E_IS_DIRECTORY,
        FILES_E_NOT_DIRECTORY,
        FILES_E_NOT_EMPTY,      /* a directory, where an empty one is needed */
        FILES_E_SPECIAL,        /* FIFO, socket or device */
        FILES_E_TOO_LONG,       /* the path, or a name in it */
        FILES_E_INVALID,        /* the path is empty, or names nothing that this can be done to */
        FILES_E_TOO_LARGE,      /* more than the caller's cap */
        FILES_E_NO_SPACE,       /* of the disk, or of a quota */
        FILES_E_READ_ONLY,      /* file system */
        FILES_E_TOO_MANY_FILES, /* open, in the agent or in the system: later it may work */
        FILES_E_LOOP,           /* of symbolic links */
        FILES_E_BUSY, /* something is mounted there, a program runs, or others move a tree */
        FILES_E_CANCELLED,
        FILES_E_OTHER, /* the message has the system's words */
};

/* Fails with @outcome (not OTHER) about @path. Returns @outcome. */
int files_fail(struct error *err, enum files_outcome outcome, const char *path);

/* The same with a sentence of one's own: "@sentence: @path". */
int files_fail_saying(struct error *err, enum files_outcome outcome, const char *sentence,
                      const char *path);

/* The same for a negative errno. Returns the outcome that it means. */
int files_fail_errno(struct error *err, int error, const char *path);

/* The same for what is at @entry below the tree @path, or @path itself when @entry is NULL. */
int files_fail_entry(struct error *err, int error, const char *path, const char *entry);

/* The outcome that a negative errno means. */
enum files_outcome files_outcome(int error);

/* "No such file" becomes "no such directory", for those who want one at @path. Returns @r, or what it became. */
int files_want_directory(int r, struct error *err, const char *path);
