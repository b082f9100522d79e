/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Brings the remembered tree up to date with the disk, and notes each difference as an event. It belongs either to the
 * loop or, while a step runs, to a worker thread; it has no locks, and nothing else is shared but the inotify
 * descriptor, which is only used to add watches. */

#include <stdbool.h>
#include <stddef.h>

#include "agent/base/error.h"
#include "agent/watch/event_log.h"
#include "agent/watch/marks.h"
#include "agent/watch/mirror.h"
#include "agent/watch/watch.h"

enum pass_result {
        PASS_DONE,   /* all that was marked has been looked at */
        PASS_MORE,   /* take the events, and step again */
        PASS_GONE,   /* the root is; take the events */
        PASS_FAILED, /* see error; take the events */
};

struct pass {
        struct mirror mirror;
        struct event_log log; /* what the last step found out */
        int *dropped;         /* descriptors that are not wanted any more, since the last step */
        size_t n_dropped;
        size_t n_dropped_allocated;
        unsigned n_denied;
        bool is_complete; /* everything has been watched, and so is what comes */
        struct error error;

        /* The rest is private. */
        enum pass_result result;
        struct watch_options options;
        int inotify_fd;
        bool is_quiet;    /* the first pass, when nobody wants to know what is there */
        bool has_root;    /* it has been opened: its inode is known */
        bool is_gone;     /* the root is */
        bool is_closed;   /* the root may not be read at the moment */
        unsigned n_first; /* passes that were over before everything had been watched */
        unsigned work;
        struct marks marks; /* whose hints are being applied */
        size_t next_hint;
        int *lost; /* descriptors that the kernel dropped */
        size_t n_lost;
        struct entry
                *doomed;   /* the directory that is being removed from the mirror, with all below */
        struct list queue; /* folders with slots to be looked at, to be watched or to be scanned */
        struct list absent; /* folders with slots that were not there */
        struct list later;  /* folders for the next pass */
        struct buf path;    /* of the folder that is looked at, with a '/' at the end */
};

/* Copies what it needs of @options, but not what interest_arg points to. */
struct pass *pass_new(const char *root, const struct watch_options *options, int inotify_fd);
struct pass *pass_free(struct pass *p);

/* Begins the next pass (the last one must be done) with @m, which is left empty. */
void pass_begin(struct pass *p, struct marks *m);
/* Goes on with it for some milliseconds, or until there are many events. Runs on a worker. */
enum pass_result pass_step(struct pass *p);
/* Something could not be settled: begin another pass soon, whether there are new marks or not. */
bool pass_wants_another(const struct pass *p);
/* After a step: forgets the events and the dropped descriptors. */
void pass_clear(struct pass *p);
