/* SPDX-License-Identifier: Apache-2.0 */

/* The only place where the mirror changes, so that there is exactly one event for each change. */

#include <errno.h>

#include "agent/base/alloc.h"
#include "agent/watch/pass_private.h"

static size_t add_path(struct pass *p, const struct entry *e)
{
        size_t at = p->log.text.size;

        mirror_append_path(&p->mirror, e, NULL, &p->log.text);
        event_log_end_path(&p->log);
        return at;
}

static void tell(struct pass *p, enum watch_type type, const struct entry *e, size_t old_path)
{
        size_t path;

        p->work++;
        if (p->is_quiet)
                return;
        path = add_path(p, e);
        event_log_add(&p->log, type, e->folder != NULL, path, old_path);
}

/* See pass_private.h. */
int tell_too_many(struct pass *p)
{
        return pass_fail(p, -E2BIG, "there are more than %zu files and directories to watch",
                         p->options.max_entries);
}

/* An entry for what is at @name in @f now; its stamp is still to be set. NULL: there are too many. */
struct entry *tell_created(struct pass *p, struct folder *f, const char *name,
                           const struct stat *st)
{
        struct entry *e;

        if (p->mirror.n_entries >= p->options.max_entries) {
                (void)tell_too_many(p);
                return NULL;
        }
        if (mirror_all_entries() >= p->options.max_entries_all) {
                (void)pass_fail(p, -E2BIG,
                                "all watches together have more than %zu files and directories",
                                p->options.max_entries_all);
                return NULL;
        }
        e = mirror_add(&p->mirror, f, name, S_ISDIR(st->st_mode));
        e->inode = st->st_ino;
        if (e->folder)
                e->folder->device = st->st_dev;
        tell(p, WATCH_CREATED, e, 0);
        return e;
}

/* Changes nothing of the mirror but what look.c compares. */
void tell_modified(struct pass *p, const struct entry *e)
{
        tell(p, WATCH_MODIFIED, e, 0);
}

/* Removes @e; its descriptor, if it has one, is dropped. */
void tell_deleted(struct pass *p, struct entry *e)
{
        int wd = e->folder ? e->folder->wd : -1;

        tell(p, WATCH_DELETED, e, 0);
        if (wd >= 0) {
                if (p->n_dropped == p->n_dropped_allocated) {
                        p->n_dropped_allocated = MAX(p->n_dropped_allocated * 2, (size_t)16);
                        p->dropped = xrealloc_array(p->dropped, p->n_dropped_allocated,
                                                    sizeof(*p->dropped));
                }
                p->dropped[p->n_dropped++] = wd;
        }
        mirror_remove(&p->mirror, e);
}

/* Moves @e to @name in @f. What is there already must be a file, and is replaced. */
void tell_renamed(struct pass *p, struct entry *e, struct folder *f, const char *name)
{
        struct entry *replaced = mirror_find(&p->mirror, f, name);
        size_t old_path = p->is_quiet ? 0 : add_path(p, e);

        if (replaced)
                mirror_remove(&p->mirror, replaced);
        mirror_move(&p->mirror, e, f, name);
        tell(p, WATCH_RENAMED, e, old_path);
}

/* See the header. It is to be watched anew, and scanned for what was missed. */
void tell_lost_watch(struct pass *p, struct folder *f)
{
        mirror_set_watched(&p->mirror, f, -1);
        f->wants_watch = true;
        f->wants_scan = true;
        pass_queue(p, f);
}
