/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Watches directory trees, and never loses a change.
 *
 * What is told. A watch remembers the tree below its root: every path, and whether it is a directory. Events are the
 * changes of that memory, in order, each exactly once:
 *
 *     created    @path was not there; its parent was. A directory that comes with content is followed by its content.
 *     deleted    @path was there. What was below it has been told as deleted before it.
 *     renamed    @old_path was there, with all that is below it, and is now @path. If a file was at @path, it has been
 *                replaced; @path was no directory (one that was replaced has been told as deleted before).
 *     modified   @path was there. Its content, size, time, mode or owner changed, or another file of the same name
 *                took its place; of directories only mode and owner count.
 *
 * So a client that knows the tree as it was at on_ready (or knows nothing, with reports_existing) and replays every
 * event has exactly the remembered tree after each of them. And the memory catches up with the disk: when nothing has
 * changed for about three times coalesce_ms, and everything has been handed over, it is equal to the disk. Each look at
 * the disk comes after the kernel's report of the change that made it necessary, so no order of changes is lost.
 *
 * What is not told: the way there. Within coalesce_ms a file may be created and deleted without an event, a thousand
 * writes are one "modified", created and written is "created", renames are told one by one. A rename becomes deleted
 * and created when one of its ends is outside of the tree or in a directory so new that it was not watched yet (for a
 * directory even then it usually is "renamed"). "modified" may be told once too often, after an overflow or a scan.
 *
 * Limits of the kernel's reports: changes by another host of a network file system, changes through a hard link or a
 * mount that is outside of the tree, and what is mounted over a directory are not reported. A file written through
 * mmap is reported when it is closed. Of a file with several names only the one that was used is told as modified.
 * Symbolic links are entries, and never followed. Mounted file systems below the root belong to the tree. A directory
 * that appears twice (a bind mount into the same tree) is watched in one place.
 *
 * When the root goes, all that was below it is told as deleted, and then the end. The kernel does not report all of its
 * ways to go (a move of what is above it, its deletion while some process is in it): these are noticed within
 * WATCH_CHECK_MS.
 *
 * A directory that may not be read is an entry without content; when its mode changes, or something else happens to
 * it, it is tried again. So is a root that may not be read for a while. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/base/error.h"

struct loop;
struct watch;
struct watches;

#define WATCH_COALESCE_MS 50
/* How often it is made sure that the root is still at its path. */
#define WATCH_CHECK_MS 1000

enum watch_type { WATCH_CREATED, WATCH_MODIFIED, WATCH_DELETED, WATCH_RENAMED };

struct watch_event {
        enum watch_type type;
        bool is_directory;
        const char *path;     /* absolute; any bytes but '/' and NUL in its names */
        const char *old_path; /* of WATCH_RENAMED, else NULL */
};

enum watch_interest {
        WATCH_IGNORE, /* as if it did not exist */
        WATCH_ENTRY,  /* a directory without what is below it */
        WATCH_TREE, /* and all that is below it; for what is no directory the same as WATCH_ENTRY */
};

enum watch_end {
        WATCH_GONE,   /* the root was deleted, moved away or unmounted */
        WATCH_FAILED, /* a limit, or the root cannot be watched */
};

struct watch_options {
        bool is_recursive;
        bool reports_existing; /* what is there at the start is told as "created", before on_ready */
        unsigned coalesce_ms;  /* 0: WATCH_COALESCE_MS */
        size_t max_entries;    /* 0: LIMIT_WATCH_ENTRIES */
        size_t max_entries_all; /* of all watches; 0: LIMIT_WATCH_ENTRIES_ALL */

        /* What to do with @path, which is relative to the root; NULL: WATCH_TREE. It is called on a worker thread, so
         * it may use only what @interest_arg points to, which nobody may change, until @free_interest (may be NULL)
         * is called with it, on the loop, some time after watch_free. The answer for a path may not change. */
        enum watch_interest (*interest)(const char *path, bool is_directory, void *interest_arg);
        void (*free_interest)(void *interest_arg);
        void *interest_arg;
        /* The answer depends on more than the last name of the path. Then a directory that was renamed has to be
         * scanned again. */
        bool interest_by_path;

        /* Which directory the root is: another one at its path is none of ours, and the watch ends with WATCH_GONE.
         * Inode 0: whatever is there at the start. */
        dev_t root_device;
        ino_t root_inode;

        /* Around all work on a worker thread, with interest_arg; for acting as somebody else. May be NULL. When
         * begin_work returns an error nothing is done, and the watch ends with it. */
        int (*begin_work)(void *interest_arg);
        void (*end_work)(void *interest_arg);

        /* All are called on the loop, never from watch_new, and may call watch_free. on_events is required. */
        void (*on_ready)(struct watch *w, void *arg); /* changes from now on are told */
        /* @n > 0 events; the strings are gone afterwards. Called once a turn with at most 256. */
        void (*on_events)(struct watch *w, const struct watch_event *events, size_t n, void *arg);
        /* More changed than could be remembered; what is on the disk will be compared with what has been told. The
         * log stays replayable: the events that follow are the differences. */
        void (*on_overflow)(struct watch *w, void *arg);
        /* The last call: nothing is watched any more, only watch_free is left to do. @err->code is -ENOENT for
         * WATCH_GONE; for WATCH_FAILED -ENOSPC (the kernel's limit of watches; the message names its sysctl), -E2BIG
         * (max_entries, or LIMIT_WATCH_ENTRIES_ALL), -ENOENT, -ENOTDIR, -EACCES, … (the root). */
        void (*on_end)(struct watch *w, enum watch_end end, const struct error *err, void *arg);
        void *arg;
};

/* Shares one inotify instance, which exists while there are watches. */
struct watches *watches_new(struct loop *l);
/* All its watches must have been freed. What they left to do on worker threads ends by itself, on the loop. Returns
 * NULL. */
struct watches *watches_free(struct watches *ws);

/* Starts to watch the directory @root: absolute, normalised, and without symbolic links. It is looked at on a worker
 * thread: an error with it comes as on_end.
 * -EAGAIN: LIMIT_WATCHES_ALL. -EMFILE: the kernel's limit of inotify instances, or of open files; the message says
 * which.
 * On failure free_interest is not called. */
int watch_new(struct watches *ws, const char *root, const struct watch_options *options,
              struct watch **ret, struct error *err);
/* At any time, also from a callback; nothing is called afterwards but free_interest. Returns NULL. */
struct watch *watch_free(struct watch *w);

/* For a receiver that cannot keep up: nothing is handed over until it is resumed, and memory stays bounded (if too much
 * changes in the meantime: on_overflow). */
void watch_pause(struct watch *w, bool is_paused);

/* Directories that could not be read, so far. */
unsigned watch_n_denied(const struct watch *w);

/* What there is of all watches in the process, including those that are freed and not yet taken apart. */
struct watch_totals {
        size_t n_watches;
        size_t n_directories; /* that the kernel watches for them */
        size_t n_entries;     /* that they remember */
};

void watch_count_all(struct watch_totals *ret);
