/* SPDX-License-Identifier: Apache-2.0 */

/* A walk whose entries are collected into batches. The cursor is the path of the last entry: it needs no state, and
 * stays right when that entry is gone. */

#include "agent/files/list.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/temporary.h"
#include "agent/files/walk.h"

/* An entry whose texts are offsets, because they still move. */
struct row {
        struct file_info info;
        size_t path;
        size_t name;
        size_t target; /* 0: none */
};

struct listing {
        const struct list_options *options;
        struct row rows[LIMIT_FILE_LIST_BATCH];
        struct list_entry entries[LIMIT_FILE_LIST_BATCH];
        size_t n_rows;
        size_t batch; /* how many are wanted */
        struct buf texts;
        uint64_t n_entries;
        uint64_t n_unreadable;
        char *cursor;
        bool has_more;
};

static int flush(struct listing *l)
{
        int r = 0;

        for (size_t i = 0; i < l->n_rows; i++) {
                const struct row *row = &l->rows[i];

                l->entries[i] = (struct list_entry){ .name = l->texts.data + row->name,
                                                     .path = l->texts.data + row->path,
                                                     .target = l->texts.data + row->target,
                                                     .info = row->info };
        }
        if (l->n_rows > 0)
                r = l->options->on_batch(l->options->data, l->entries, l->n_rows);
        l->n_rows = 0;
        l->texts.size = 0;
        l->batch = LIMIT_FILE_LIST_BATCH;
        return r != 0 ? -ECANCELED : 0;
}

/* Appends the text of a link, or nothing when it is gone. */
static int add_target(struct listing *l, const struct walk_entry *e, size_t *ret)
{
        char target[PATH_MAX];
        ssize_t n = readlinkat(e->dir, e->name, target, sizeof(target) - 1);

        if (n < 0)
                return 0;
        target[n] = '\0';
        *ret = l->texts.size;
        return buf_append(&l->texts, target, (size_t)n + 1);
}

static int add(struct listing *l, const struct walk_entry *e)
{
        struct row row = { .target = 0 };
        int r;

        r = file_info_at(e->dir, e->name, &row.info);
        if (r < 0)
                return r == -ENOENT || r == -EACCES
                               ? 0
                               : r; /* gone, or a directory that may only be read */
        if (l->texts.size == 0) {   /* offset 0 is the empty text */
                r = buf_append(&l->texts, "", 1);
                if (r < 0)
                        return r;
        }
        row.path = l->texts.size;
        row.name = row.path + (size_t)(e->name - e->path);
        r = buf_append(&l->texts, e->path, strlen(e->path) + 1);
        if (r == 0 && row.info.type == FILE_LINK)
                r = add_target(l, e, &row.target);
        if (r < 0)
                return r;
        l->rows[l->n_rows++] = row;
        l->n_entries++;
        return 0;
}

static bool is_wanted(const struct listing *l, const struct walk_entry *e)
{
        struct glob *g = l->options->glob;

        if (e->is_before || temporary_is_name(e->name))
                return false;
        if (l->options->only_directories && e->type != DT_DIR)
                return false;
        return !g || glob_match(g, glob_has_slash(g) ? e->path : e->name);
}

static int on_entry(void *data, const struct walk_entry *e)
{
        struct listing *l = data;
        const struct list_options *o = l->options;
        int r;

        if (is_wanted(l, e)) {
                if (o->limit > 0 && l->n_entries == o->limit) {
                        l->has_more = true;
                        return -ECANCELED;
                }
                r = add(l, e);
                if (r < 0)
                        return r;
                if (o->limit > 0 && l->n_entries == o->limit) {
                        free(l->cursor);
                        l->cursor = xstrdup(e->path);
                }
                if (l->n_rows >= l->batch || l->texts.size >= LIMIT_FILE_LIST_TEXTS) {
                        r = flush(l);
                        if (r < 0)
                                return r;
                }
        }
        return o->is_recursive && e->type == DT_DIR && (o->depth == 0 || e->depth < o->depth) &&
                               !temporary_is_name(e->name)
                       ? WALK_DESCEND
                       : 0;
}

static int on_failure(void *data, const struct walk_entry *e, int error)
{
        struct listing *l = data;

        (void)e;
        /* Of the agent, and for now; not of the directory. */
        if (error == -EMFILE || error == -ENFILE || error == -ENOMEM)
                return error;
        l->n_unreadable++;
        return 0;
}

static int list(struct listing *l, int fd)
{
        const struct list_options *o = l->options;
        struct walk_options w = { .is_sorted = o->is_sorted,
                                  .after = o->cursor,
                                  .cancel = o->cancel,
                                  .on_entry = on_entry,
                                  .on_failure = on_failure,
                                  .data = l };
        int r;

        r = walk_tree(fd, &w);
        if (r == 0 || l->has_more)
                r = flush(l);
        return r;
}

static int open_directory(const struct roots *roots, const char *path, int *ret, struct error *err)
{
        CLEANUP(place_done) struct place p = PLACE_INIT;
        int r;

        r = place_find(roots, path, PLACE_FOLLOW, 0, &p, err);
        if (r != 0)
                return files_want_directory(r, err, path);
        if (!S_ISDIR(p.st.st_mode))
                return files_fail(err, FILES_E_NOT_DIRECTORY, path);
        r = place_open(&p, O_RDONLY | O_DIRECTORY);
        if (r < 0)
                return files_fail_errno(err, r, path);
        *ret = r;
        return 0;
}

/* See the header. */
int directory_list(const struct roots *roots, const char *path, const struct list_options *o,
                   struct list_result *ret, struct error *err)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(mem_free) struct listing *l = NULL;
        CLEANUP(fd_close) int fd = -1;
        int r;

        assert(o->is_sorted || (o->limit == 0 && !o->cursor));

        r = roots_enter(roots, &scope, path, err);
        if (r == 0)
                r = open_directory(roots, path, &fd, err);
        if (r != 0)
                return r;

        l = xnew(struct listing);
        l->options = o;
        l->batch = LIST_FIRST_BATCH;
        buf_init(&l->texts, 0);
        r = list(l, fd);
        buf_done(&l->texts);
        if (r < 0) {
                free(l->cursor);
                return files_fail_errno(err, r, path);
        }
        *ret = (struct list_result){ .n_entries = l->n_entries,
                                     .n_unreadable = l->n_unreadable,
                                     .cursor = l->has_more ? STEAL(l->cursor) : NULL };
        free(l->cursor);
        return 0;
}
