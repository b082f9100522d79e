/* SPDX-License-Identifier: Apache-2.0 */

/* Who edits a file has read it, and must not change anything else than what they mean: so the old text has to be there
 * exactly, and once. A file that somebody else changes at the same time is left alone.
 *
 * Edits of the same file take turns, or the one that reads before another one writes would take that one's back. What
 * the same file is its inode says, not a path. As each edit makes a new inode, one that had to wait looks again. */

#include "handlers/files/replace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"
#include "agent/files/read.h"
#include "agent/files/write.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "handlers/files/common.h"
#include "handlers/files/diff.h"
#include "handlers/files/replace_hint.h"

/* clang-format off */
const struct json_field files_replace_args[] = {
        F_STRING(struct files_replace_args, path, .required = true, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "The file; relative paths begin at the workspace"),
        F_TEXT  (struct files_replace_args, old, .alias = "old_text", .required = true, .min = 1,
                 .doc = "The exact text that is replaced"),
        F_TEXT  (struct files_replace_args, new, .alias = "new_text", .required = true,
                 .doc = "What is there instead"),
        F_BOOL  (struct files_replace_args, all, .doc = "Wherever it is; otherwise it must be there exactly once"),
        F_BOOL  (struct files_replace_args, dry_run, .doc = "Change nothing, only answer the difference"),
        F_END
};
/* clang-format on */

#define MAX_LOOKS 8 /* at a file that others replace all the time */

enum { NOT_THERE = -ESRCH, NOT_ONCE = -ENOTUNIQ, CHANGED = -ESTALE, MOVED_ON = -EREMCHG };

/* LOOK for the file's identity; WAIT for those who edit it; EDIT. */
enum stage { LOOK, WAIT, EDIT };

struct identity {
        uint64_t device, inode;
};

static struct list edits = LIST_INIT(
        edits); /* those that edit or wait, in the order in which they came */

struct edit {
        struct files_task task;
        const struct files_replace_args *args;
        struct list link; /* in edits */
        enum stage stage;
        struct identity file;
        struct identity next; /* what is at the path after the edit */
        unsigned n_looks;
        struct file_part part;
        struct diff_edit *edits;
        size_t n;
        struct buf text; /* the new one */
        size_t size;     /* of it; it is gone when the work is done */
        struct buf diff;
        bool is_diff_cut;
        const char *hint; /* why the text was not found */
};

static void find(struct edit *e)
{
        const char *at = e->part.content.data, *end = at + e->part.content.size;
        size_t size = e->args->old.size, capacity = 0;

        while (at && e->n <= LIMIT_FILE_EDITS &&
               (at = memmem(at, (size_t)(end - at), e->args->old.data, size))) {
                if (e->n == capacity) {
                        capacity = MAX((size_t)16, 2 * capacity);
                        e->edits = xrealloc_array(e->edits, capacity, sizeof(*e->edits));
                }
                e->edits[e->n++] = (struct diff_edit){ .at = (size_t)(at - e->part.content.data),
                                                       .size = size,
                                                       .text = e->args->new.data,
                                                       .text_size = e->args->new.size };
                at += size;
        }
}

static int make_text(struct edit *e)
{
        size_t at = 0;
        int r = 0;

        for (size_t i = 0; i < e->n && r == 0; i++) {
                r = buf_append(&e->text, e->part.content.data + at, e->edits[i].at - at);
                if (r == 0)
                        r = buf_append(&e->text, e->edits[i].text, e->edits[i].text_size);
                at = e->edits[i].at + e->edits[i].size;
        }
        return r < 0 ? r
                     : buf_append(&e->text, e->part.content.data + at, e->part.content.size - at);
}

static int make_diff(struct edit *e)
{
        int r = diff_write(&e->diff, files_base_name(e->task.path), e->part.content.data,
                           e->part.content.size, e->edits, e->n);

        e->is_diff_cut = r == -EFBIG;
        return e->is_diff_cut ? 0 : r;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
        return a->device == b->device && a->inode == b->inode;
}

