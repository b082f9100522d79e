/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory that is watched, and a receiver that replays every event over what it knew. Each event has to fit: what
 * is created was not there and its parent was, what is deleted was there and empty, and so on.
 *
 *     temporary/root       what is watched
 *     temporary/outside    for what is moved in and out */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/loop/timer.h"
#include "agent/watch/watch_private.h"
#include "tests/lib/loop_fixture.h"

#define HANG_MS 30000

/* Paths in the order of strcmp, each behind 'd' or '-'. */
struct replay {
        char **items;
        size_t n;
        size_t n_allocated;
};

struct watched {
        struct loop *loop;
        struct timer *tick; /* for conditions that no event makes true */
        struct watches *watches;
        struct watch *watch;
        struct replay replay;
        struct replay disk;
        struct buf log; /* "created a\n", relative to the root */
        char *base;
        char *root;
        unsigned n_batches;
        unsigned n_events;
        unsigned n_overflows;
        unsigned n_ready;
        unsigned n_ends;
        bool checks_nothing; /* the replay is not looked at */
        enum watch_end end;
        struct error error;
        void (*on_batch)(struct watched *w);
};

static inline size_t replay_bound(const struct replay *r, const char *path)
{
        size_t low = 0, high = r->n;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (strcmp(r->items[middle] + 1, path) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* NULL: it is not there. */
static inline const char *replay_find(const struct replay *r, const char *path)
{
        size_t i = replay_bound(r, path);

        return i < r->n && strcmp(r->items[i] + 1, path) == 0 ? r->items[i] : NULL;
}

static inline void replay_add(struct replay *r, const char *path, bool is_directory)
{
        size_t i = replay_bound(r, path);

        if (r->n == r->n_allocated) {
                r->n_allocated = r->n_allocated * 2 + 64;
                r->items = xrealloc_array(r->items, r->n_allocated, sizeof(char *));
        }
        memmove(r->items + i + 1, r->items + i, (r->n - i) * sizeof(char *));
        r->items[i] = xasprintf("%c%s", is_directory ? 'd' : '-', path);
        r->n++;
}

static inline void replay_cut(struct replay *r, size_t from, size_t to)
{
        for (size_t i = from; i < to; i++)
                free(r->items[i]);
        if (to > from)
                memmove(r->items + from, r->items + to, (r->n - to) * sizeof(char *));
        r->n -= to - from;
}

/* The range of what is below @path. */
static inline void replay_below(const struct replay *r, const char *path, size_t *from, size_t *to)
{
        char *prefix = xasprintf("%s/", path);

        *from = *to = replay_bound(r, prefix);
        while (*to < r->n && strncmp(r->items[*to] + 1, prefix, strlen(prefix)) == 0)
                ++*to;
        free(prefix);
}

static inline void replay_done(struct replay *r)
{
        replay_cut(r, 0, r->n);
        free(r->items);
        *r = (struct replay){ .n = 0 };
}

static inline bool replay_equals(const struct replay *a, const struct replay *b)
{
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (strcmp(a->items[i], b->items[i]) != 0)
                        return false;
        return true;
}

static inline bool replay_has_parent(const struct replay *r, const char *path, const char *root)
{
        char *parent = xstrdup(path);
        const char *item;
        bool is_there;

        *strrchr(parent, '/') = '\0';
        item = replay_find(r, parent);
        is_there = strcmp(parent, root) == 0 || (item && *item == 'd');
        free(parent);
        return is_there;
}

static inline void replay_rename(struct replay *r, const char *old_path, const char *path)
{
        size_t from, to, n, size = strlen(old_path);
        char **moved;

        replay_below(r, old_path, &from, &to);
        n = to - from;
        moved = xcalloc(n + 1, sizeof(char *));
        for (size_t i = 0; i < n; i++)
                moved[i] = xstrdup(r->items[from + i]);
        replay_cut(r, from, to);
        for (size_t i = 0; i < n; i++) {
                char *new_path = xasprintf("%s%s", path, moved[i] + 1 + size);

                replay_add(r, new_path, moved[i][0] == 'd');
                free(new_path);
                free(moved[i]);
        }
        free(moved);
}

/* NULL, or what does not fit. */
static inline const char *replay_event(struct replay *r, const struct watch_event *e,
                                       const char *root)
{
        const char *there = replay_find(r, e->path);
        size_t i = replay_bound(r, e->path), from, to;
        const char *old;
        bool is_directory;

        switch (e->type) {
        case WATCH_CREATED:
                if (there)
                        return "it is there";
                if (!replay_has_parent(r, e->path, root))
                        return "its parent is not there";
                replay_add(r, e->path, e->is_directory);
                return NULL;
        case WATCH_MODIFIED:
                return there && (*there == 'd') == e->is_directory ? NULL : "it is not there";
        case WATCH_DELETED:
                if (!there || (*there == 'd') != e->is_directory)
                        return "it is not there";
                replay_below(r, e->path, &from, &to);
                if (from != to)
                        return "it is not empty";
                replay_cut(r, i, i + 1);
                return NULL;
        case WATCH_RENAMED:
                old = replay_find(r, e->old_path);
                if (!old || (*old == 'd') != e->is_directory)
                        return "its old path is not there";
                if (there && (*there == 'd' || e->is_directory))
                        return "it replaces a directory, or is one";
                if (!replay_has_parent(r, e->path, root))
                        return "its parent is not there";
                is_directory = *old == 'd';
                if (there)
                        replay_cut(r, i, i + 1);
                i = replay_bound(r, e->old_path);
                replay_cut(r, i, i + 1);
                replay_add(r, e->path, is_directory);
                replay_rename(r, e->old_path, e->path);
                return NULL;
        }
        return "unknown";
}

static struct replay *replay_scanned_;

static inline int replay_on_entry_(const char *path, const struct stat *st, int type,
                                   struct FTW *ftw)
{
        (void)type;
        if (ftw->level > 0)
                replay_add(replay_scanned_, path, S_ISDIR(st->st_mode));
        return 0;
}

/* What is on the disk. */
static inline void replay_scan(struct replay *r, const char *root)
{
        replay_done(r);
        replay_scanned_ = r;
        assert_int_equal(nftw(root, replay_on_entry_, 64, FTW_PHYS), 0);
}

static inline void watched_on_ready_(struct watch *watch, void *arg)
{
        struct watched *w = arg;

        (void)watch;
        w->n_ready++;
}

static inline const char *watched_relative(const struct watched *w, const char *path)
{
        size_t size = strlen(w->root);

        assert_int_equal(strncmp(path, w->root, size), 0);
        assert_int_equal(path[size], '/');
        return path + size + 1;
}

static inline void watched_on_events_(struct watch *watch, const struct watch_event *events,
                                      size_t n, void *arg)
{
        static const char *const NAMES[] = { "created", "modified", "deleted", "renamed" };
        struct watched *w = arg;

        assert_ptr_equal(watch, w->watch);
        assert_true(n > 0 && n <= 256);
        w->n_batches++;
        w->n_events += (unsigned)n;
        for (size_t i = 0; i < n; i++) {
                const struct watch_event *e = &events[i];
                const char *problem = NULL;

                assert_int_equal(e->old_path != NULL, e->type == WATCH_RENAMED);
                if (w->log.size < 4 * MIB) {
                        (void)buf_appendf(&w->log, "%s ", NAMES[e->type]);
                        if (e->old_path)
                                (void)buf_appendf(&w->log, "%s ", watched_relative(w, e->old_path));
                        (void)buf_appendf(&w->log, "%s%s\n", watched_relative(w, e->path),
                                          e->is_directory ? "/" : "");
                }
                if (!w->checks_nothing)
                        problem = replay_event(&w->replay, e, w->root);
                if (problem) {
                        const char *tail = w->log.data;

                        if (w->log.size > 2000)
                                tail += w->log.size - 2000;
                        fail_msg("%s, at the end of:\n%s", problem, tail);
                }
        }
        if (w->on_batch)
                w->on_batch(w);
}

static inline void watched_on_overflow_(struct watch *watch, void *arg)
{
        struct watched *w = arg;

        (void)watch;
        w->n_overflows++;
}

static inline void watched_on_end_(struct watch *watch, enum watch_end end, const struct error *err,
                                   void *arg)
{
        struct watched *w = arg;

        (void)watch;
        w->n_ends++;
        w->end = end;
        w->error = *err;
}

static inline void watched_on_tick_(void *arg)
{
        timer_start(((struct watched *)arg)->tick, 5);
}

/* Makes the directories. */
static inline void watched_init(struct watched *w, struct loop *l)
{
        char base[] = "/tmp/test-watch-XXXXXX", *outside;

        *w = (struct watched){ .loop = l };
        assert_non_null(mkdtemp(base));
        w->base = realpath(base, NULL);
        w->root = xasprintf("%s/root", w->base);
        outside = xasprintf("%s/outside", w->base);
        assert_int_equal(mkdir(w->root, 0755), 0);
        assert_int_equal(mkdir(outside, 0755), 0);
        free(outside);
        w->watches = watches_new(l);
        w->tick = timer_new(l, watched_on_tick_, w);
        watched_on_tick_(w);
}

static inline void watched_done(struct watched *w)
{
        w->watch = watch_free(w->watch);
        w->watches = watches_free(w->watches);
        w->tick = timer_free(w->tick);
        replay_done(&w->replay);
        replay_done(&w->disk);
        buf_done(&w->log);
        assert_int_equal(path_remove_tree(w->base), 0);
        free(w->base);
        free(w->root);
}

static inline struct watch_options watched_options(struct watched *w)
{
        return (struct watch_options){
                .is_recursive = true,
                .coalesce_ms = 20,
                .on_ready = watched_on_ready_,
                .on_events = watched_on_events_,
                .on_overflow = watched_on_overflow_,
                .on_end = watched_on_end_,
                .arg = w,
        };
}

static inline int watched_is_ready_(void *arg)
{
        struct watched *w = arg;

        return w->n_ready + w->n_ends > 0;
}

static inline int watched_has_ended_(void *arg)
{
        struct watched *w = arg;

        return w->n_ends > 0;
}

/* Without reports_existing, what is there now is what the receiver knows. */
static inline void watched_start(struct watched *w, const struct watch_options *o)
{
        struct error err = ERROR_INIT;
        int r;

        if (!o->reports_existing && !w->checks_nothing)
                replay_scan(&w->replay, w->root);
        r = watch_new(w->watches, w->root, o, &w->watch, &err);
        if (r < 0)
                fail_msg("%s", err.message);
        assert_int_equal(w->n_ready, 0);
}

static inline void watched_wait_ready(struct watched *w)
{
        assert_true(loop_run_until(w->loop, watched_is_ready_, w, HANG_MS));
        if (w->n_ends > 0)
                fail_msg("%s", w->error.message);
        assert_int_equal(w->n_ready, 1);
}

/* Nothing is left to be read, looked at or told. */
static inline int watched_is_idle_(void *arg)
{
        const struct watched *w = arg;
        int n_bytes = 1;

        if (w->n_ends > 0)
                return true;
        return w->watch->state == WATCH_IDLE &&
               ioctl(w->watch->instance->fd, FIONREAD, &n_bytes) == 0 && n_bytes == 0;
}

/* Until all that has happened was told. Nobody may change the disk meanwhile. */
static inline void watched_wait_idle(struct watched *w)
{
        assert_true(loop_run_until(w->loop, watched_is_idle_, w, HANG_MS));
}

static inline int watched_never_(void *arg)
{
        (void)arg;
        return 0;
}

/* For what comes unasked. */
static inline void watched_linger(struct watched *w, unsigned ms)
{
        (void)loop_run_until(w->loop, watched_never_, NULL, ms);
}

static inline void watched_explain_(struct watched *w)
{
        size_t a = 0, b = 0;

        while (a < w->replay.n || b < w->disk.n) {
                const char *x = a < w->replay.n ? w->replay.items[a] : NULL;
                const char *y = b < w->disk.n ? w->disk.items[b] : NULL;
                int order = !x ? 1 : !y ? -1 : strcmp(x + 1, y + 1);

                if (order < 0)
                        fprintf(stderr, "# only told: %s\n", x);
                if (order > 0)
                        fprintf(stderr, "# only on the disk: %s\n", y);
                a += order <= 0;
                b += order >= 0;
        }
}

/* Until all was told: that must be what is on the disk. Nobody may change it any more. */
static inline void watched_settle(struct watched *w)
{
        watched_wait_idle(w);
        assert_int_equal(w->n_ends, 0);
        replay_scan(&w->disk, w->root);
        if (!replay_equals(&w->replay, &w->disk)) {
                watched_explain_(w);
                fail_msg("what was told is not what is on the disk");
        }
}

static inline void watched_make_file(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (fd < 0 || write(fd, "text", 4) != 4)
                abort();
        close(fd);
}

static inline void watched_make_directory(const char *path)
{
        if (mkdir(path, 0755) < 0)
                abort();
}

/* @n files, 20 in each directory, 10 directories below each other. */
static inline void watched_make_files(const char *root, unsigned n)
{
        char *directory = xstrdup(root);

        for (unsigned i = 0; i < n; i++) {
                char *path;

                if (i % 20 == 0) {
                        path = i % 200 == 0 ? xasprintf("%s/d%u", root, i)
                                            : xasprintf("%s/d%u", directory, i);
                        watched_make_directory(path);
                        free(directory);
                        directory = path;
                }
                path = xasprintf("%s/f%u", directory, i);
                watched_make_file(path);
                free(path);
        }
        free(directory);
}
