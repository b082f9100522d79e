/* SPDX-License-Identifier: Apache-2.0 */

/* One name: what is on the disk, what the mirror says, and what makes the two equal. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "agent/watch/hash.h"
#include "agent/watch/pass_private.h"

/* File systems round times: what is written so soon after it was looked at may get the same time once more. */
#define ROUNDED_NS INT64_C(50000000)

static int64_t now_ns(void)
{
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* All that makes a change a modification, and in the lowest bit whether one may hide behind the rounding. */
static uint64_t stamp_of(const struct stat *st)
{
        int64_t time = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
        uint64_t stamp;
        int64_t age;

        stamp = hash_mix(1, st->st_mode);
        stamp = hash_mix(stamp, (uint64_t)st->st_uid << 32 | st->st_gid);
        if (S_ISDIR(st->st_mode))
                return stamp << 1;

        stamp = hash_mix(stamp, (uint64_t)time);
        stamp = hash_mix(stamp, (uint64_t)st->st_size);
        age = now_ns() - time;
        return stamp << 1 | (age > -ROUNDED_NS && age < ROUNDED_NS);
}

static void update(struct pass *p, struct entry *e, const struct stat *st, uint32_t mask)
{
        uint64_t stamp = stamp_of(st);
        bool is_modified = (stamp >> 1) != (e->stamp >> 1);

        if (!e->folder) {
                is_modified |= e->inode != st->st_ino || (mask & IN_MODIFY);
                is_modified |= (e->stamp & 1) && (mask & SLOT_SCANNED);
        }
        e->inode = st->st_ino;
        e->stamp = stamp;
        if (is_modified)
                tell_modified(p, e);
        /* What could not be read may be readable now; not all that decides on that is in the mode. */
        if (e->folder && p->n_denied > 0 && (is_modified || (mask & IN_ATTRIB)))
                pass_queue_tree(p, e, false);
}

/* See watch.h. */
enum watch_interest look_interest(struct pass *p, const struct folder *f, const char *name,
                                  bool is_directory)
{
        enum watch_interest interest = WATCH_TREE;

        if (p->options.interest) {
                struct buf path;

                buf_init(&path, 0);
                mirror_append_path(&p->mirror, f->self, name, &path);
                interest = p->options.interest(path.data + strlen(p->mirror.root_path) + 1,
                                               is_directory, p->options.interest_arg);
                buf_done(&path);
        }
        if (interest == WATCH_TREE && is_directory && !p->options.is_recursive)
                interest = WATCH_ENTRY;
        return interest;
}

/* A file may become another file; everything else is deleted and created. So is a directory that is not to be looked
 * into any more. */
static bool is_same(const struct entry *e, const struct stat *st, enum watch_interest interest)
{
        if (!e->folder || !S_ISDIR(st->st_mode))
                return !e->folder && !S_ISDIR(st->st_mode);
        if (interest == WATCH_ENTRY && (e->folder->wd >= 0 || !list_is_empty(&e->folder->children)))
                return false;
        return e->inode == st->st_ino && e->folder->device == st->st_dev;
}

/* Drops what the mirror has at a name. False: that takes longer; come again. */
static bool drop(struct pass *p, struct entry *e)
{
        if (e->folder) {
                p->doomed = e;
                return false;
        }
        tell_deleted(p, e);
        return true;
}

/* A directory that is not watched. Watching it before anything is said about it tells who it is: a directory that the
 * mirror has elsewhere was moved. */
static bool enter(struct pass *p, struct folder *f, int fd, struct slot *slot, struct entry *e,
                  const struct stat *st)
{
        struct folder *known = NULL;
        enum scan_outcome outcome;
        int wd = -1;

        outcome = scan_watch_at(p, fd, slot->name, st, &wd);
        if (outcome == SCAN_FAILED)
                return true;
        if (outcome == SCAN_KNOWN)
                known = mirror_find_watched(&p->mirror, wd);
        if (known && known->self == p->mirror.root)
                known = NULL, outcome = SCAN_DENIED; /* the root inside of itself */
        else if (known && mirror_is_below(f, known->self))
                known = NULL, outcome = SCAN_BUSY; /* somebody moves things faster than we look */
        else if (known && scan_is_in_place(p, known))
                known = NULL, outcome = SCAN_DENIED; /* it is mounted twice */

        if (outcome == SCAN_BUSY || (outcome == SCAN_CHANGED && slot->n_tries < MAX_TRIES)) {
                pass_queue_slot_later(p, f, slot);
                return true;
        }
        if (known && !e) {
                tell_renamed(p, known->self, f, slot->name);
                update(p, known->self, st, 0);
                if (p->options.interest && p->options.interest_by_path)
                        pass_queue_tree(p, known->self, false);
                return true;
        }
        if (known) {
                /* Both are in the mirror, and this is the place where it is. */
                mirror_set_watched(&p->mirror, known, -1);
                pass_queue_slot(p, known->self->parent, known->self->name, SLOT_SCANNED);
        }
        if (!e) {
                e = tell_created(p, f, slot->name, st);
                if (!e)
                        return true;
                e->stamp = stamp_of(st);
        } else {
                update(p, e, st, slot->mask);
        }
        if (outcome == SCAN_NEW || known) {
                mirror_set_watched(&p->mirror, e->folder, wd);
                e->folder->wants_scan = true;
                pass_queue(p, e->folder);
        } else {
                p->n_denied++;
        }
        return true;
}

/* See the header. */
bool look_at(struct pass *p, struct folder *f, int fd, struct slot *slot)
{
        struct entry *e = mirror_find(&p->mirror, f, slot->name);
        enum watch_interest interest;
        bool is_directory;
        struct stat st;

        p->work++;
        if (fstatat(fd, slot->name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
                if (errno == EACCES)
                        p->n_denied++;
                else if (errno == ENOMEM || errno == EINTR)
                        pass_queue_slot_later(p, f, slot);
                if (errno == ENOENT && e) {
                        /* It may have been moved, and turn up: that is decided at the end. */
                        if (slot->mask & IN_MODIFY)
                                e->stamp = 0;
                        pass_queue_absent(p, f, slot);
                }
                return true;
        }

        is_directory = S_ISDIR(st.st_mode);
        interest = look_interest(p, f, slot->name, is_directory);
        if (interest == WATCH_IGNORE)
                return !e || drop(p, e);

        if (e && !is_same(e, &st, interest)) {
                if (!drop(p, e))
                        return false;
                e = NULL;
        }

        if (is_directory && interest == WATCH_TREE && (!e || e->folder->wd < 0))
                return enter(p, f, fd, slot, e, &st);
        if (e) {
                update(p, e, &st, slot->mask);
        } else {
                e = tell_created(p, f, slot->name, &st);
                if (e)
                        e->stamp = stamp_of(&st);
        }
        return true;
}
