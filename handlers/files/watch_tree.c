/* SPDX-License-Identifier: Apache-2.0 */

/* A worker finds out, under the policy and with the user's rights, which directory a path is; the engine is told that
 * directory's identity, so whatever is put at its path afterwards is not watched. A file is watched in its directory,
 * where nothing but its name counts. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/files/outcome.h"
#include "agent/files/place.h"
#include "agent/files/roots.h"
#include "agent/loop/job.h"
#include "handlers/files/common.h"
#include "handlers/files/watch_private.h"

/* Somebody who renames a directory again and again is not waited for. */
#define MAX_RENAMES 16

static unsigned
        n_resolving; /* paths, of all connections, whether somebody still wants to know or not */

/* --- finding it --- */

struct resolution {
        struct watched_tree *tree; /* not for the worker */
        const struct roots *roots;
        char *path;

        int r;
        struct error err;
        char *shown;
        char *real;
        char *name; /* of a file; NULL: real is what was asked for */
        dev_t device;
        ino_t inode;
};

static void resolution_free(struct resolution *x)
{
        free(x->path);
        free(x->shown);
        free(x->real);
        free(x->name);
        free(x);
}

static bool has_dots(const char *path)
{
        return strstr(path, "..") != NULL; /* once too often: then it is shown where it really is */
}

static int resolve_file(struct resolution *x, const struct place *file)
{
        struct place p = PLACE_INIT;
        const char *name = files_base_name(file->path);
        CLEANUP(mem_free) char *parent = NULL;
        int r;

        if (!S_ISREG(file->st.st_mode))
                return files_fail(&x->err, FILES_E_SPECIAL, x->path);
        parent = xstrndup(file->path, MAX((size_t)(name - file->path - 1), (size_t)1));
        r = place_find(x->roots, parent, PLACE_FOLLOW, 0, &p, &x->err);
        if (r != 0)
                return r;
        x->name = xstrdup(name);
        x->real = xstrdup(p.path);
        x->device = p.st.st_dev;
        x->inode = p.st.st_ino;
        place_done(&p);
        return 0;
}

/* Where the path leads. It is found until two answers agree: where a thing is may be younger than the way to it, and a
 * directory that was renamed in between would be watched under a name that nobody has asked for. */
static int find(struct resolution *x, struct place *ret)
{
        int r = place_find(x->roots, x->path, PLACE_FOLLOW, 0, ret, &x->err);

        for (unsigned i = 0; r == 0 && i < MAX_RENAMES; i++) {
                struct place first = *ret;
                bool is_same;

                *ret = (struct place)PLACE_INIT;
                r = place_find(x->roots, x->path, PLACE_FOLLOW, 0, ret, &x->err);
                is_same = r == 0 && str_equal(first.path, ret->path);
                place_done(&first);
                if (is_same)
                        return 0;
        }
        return r != 0 ? r : files_fail(&x->err, FILES_E_BUSY, x->path);
}

static int resolve(struct resolution *x)
{
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        CLEANUP(place_done) struct place p = PLACE_INIT;
        struct error ignored = ERROR_INIT;
        int r;

        r = roots_enter(x->roots, &scope, x->path, &x->err);
        if (r != 0)
                return r;
        r = find(x, &p);
        if (r != 0)
                return r;
        if (has_dots(x->path) ||
            path_normalize(x->roots->workspace, x->path, &x->shown, &ignored) < 0)
                x->shown = xstrdup(p.path);
        if (!S_ISDIR(p.st.st_mode))
                return resolve_file(x, &p);
        x->real = xstrdup(p.path);
        x->device = p.st.st_dev;
        x->inode = p.st.st_ino;
        return 0;
}

static void run_resolution(void *arg)
{
        struct resolution *x = arg;

        x->r = resolve(x);
}

/* --- what is told about it --- */

/* The name under which the client knows @path: the one that it has used. *ret_copy is to be freed. */
static const char *show(const struct watched_tree *t, const char *path, char **ret_copy)
{
        size_t size = strlen(t->real);
        const char *rest = path + (size == 1 ? 0 : size);

        if (t->is_file)
                return t->shown;
        if (str_equal(t->shown, t->real))
                return path;
        *ret_copy = xasprintf("%s%s", t->shown[1] ? t->shown : "", rest);
        return *ret_copy;
}

/* Says why, and ends. */
static void fail(struct watched_tree *t, enum problem p, const char *field, const char *message)
{
        struct watcher *w = t->watcher;

        watcher_send_error(w, p, field, t->asked, message);
        (void)tree_free(t);
        watcher_check_over(w);
}

static void on_ready(struct watch *watch, void *arg)
{
        struct watched_tree *t = arg;

        (void)watch;
        t->is_ready = true;
        watcher_send_status(t->watcher, "Watching", t->shown);
        if (t->is_file && !t->exists) /* any more: it was there when the path was looked up */
                (void)watcher_send_change(t->watcher, WATCH_DELETED, false, t->shown, NULL,
                                          t->is_batched);
}

static void on_overflow(struct watch *watch, void *arg)
{
        struct watched_tree *t = arg;

        (void)watch;
        watcher_send_overflow(t->watcher, t->shown);
}