static int look(const struct edit *e, struct identity *ret, struct error *err)
{
        struct file_info info;
        int r = file_info(e->task.roots, e->task.path, true, &info, NULL, NULL, err);

        if (r == 0)
                *ret = (struct identity){ info.device, info.inode };
        return r;
}

/* Between this look and the new file's taking its place programs may still write: nothing can keep them from that, so
 * it is the last thing before. */
static int check_unchanged(const struct edit *e, struct error *err)
{
        const struct file_info *was = &e->part.info;
        struct file_info is;
        int r;

        r = file_info(e->task.roots, e->task.path, true, &is, NULL, NULL, err);
        if (r != 0)
                return r;
        return is.modified_ns != was->modified_ns || is.size != was->size ||
                               is.inode != was->inode || is.device != was->device
                       ? (int)CHANGED
                       : 0;
}

static int write_text(struct edit *e, struct error *err)
{
        const struct file_write_options options = { .mode = FILE_MODE_KEEP, .overwrite = true };
        CLEANUP(file_writer_abort) struct file_writer *w = NULL;
        int r;

        r = file_writer_open(e->task.roots, e->task.path, &options, &w, err);
        if (r == 0)
                r = file_writer_write(w, e->text.data, e->text.size, err);
        if (r == 0)
                r = check_unchanged(e, err);
        if (r != 0)
                return r;
        r = file_writer_commit(STEAL(w), NULL, err);
        if (r == 0)
                (void)look(e, &e->next, &(struct error)ERROR_INIT); /* who waits finds out */
        return r;
}

static int edit(struct edit *e, struct error *err)
{
        const struct files_task *t = &e->task;
        const struct file_read_options options = { .max = LIMIT_FILE_REPLACE,
                                                   .cancel = &t->is_cancelled };
        struct identity is;
        int r;

        r = file_read(t->roots, t->path, &options, &e->part, err);
        if (r != 0)
                return r;
        is = (struct identity){ e->part.info.device, e->part.info.inode };
        if (!is_same(&is, &e->file))
                return MOVED_ON;
        find(e);
        if (e->n == 0) {
                e->hint = replace_hint(e->part.content.data, e->part.content.size,
                                       e->args->old.data, e->args->old.size);
                return NOT_THERE;
        }
        if (e->n > 1 && !e->args->all)
                return NOT_ONCE;
        r = e->n > LIMIT_FILE_EDITS ? -EFBIG : make_text(e);
        if (r == -EFBIG)
                return files_fail(err, FILES_E_TOO_LARGE, t->path);
        if (r == 0)
                r = make_diff(e);
        if (r < 0)
                return r;
        return e->args->dry_run ? 0 : write_text(e, err);
}

static int work(struct files_task *t, struct error *err)
{
        struct edit *e = container_of(t, struct edit, task);
        int r = e->stage == LOOK ? look(e, &e->file, err) : edit(e, err);

        /* Here, as giving back the memory of a large file takes milliseconds. */
        file_part_done(&e->part);
        e->size = e->text.size;
        buf_done(&e->text);
        return r;
}

/* --- turns --- */

/* The one that edits @file, or NULL. */
static const struct edit *find_editor(const struct identity *file)
{
        list_for_each(i, &edits) {
                const struct edit *e = list_entry(i, struct edit, link);

                if (e->stage == EDIT && is_same(&e->file, file))
                        return e;
        }
        return NULL;
}

static void take_turn(struct edit *e)
{
        e->task.is_kept = true;
        e->next = e->file;
        e->stage = find_editor(&e->file) ? WAIT : EDIT;
        list_append(&edits, &e->link);
        if (e->stage == EDIT)
                files_task_again(&e->task);
}

/* Ends the turn of @e: those who wait for its file want the new one, and the first of them is next. */
static void end_turn(struct edit *e)
{
        struct edit *first = NULL;

        list_remove(&e->link);
        if (e->stage != EDIT)
                return;
        list_for_each(i, &edits) {
                struct edit *w = list_entry(i, struct edit, link);

                if (w->stage != WAIT || !is_same(&w->file, &e->file))
                        continue;
                w->file = w->next = e->next;
                if (!first)
                        first = w;
        }
        if (!first || find_editor(&first->file))
                return;
        first->stage = EDIT;
        files_task_again(&first->task);
}

