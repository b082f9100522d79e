/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of a pass share:
 *
 *     pass.c   the order of things
 *     scan.c   directories: opening, watching and reading them
 *     look.c   single names
 *     tell.c   changes of the mirror, each with its event
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/watch/pass.h"

/* Beside the bits of inotify: it was found by reading the directory, so nobody knows what happened to it. */
#define SLOT_SCANNED UINT32_C(0x80000000)

/* Of one step. */
#define STEP_WORK   4096
#define STEP_EVENTS 2048
#define STEP_TEXT   (1 * MIB)

/* A name that is not settled after so many passes is taken as it is. */
#define MAX_TRIES 8

/* pass.c */
int pass_fail(struct pass *p, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool pass_is_over_budget(const struct pass *p);
void pass_queue(struct pass *p, struct folder *f);
/* Takes it out of this pass, with all that is to be done in it. */
void pass_queue_later(struct pass *p, struct folder *f);
/* Has @name looked at in this pass, when the rest of the pass is over, or in the next one. */
void pass_queue_slot(struct pass *p, struct folder *f, const char *name, uint32_t mask);
void pass_queue_absent(struct pass *p, struct folder *f, const struct slot *slot);
void pass_queue_slot_later(struct pass *p, struct folder *f, const struct slot *slot);
/* Has everything at and below @e scanned; with @watch, also watched anew. */
void pass_queue_tree(struct pass *p, struct entry *e, bool watch);

/* scan.c */
void scan_folder(struct pass *p, struct folder *f);
/* What came of a directory that should be watched: */
enum scan_outcome {
        SCAN_NEW, /* *ret_wd is its descriptor, which nobody has */
        SCAN_KNOWN, /* *ret_wd is that of another folder of the mirror, which must be the same directory */
        SCAN_DENIED,  /* it may not be read */
        SCAN_CHANGED, /* it is not what it was a moment ago; that is being reported */
        SCAN_BUSY,    /* not now */
        SCAN_FAILED,  /* the pass is over */
};
enum scan_outcome scan_watch_at(struct pass *p, int fd, const char *name, const struct stat *st,
                                int *ret_wd);
/* The directory is still where the mirror has it. */
bool scan_is_in_place(struct pass *p, const struct folder *f);

/* look.c */
/* Looks at @slot, a name in @f, whose descriptor is @fd. True: done with it. False: do what else became necessary, and
 * ask again. */
bool look_at(struct pass *p, struct folder *f, int fd, struct slot *slot);
enum watch_interest look_interest(struct pass *p, const struct folder *f, const char *name,
                                  bool is_directory);

/* tell.c */
struct entry *tell_created(struct pass *p, struct folder *f, const char *name,
                           const struct stat *st);
/* Ends the pass. Returns -E2BIG. */
int tell_too_many(struct pass *p);
void tell_modified(struct pass *p, const struct entry *e);
/* For what has nothing below it. */
void tell_deleted(struct pass *p, struct entry *e);
void tell_renamed(struct pass *p, struct entry *e, struct folder *f, const char *name);
/* Without the descriptor's being dropped: it is dead, or another's. */
void tell_lost_watch(struct pass *p, struct folder *f);
