/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Shared by the parts of GET /files/watch:
 *
 *     watch.c        the connection: what the client sends
 *     watch_tree.c   one watch: where it is, and what is told about it
 *     watch_rules.c  what of a tree is left out; what worker threads use
 *     watch_send.c   messages on their way to the client, in order
 */

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "agent/base/list.h"
#include "agent/http/problem.h"
#include "agent/json/field.h"
#include "agent/watch/watch.h"

struct app;
struct channel;
struct roots;

/* One connection. */
struct watcher {
        struct app *app;
        struct channel *channel;
        char *request_id;
        struct list trees;
        unsigned n_trees;

        struct list queue;  /* of messages */
        size_t queued;      /* bytes in it */
        unsigned n_answers; /* messages in it that are no changes */
        bool is_paused;     /* its trees are: the queue is long */
        bool is_over;       /* close when the queue is empty */
};

/* One watch of a connection. */
struct watched_tree {
        struct list link;
        struct watcher *
                watcher; /* NULL: a worker still looks for a path that nobody wants to know any more */
        char *asked;     /* the path as the client wrote it */
        char *shown;     /* the same, absolute; NULL: not known yet */
        char *real;      /* what is watched: shown, or the directory that the file is in */
        struct watch_rules *rules; /* NULL: given to the engine */
        struct watch *watch;       /* NULL: it has not begun */
        bool is_recursive;
        bool is_batched;
        bool is_file;
        bool is_ready;
        bool exists; /* the file */
        bool is_resolving;
};

/* watch.c */
/* What a client may send. */
extern const struct json_field files_watch_args[];
extern const struct json_field files_unwatch_args[];
/* The engine of all connections; there is one while there are connections. */
struct watches *watcher_engine(void);
/* A watch has ended by itself, and the client knows: without any other there is nothing left to tell. */
void watcher_check_over(struct watcher *w);

/* watch_tree.c */
/* False: too many paths are being looked up. */
bool tree_may_begin(void);
/* Begins to watch @path; the client is told what comes of it. Takes @rules. */
void tree_new(struct watcher *w, const char *path, bool is_recursive, bool is_batched,
              struct watch_rules *rules);
/* Nothing is told about it any more. Returns NULL. */
struct watched_tree *tree_free(struct watched_tree *t);
struct watched_tree *tree_find(struct watcher *w, const char *path);

/* watch_rules.c */
/* @patterns: a list of strings, or NULL for the default rules. -EINVAL, -E2BIG: see glob_new; @err blames its field. */
int watch_rules_new(const struct roots *roots, const json_t *patterns, struct watch_rules **ret,
                    struct error *err);
struct watch_rules *watch_rules_free(struct watch_rules *r);
/* Nothing but @name, which is in the root, counts. */
void watch_rules_set_only(struct watch_rules *r, const char *name);
/* Makes @o work by the rules, as the user. Takes @r, once watch_new has succeeded. @root: the watched directory. */
void watch_rules_apply(struct watch_rules *r, const char *root, struct watch_options *o);

/* watch_send.c */
/* Each goes behind what is waiting already. @path may be NULL. */
void watcher_send_status(struct watcher *w, const char *verb, const char *path);
void watcher_send_overflow(struct watcher *w, const char *path);
void watcher_send_error(struct watcher *w, enum problem p, const char *field, const char *path,
                        const char *message);
/* @old_path: of a rename. False: the paths are too long for a frame, and nothing is sent. */
bool watcher_send_change(struct watcher *w, enum watch_type type, bool is_directory,
                         const char *path, const char *old_path, bool is_batched);
/* The channel's callback. */
void watcher_on_writable(void *arg);
void watcher_drop_queue(struct watcher *w);
