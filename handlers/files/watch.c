/* SPDX-License-Identifier: Apache-2.0 */

/* A connection and its watches. A bad path ends the connection when there is nothing else on it: the public clients
 * watch one path, and wait for the end. */

#include "handlers/files/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/files/glob.h"
#include "agent/files/roots.h"
#include "agent/http/request.h"
#include "agent/json/field.h"
#include "agent/ws/channel.h"
#include "agent/ws/ws.h"
#include "handlers/files/watch_private.h"

struct watch_args {
        const char *path;
        bool recursive;
        bool batch;
        json_t *ignore;
};

struct unwatch_args {
        const char *path;
};

/* clang-format off */
const struct json_field files_watch_args[] = {
        F_STRING(struct watch_args, path, .min = 1, .max = LIMIT_FILE_PATH,
                 .doc = "Directory or file; relative ones start at the workspace, the default"),
        F_BOOL(struct watch_args, recursive, .def = true, .doc = "With everything below it"),
        F_STRING_LIST(struct watch_args, ignore, .max = LIMIT_WATCH_PATTERNS, .max_item = LIMIT_GLOB_PATTERN,
                      .doc = "Patterns of names or, with a slash, of paths below it; by default what is in .git, "
                             "node_modules and __pycache__ is left out"),
        F_BOOL(struct watch_args, batch, .doc = "Several changes in one message, of type changes"),
        F_END
};

const struct json_field files_unwatch_args[] = {
        F_STRING(struct unwatch_args, path, .required = true, .min = 1, .max = LIMIT_FILE_PATH, .doc = "As in watch"),
        F_END
};
/* clang-format on */

static struct watches *engine;
static unsigned n_watchers;

/* See watch_private.h. */
struct watches *watcher_engine(void)
{
        return engine;
}

/* See watch_private.h. */
void watcher_check_over(struct watcher *w)
{
        if (w->n_trees > 0)
                return;
        w->is_over = true;
        channel_want_write(w->channel);
}

/* --- what the client sends --- */

static void on_watch(void *arg, const void *message)
{
        const struct watch_args *args = message;
        struct watcher *w = arg;
        const char *path = args->path ? args->path : w->app->roots->workspace;
        struct watch_rules *rules = NULL;
        struct error err = ERROR_INIT;
        char text[160];

        if (w->is_over)
                return;
        if (tree_find(w, path)) {
                watcher_send_error(w, PROBLEM_INVALID_REQUEST, "/path", path,
                                   "path: it is being watched already; unwatch it first");
                return;
        }
        if (w->n_trees >= LIMIT_WATCHES) {
                (void)snprintf(text, sizeof(text),
                               "there are %u watches on this connection already; unwatch one, or "
                               "open another connection",
                               w->n_trees);
                watcher_send_error(w, PROBLEM_LIMIT_REACHED, NULL, path, text);
                return;
        }
        if (!tree_may_begin()) {
                watcher_send_error(w, PROBLEM_LIMIT_REACHED, NULL, path,
                                   "too many watches are beginning at the moment; try again later");
                watcher_check_over(w);
                return;
        }
        if (watch_rules_new(w->app->roots, args->ignore, &rules, &err) < 0) {
                watcher_send_error(w, PROBLEM_INVALID_REQUEST, err.field, path, err.message);
                watcher_check_over(w);
                return;
        }
        if (args->batch)
                channel_set_burst(w->channel);
        tree_new(w, path, args->recursive, args->batch, rules);
}

static void on_unwatch(void *arg, const void *message)
{
        const struct unwatch_args *args = message;
        struct watcher *w = arg;
        struct watched_tree *t = tree_find(w, args->path);

        if (w->is_over)
                return;
        if (!t) {
                watcher_send_error(w, PROBLEM_INVALID_REQUEST, "/path", args->path,
                                   "path: it is not being watched");
                return;
        }
        watcher_send_status(w, "Stopped watching", t->shown ? t->shown : t->asked);
        (void)tree_free(t);
}

/* --- its life --- */

/* Clients whose libraries hand over every message, however many come together. Others get their messages one by one:
 * of some it is known that they lose what comes while they are busy. */
static bool takes_bursts(struct request *req)
{
        const char *agent = request_header(req, "User-Agent");

        return agent && (strstr(agent, "websockets/") || strncmp(agent, "Mozilla/", 8) == 0);
}

static void on_shutdown(void *arg)
{
        struct watcher *w = arg;

        if (w->is_over) /* the end is on its way */
                return;
        w->is_over = true;
        channel_close(w->channel, WS_GOING_AWAY, "the agent is shutting down");
}

static void on_closed(void *arg)
{
        struct watcher *w = arg;

        list_for_each_safe(pos, &w->trees) {
                (void)tree_free(list_entry(pos, struct watched_tree, link));
        }
        if (--n_watchers == 0)
                engine = watches_free(engine);
        watcher_drop_queue(w);
        free(w->request_id);
        free(w);
}

/* Answers GET /files/watch. */
int files_watch_get(struct request *req)
{
        static const struct message_type types[] = {
                { "watch", files_watch_args, sizeof(struct watch_args), on_watch },
                { "unwatch", files_unwatch_args, sizeof(struct unwatch_args), on_unwatch },
                { NULL, NULL, 0, NULL },
        };
        static const struct channel_ops ops = {
                .types = types,
                .member = "action",
                .on_writable = watcher_on_writable,
                .on_shutdown = on_shutdown,
                .on_closed = on_closed,
        };
        struct app *app = request_app(req);
        bool may_burst = takes_bursts(req);
        struct watcher *w;

        if (!ws_admit(app->websockets, req))
                return 0;
        w = xnew(struct watcher);
        w->app = app;
        w->request_id = xstrdup(request_id(req));
        list_init(&w->trees);
        list_init(&w->queue);
        if (n_watchers++ == 0)
                engine = watches_new(app->loop);
        w->channel = channel_accept(app->websockets, app->loop, req, &ops, w);
        if (may_burst)
                channel_set_burst(w->channel);
        return 0;
}