/* The file that was to be edited is another one by now. */
static void look_again(struct edit *e)
{
        end_turn(e);
        e->stage = LOOK;
        e->task.err = (struct error)ERROR_INIT;
        e->task.is_kept = true;
        files_task_again(&e->task);
}

/* --- answers --- */

static void release_diff(void *arg)
{
        free(arg);
}

static void answer(struct files_task *t)
{
        struct edit *e = container_of(t, struct edit, task);
        struct document_piece piece;
        struct document *doc;
        json_t *fields;
        char *diff;

        if (e->stage == LOOK) {
                take_turn(e);
                return;
        }
        fields = json_pack("{s:b, s:o, s:I, s:I, s:b, s:b, s:s}", "success", 1, "path",
                           files_json_string(t->path), "count", (json_int_t)e->n, "size",
                           (json_int_t)e->size, "dry_run", e->args->dry_run, "diff_truncated",
                           e->is_diff_cut, "message",
                           e->args->dry_run ? "Nothing was changed" : "Replaced successfully");
        diff = buf_steal(&e->diff, &piece.size);
        piece.data = diff ? diff : "";
        doc = document_new(fields);
        document_add_text(doc, "diff", DOCUMENT_UTF8, &piece, 1, release_diff, diff);
        (void)request_reply_document(t->request, 200, doc);
}

static void fail(struct files_task *t)
{
        struct edit *e = container_of(t, struct edit, task);

        if (t->r == MOVED_ON && ++e->n_looks < MAX_LOOKS)
                look_again(e);
        else if (t->r == NOT_THERE)
                (void)files_fail_problem(t->request, PROBLEM_TEXT_NOT_FOUND, "/old", t->path,
                                         "old: the file does not contain this text%s", e->hint);
        else if (t->r == NOT_ONCE)
                (void)files_fail_problem(t->request, PROBLEM_TEXT_NOT_UNIQUE, "/old", t->path,
                                         "old: the file contains this text %zu times; give more of "
                                         "what is around it, or all",
                                         e->n);
        else if (t->r == CHANGED || t->r == MOVED_ON)
                (void)files_fail_problem(t->request, PROBLEM_FILE_BUSY, NULL, t->path,
                                         "somebody else has just changed the file; read it again");
        else if (t->r == FILES_E_TOO_LARGE && e->n > LIMIT_FILE_EDITS)
                (void)files_fail_problem(t->request, PROBLEM_TOO_LARGE, NULL, t->path,
                                         "the file contains this text in too many places: at most "
                                         "%d can be replaced at once",
                                         LIMIT_FILE_EDITS);
        else if (t->r == FILES_E_TOO_LARGE)
                (void)files_fail_problem(t->request, PROBLEM_TOO_LARGE, NULL, t->path,
                                         "%s: a file that is edited has at most %zu MiB, before "
                                         "and after",
                                         t->err.message, LIMIT_FILE_REPLACE / MIB);
        else
                files_task_fail(t);
}

static void release(struct files_task *t)
{
        struct edit *e = container_of(t, struct edit, task);

        end_turn(e);
        buf_done(&e->diff);
        free(e->edits);
        free(e);
}

/* Answers POST /files/replace. */
int files_replace_post(struct request *req)
{
        const struct files_replace_args *args = request_args(req);
        struct edit *e;

        if (args->old.size == args->new.size &&
            memcmp(args->old.data, args->new.data, args->old.size) == 0)
                return files_fail_problem(req, PROBLEM_INVALID_REQUEST, "/new", args->path,
                                          "new: is the same as old");
        e = xnew(struct edit);
        e->task = (struct files_task){
                .work = work, .answer = answer, .fail = fail, .release = release
        };
        e->args = args;
        list_init(&e->link);
        buf_init(&e->text, LIMIT_FILE_REPLACE);
        buf_init(&e->diff, LIMIT_FILE_DIFF);
        return files_run(req, &e->task, args->path);
}
