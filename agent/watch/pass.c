/* SPDX-License-Identifier: Apache-2.0 */

/* The order of things in a pass:
 *
 *  1. Renames that were reported are done in the mirror, in their order. They are guesses, because the mirror may know
 *     the disk of a later time; but each is a change of the mirror with its event, and both names have been marked.
 *  2. Watches that the kernel dropped are forgotten.
 *  3. Every marked name is looked at, and everything below a directory that turns up. What is there is taken over; a
 *     directory that turns up is recognised by its descriptor when it was somewhere else.
 *  4. What was not there, and has not turned up, is deleted: at once if its deletion was reported. If not, one pass
 *     later, since the other end of a rename may not have been read yet.
 *
 * When a name is not the mirror's on the disk at the time that it is looked at, it changes after that, and so is marked
 * again for the next pass. */

#include "agent/watch/pass_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "agent/base/alloc.h"

/* See the header. */
struct pass *pass_new(const char *root, const struct watch_options *options, int inotify_fd)
{
        struct pass *p = xnew(struct pass);

        mirror_init(&p->mirror, root);
        marks_init(&p->marks);
        p->options = *options;
        p->inotify_fd = inotify_fd;
        p->is_quiet = !options->reports_existing;
        list_init(&p->queue);
        list_init(&p->absent);
        list_init(&p->later);
        if (options->root_inode != 0) {
                p->mirror.root->inode = options->root_inode;
                p->mirror.root->folder->device = options->root_device;
                p->has_root = true;
        }

        p->mirror.root->folder->wants_watch = true;
        p->mirror.root->folder->wants_scan = true;
        pass_queue(p, p->mirror.root->folder);
        return p;
}

/* Takes its time when the tree is large. Returns NULL. */
struct pass *pass_free(struct pass *p)
{
        if (!p)
                return NULL;
        mirror_done(&p->mirror);
        event_log_done(&p->log);
        marks_done(&p->marks);
        buf_done(&p->path);
        free(p->dropped);
        free(p->lost);
        free(p);
        return NULL;
}

/* Ends the pass, and the watch. Returns @code. */
int pass_fail(struct pass *p, int code, const char *fmt, ...)
{
        char message[sizeof(p->error.message)];
        va_list args;

        va_start(args, fmt);
        (void)vsnprintf(message, sizeof(message), fmt, args);
        va_end(args);
        if (code == -ENOSPC || code == -E2BIG || code == -ENOENT)
                (void)error_set_field(&p->error, code, "", "%s", message);
        else
                (void)error_set(&p->error, code, "%s", message);
        p->result = PASS_FAILED;
        return code;
}

/* The step should end: it takes long, the events are many, or it failed. */
bool pass_is_over_budget(const struct pass *p)
{
        return p->work >= STEP_WORK || p->log.n >= STEP_EVENTS || p->log.text.size >= STEP_TEXT ||
               p->result == PASS_FAILED || p->result == PASS_GONE;
}

static void queue_on(struct list *queue, struct list *link)
{
        if (list_is_empty(link))
                list_append(queue, link);
}

/* Has the folder's slots and wishes seen to in this pass. */
void pass_queue(struct pass *p, struct folder *f)
{
        queue_on(&p->queue, &f->queue);
}

/* See the header. */
void pass_queue_later(struct pass *p, struct folder *f)
{
        list_remove(&f->queue);
        queue_on(&p->later, &f->later_queue);
}

/* See the header. */
void pass_queue_slot(struct pass *p, struct folder *f, const char *name, uint32_t mask)
{
        slot_push(&f->slots, name, mask, 0);
        pass_queue(p, f);
}

/* See the header. */
void pass_queue_absent(struct pass *p, struct folder *f, const struct slot *slot)
{
        slot_push(&f->absent, slot->name, slot->mask, slot->n_tries);
        queue_on(&p->absent, &f->absent_queue);
}

/* See the header. */
void pass_queue_slot_later(struct pass *p, struct folder *f, const struct slot *slot)
{
        slot_push(&f->later, slot->name, slot->mask, MIN(slot->n_tries + 1u, 255u));
        queue_on(&p->later, &f->later_queue);
}

/* See the header. */
void pass_queue_tree(struct pass *p, struct entry *e, bool watch)
{
        for (struct entry *i = e; i; i = mirror_next(i, e)) {
                struct folder *f = i->folder;

                if (!f || (f->wd < 0 && i != p->mirror.root))
                        continue; /* its parent's scan looks at it */
                f->wants_watch |= watch;
                f->wants_scan = true;
                pass_queue(p, f);
        }
}

static void take_mark(struct pass *p, const struct mark *mark, const char *name)
{
        struct folder *f = mirror_find_watched(&p->mirror, mark->wd);

        if (!f)
                return;
        if (*name) {
                pass_queue_slot(p, f, name, mark->mask);
                return;
        }
        if (mark->mask & IN_IGNORED)
                p->lost[p->n_lost++] = mark->wd;
        if (f->self == p->mirror.root && (mark->mask & (IN_DELETE_SELF | IN_UNMOUNT)))
                p->is_gone = true; /* even if there is another one now, with the same inode */
}