static bool tell(struct watched_tree *t, const struct watch_event *event)
{
        CLEANUP(mem_free) char *path = NULL;
        CLEANUP(mem_free) char *old_path = NULL;
        const char *shown = show(t, event->path, &path);
        const char *old = event->old_path ? show(t, event->old_path, &old_path) : NULL;

        t->exists = event->type != WATCH_DELETED;
        return watcher_send_change(t->watcher, event->type, event->is_directory, shown, old,
                                   t->is_batched);
}

static void on_events(struct watch *watch, const struct watch_event *events, size_t n, void *arg)
{
        struct watched_tree *t = arg;

        (void)watch;
        for (size_t i = 0; i < n; i++) {
                if (!t->is_ready) {
                        t->exists = events[i].type != WATCH_DELETED; /* the file: see start() */
                        continue;
                }
                if (tell(t, &events[i]))
                        continue;
                fail(t, PROBLEM_INVALID_PATH, "/path",
                     "below the watched directory there is a path that is too long to be told");
                return;
        }
}

static enum problem problem_of_end(int code)
{
        switch (code) {
        case -ENOENT:
        case -ENOTDIR:
        case -ELOOP:
        case -ESTALE:
                return PROBLEM_DIRECTORY_NOT_FOUND;
        case -EACCES:
        case -EPERM:
                return PROBLEM_PERMISSION_DENIED;
        case -E2BIG:
                return PROBLEM_LIMIT_REACHED;
        default:
                return PROBLEM_UNAVAILABLE;
        }
}

static void on_end(struct watch *watch, enum watch_end end, const struct error *err, void *arg)
{
        struct watched_tree *t = arg;

        (void)watch;
        if (end == WATCH_GONE && t->is_ready && (!t->is_file || t->exists))
                (void)watcher_send_change(t->watcher, WATCH_DELETED, !t->is_file, t->shown, NULL,
                                          t->is_batched);
        fail(t, problem_of_end(err->code), "/path", err->message);
}

/* --- its beginning and its end --- */

static void start(struct watched_tree *t, struct resolution *x)
{
        struct watch_options options = {
                .is_recursive = t->is_recursive,
                .root_device = x->device,
                .root_inode = x->inode,
                .on_ready = on_ready,
                .on_events = on_events,
                .on_overflow = on_overflow,
                .on_end = on_end,
                .arg = t,
        };
        struct error err = ERROR_INIT;
        int r;

        if (x->name) {
                t->is_file = true;
                options.reports_existing = true; /* or else it has gone in the meantime */
                watch_rules_set_only(t->rules, x->name);
        }
        t->shown = STEAL(x->shown);
        t->real = STEAL(x->real);
        watch_rules_apply(t->rules, t->real, &options);
        r = watch_new(watcher_engine(), t->real, &options, &t->watch, &err);
        if (r < 0) {
                fail(t, r == -EAGAIN ? PROBLEM_LIMIT_REACHED : PROBLEM_UNAVAILABLE, NULL,
                     err.message);
                return;
        }
        t->rules = NULL;
        watch_pause(t->watch, t->watcher->is_paused);
}

static void on_resolved(void *arg)
{
        struct resolution *x = arg;
        struct watched_tree *t = x->tree;

        n_resolving--;
        t->is_resolving = false;
        if (!t->watcher)
                (void)tree_free(t);
        else if (x->r != 0)
                fail(t, files_problem(x->r), "/path", x->err.message);
        else
                start(t, x);
        resolution_free(x);
}

/* See watch_private.h. */
bool tree_may_begin(void)
{
        return n_resolving < LIMIT_WATCHES_ALL + LIMIT_WATCHES_ENDING;
}

/* See watch_private.h. */
void tree_new(struct watcher *w, const char *path, bool is_recursive, bool is_batched,
              struct watch_rules *rules)
{
        struct watched_tree *t = xnew(struct watched_tree);
        struct resolution *x = xnew(struct resolution);

        t->watcher = w;
        t->asked = xstrdup(path);
        t->rules = rules;
        t->is_recursive = is_recursive;
        t->is_batched = is_batched;
        list_append(&w->trees, &t->link);
        w->n_trees++;

        x->tree = t;
        x->roots = w->app->roots;
        x->path = xstrdup(path);
        t->is_resolving = true;
        n_resolving++;
        if (job_run(w->app->loop, x, run_resolution, on_resolved) < 0)
                abort(); /* it only fails without a function */
}

/* See watch_private.h. */
struct watched_tree *tree_free(struct watched_tree *t)
{
        if (!t)
                return NULL;
        if (t->watcher) {
                list_remove(&t->link);
                t->watcher->n_trees--;
                t->watcher = NULL;
        }
        t->watch = watch_free(t->watch);
        if (t->is_resolving) /* then on_resolved comes here again */
                return NULL;
        t->rules = watch_rules_free(t->rules);
        free(t->asked);
        free(t->shown);
        free(t->real);
        free(t);
        return NULL;
}

/* See watch_private.h. */
struct watched_tree *tree_find(struct watcher *w, const char *path)
{
        CLEANUP(mem_free) char *plain = NULL;
        struct error ignored = ERROR_INIT;

        if (path_normalize(w->app->roots->workspace, path, &plain, &ignored) < 0)
                return NULL;
        list_for_each(pos, &w->trees) {
                struct watched_tree *t = list_entry(pos, struct watched_tree, link);

                if (str_equal(t->asked, path) || (t->shown && str_equal(t->shown, plain)))
                        return t;
        }
        return NULL;
}