/* See the header. The root is opened in any case, which tells whether it is still there. */
void pass_begin(struct pass *p, struct marks *m)
{
        while (!list_is_empty(&p->later)) {
                struct folder *f = list_entry(p->later.next, struct folder, later_queue);
                struct slot *slot;

                list_remove(&f->later_queue);
                while ((slot = slot_pop(&f->later))) {
                        slot->next = f->slots;
                        f->slots = slot;
                }
                pass_queue(p, f);
        }

        pass_queue(p, p->mirror.root->folder);
        marks_done(&p->marks);
        p->marks = *m;
        p->next_hint = 0;
        marks_init(m);

        free(p->lost);
        p->lost = xcalloc(p->marks.n_items + 1, sizeof(*p->lost));
        p->n_lost = 0;
        for (size_t i = 0; i < p->marks.n_items; i++)
                take_mark(p, &p->marks.items[i], marks_name(&p->marks, p->marks.items[i].name));
        if (p->marks.is_overflown)
                pass_queue_tree(p, p->mirror.root, true);
}

/* Removes one entry at the bottom of the doomed directory. */
static void step_doomed(struct pass *p)
{
        struct entry *e = p->doomed;

        while (e->folder && !list_is_empty(&e->folder->children))
                e = list_entry(e->folder->children.next, struct entry, siblings);
        if (e == p->doomed)
                p->doomed = NULL;
        tell_deleted(p, e);
}

/* Whether telling the rename is right for what the mirror knows; if not, looking at both names is. */
static bool may_rename(struct pass *p, const struct entry *e, const struct folder *to,
                       const char *name)
{
        enum watch_interest interest;

        if (e->folder && mirror_is_below(to, e))
                return false;
        interest = look_interest(p, to, name, e->folder != NULL);
        if (interest == WATCH_IGNORE)
                return false;
        return !e->folder || (interest == WATCH_TREE) == (e->folder->wd >= 0);
}

static void step_hint(struct pass *p)
{
        const struct hint *hint = &p->marks.hints[p->next_hint];
        const char *from_name = marks_name(&p->marks, hint->from);
        const char *to_name = marks_name(&p->marks, hint->to);
        struct folder *from = mirror_find_watched(&p->mirror, hint->from_wd);
        struct folder *to = mirror_find_watched(&p->mirror, hint->to_wd);
        struct entry *e, *replaced;

        p->work++;
        e = from ? mirror_find(&p->mirror, from, from_name) : NULL;
        replaced = to ? mirror_find(&p->mirror, to, to_name) : NULL;
        if (!e || !to || e == replaced || !may_rename(p, e, to, to_name)) {
                p->next_hint++;
                return;
        }
        if (replaced && replaced->folder) {
                p->doomed =
                        replaced; /* and then this again: it may have contained what was renamed */
                return;
        }
        if (replaced && e->folder)
                tell_deleted(p, replaced);
        tell_renamed(p, e, to, to_name);
        if (e->folder && p->options.interest && p->options.interest_by_path)
                pass_queue_tree(p, e, false);
        p->next_hint++;
}

static void step_absent(struct pass *p)
{
        struct folder *f = list_entry(p->absent.next, struct folder, absent_queue);
        struct slot *slot = slot_pop(&f->absent);
        struct entry *e = slot ? mirror_find(&p->mirror, f, slot->name) : NULL;

        p->work++;
        if (!slot)
                list_remove(&f->absent_queue);
        else if (e && !(slot->mask & IN_DELETE) && slot->n_tries == 0)
                pass_queue_slot_later(p, f, slot);
        else if (e && e->folder)
                p->doomed = e;
        else if (e)
                tell_deleted(p, e);
        free(slot);
}

/* The directory that was opened at the start is not at its path any more, and nothing of what was in it. */
static void step_gone(struct pass *p)
{
        const struct list *children = &p->mirror.root->folder->children;

        if (!list_is_empty(children)) {
                p->doomed = list_entry(children->next, struct entry, siblings);
                return;
        }
        (void)pass_fail(p, -ENOENT, "the watched directory is gone");
        p->result = PASS_GONE;
}

static bool is_over(struct pass *p)
{
        if (p->is_gone && !p->doomed) {
                step_gone(p);
        } else if (p->doomed) {
                step_doomed(p);
        } else if (p->next_hint < p->marks.n_hints) {
                step_hint(p);
        } else if (p->n_lost > 0) {
                struct folder *f = mirror_find_watched(&p->mirror, p->lost[--p->n_lost]);

                if (f)
                        tell_lost_watch(p, f);
        } else if (!list_is_empty(&p->queue)) {
                scan_folder(p, list_entry(p->queue.next, struct folder, queue));
        } else if (!list_is_empty(&p->absent)) {
                step_absent(p);
        } else {
                return true;
        }
        return false;
}

/* What could not be watched at once was there before, so it is not told as new. But nobody waits for it for ever. */
static void check_complete(struct pass *p)
{
        if (p->is_complete || (!list_is_empty(&p->later) && ++p->n_first < MAX_TRIES))
                return;
        p->is_complete = true;
        p->is_quiet = false;
}

/* See the header. After PASS_GONE and PASS_FAILED there is no going on. */
enum pass_result pass_step(struct pass *p)
{
        int r = p->options.begin_work ? p->options.begin_work(p->options.interest_arg) : 0;

        p->work = 0;
        p->result = PASS_MORE;
        if (r < 0) {
                (void)pass_fail(p, r, "the agent cannot act as the user");
                return p->result;
        }
        while (!pass_is_over_budget(p)) {
                if (is_over(p)) {
                        p->result = PASS_DONE;
                        check_complete(p);
                        marks_done(&p->marks);
                        p->next_hint = 0;
                        break;
                }
        }
        if (p->options.end_work)
                p->options.end_work(p->options.interest_arg);
        return p->result;
}

/* See the header. */
bool pass_wants_another(const struct pass *p)
{
        return !list_is_empty(&p->later);
}

/* See the header. */
void pass_clear(struct pass *p)
{
        event_log_done(&p->log);
        p->n_dropped = 0;
}
