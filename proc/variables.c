/* SPDX-License-Identifier: Apache-2.0 */

/* One batch of changes at a time: a worker applies them to a copy, which it writes, and which then becomes what is in
 * force. Each change may need a copy of a thousand variables, so not even that is done on the loop. */

#include "proc/variables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "proc/variables_private.h"

#define LOG_MODULE "env"
#include "agent/base/log.h"

struct waiting {
        struct list link;
        struct variables_change change;
        int result;
        size_t n_removed;
};

struct variables {
        struct loop *loop;
        char *dir; /* NULL: not kept */
        struct variables_state state;
        struct list waiting; /* for the next batch */

        /* The batch that is being written. Its state and error are the worker's meanwhile. */
        struct list batch;
        struct variables_state next;
        int result;
        struct error error;
        bool is_busy;

        struct timer *turn; /* of the loop, in which the next batch begins */
        void (*on_change)(void *arg);
        void *watcher;
        void (*on_closed)(void *arg);
        void *arg;
};

/* --- one change --- */

/* As the kernel counts them: strings and pointers. */
static size_t size_of(json_t *entries)
{
        const char *name;
        json_t *value;
        size_t size = 0;

        json_object_foreach(entries, name, value)
                size += strlen(name) + json_string_length(value) + 2 + sizeof(char *);
        return size;
}

static void remove_entries(json_t *from, json_t *entries)
{
        const char *name;
        json_t *value;

        json_object_foreach(entries, name, value)
                (void)json_object_del(from, name); /* it may not be there */
}

static size_t n_missing(json_t *before, const json_t *after)
{
        const char *name;
        json_t *value;
        size_t n = 0;

        json_object_foreach(before, name, value)
                n += json_object_get(after, name) == NULL;
        return n;
}

/* The entries to be set: those with the mask are what they were, or nothing. */
static void set_entries(json_t *to, const json_t *before, const struct variables_change *c)
{
        const char *name;
        json_t *value;

        json_object_foreach(c->entries, name, value) {
                if (c->masked && str_equal(json_string_value(value), c->masked))
                        value = json_object_get(before, name);
                if (value)
                        (void)json_object_set(to, name, value);
        }
}

static int check(json_t *entries)
{
        if (json_object_size(entries) > LIMIT_ENV_ENTRIES)
                return VARIABLES_E_TOO_MANY;
        return size_of(entries) > LIMIT_ENV_BYTES ? VARIABLES_E_TOO_BIG : 0;
}

static int64_t new_timestamp(const struct variables_state *s, const struct variables_change *c)
{
        if (c->verb == VARIABLES_CLEAR)
                return MIN(s->timestamp_us, clock_realtime_s() * 1000000);
        return c->timestamp_us ? c->timestamp_us : s->timestamp_us;
}

static int apply(struct variables_state *s, const struct variables_change *c, size_t *ret_n_removed)
{
        bool is_new = c->verb == VARIABLES_REPLACE || c->verb == VARIABLES_CLEAR;
        json_t *entries;
        int r;

        if (c->timestamp_us && c->timestamp_us < s->timestamp_us)
                return VARIABLES_E_OLD;
        entries = is_new ? json_object() : json_copy(s->entries);
        if (c->verb == VARIABLES_REMOVE)
                remove_entries(entries, c->entries);
        else if (c->verb != VARIABLES_CLEAR)
                set_entries(entries, s->entries, c);
        r = check(entries);
        if (r != 0) {
                json_decref(entries);
                return r;
        }
        *ret_n_removed = n_missing(s->entries, entries);
        s->timestamp_us = new_timestamp(s, c);
        json_decref(s->entries);
        s->entries = entries;
        return 0;
}

/* --- batches --- */

static void answer(struct waiting *w, int result, const struct error *err)
{
        list_remove(&w->link);
        json_decref(w->change.entries);
        w->change.done(w->change.arg, result, w->n_removed, err);
        free(w);
}

static void refuse(struct list *waiting)
{
        struct error err = ERROR_INIT;

        (void)error_set(&err, -ESHUTDOWN, "the agent is shutting down");
        list_for_each_safe(item, waiting)
                answer(list_entry(item, struct waiting, link), -ESHUTDOWN, &err);
}

static void close_if_idle(struct variables *v)
{
        if (v->on_closed && !v->is_busy)
                v->on_closed(v->arg);
}

/* On a worker's thread. */
static void apply_and_write(void *arg)
{
        struct variables *v = arg;

        list_for_each(item, &v->batch) {
                struct waiting *w = list_entry(item, struct waiting, link);

                w->result = apply(&v->next, &w->change, &w->n_removed);
        }
        v->result = v->dir && v->next.entries != v->state.entries
                            ? variables_file_write(v->dir, &v->next, &v->error)
                            : 0;
}

static void end_batch(void *arg)
{
        struct variables *v = arg;
        bool is_other = v->result == 0 && v->next.entries != v->state.entries;
        struct list ended;

        if (v->result == 0) {
                json_decref(v->state.entries);
                v->state = v->next;
        } else {
                json_decref(v->next.entries);
                log_error("variables not kept", "error=%s", log_quote(v->error.message));
        }
        v->next.entries = NULL;
        list_init(&ended);
        list_for_each_safe(item, &v->batch) {
                list_remove(item);
                list_append(&ended, item);
        }
        v->is_busy = false;
        if (!v->on_closed && !list_is_empty(&v->waiting))
                timer_start(v->turn, 0);
        if (is_other && !v->on_closed && v->on_change)
                v->on_change(v->watcher);
        list_for_each_safe(item, &ended) {
                struct waiting *w = list_entry(item, struct waiting, link);
                bool was_applied = w->result == 0;

                answer(w, was_applied ? v->result : w->result, &v->error);
        }
        close_if_idle(v);
}

static void begin_batch(void *arg)
{
        struct variables *v = arg;

        if (v->is_busy || list_is_empty(&v->waiting))
                return;
        v->next = (struct variables_state){
                .entries = json_incref(v->state.entries),
                .timestamp_us = v->state.timestamp_us,
        };
        list_for_each_safe(item, &v->waiting) {
                list_remove(item);
                list_append(&v->batch, item);
        }
        v->error = (struct error)ERROR_INIT;
        v->is_busy = true;
        if (job_run(v->loop, v, apply_and_write, end_batch) < 0) {
                v->result = error_set(&v->error, -EAGAIN, "no worker thread");
                end_batch(v);
        }
}

/* See the header. */
int variables_apply(struct variables *v, const struct variables_change *change)
{
        struct waiting *w;

        if (v->on_closed) {
                json_decref(change->entries);
                return -ESHUTDOWN;
        }
        w = xnew(struct waiting);
        w->change = *change;
        list_append(&v->waiting, &w->link);
        if (!v->is_busy)
                timer_start(v->turn, 0);
        return 0;
}

/* --- life --- */

/* See the header. */
struct variables *variables_new(struct loop *l, const char *dir, bool is_kept)
{
        struct variables *v = xnew(struct variables);
        struct error why = ERROR_INIT;

        v->loop = l;
        v->dir = is_kept ? xstrdup(dir) : NULL;
        list_init(&v->waiting);
        list_init(&v->batch);
        v->turn = timer_new(l, begin_batch, v);
        if (!is_kept) {
                variables_file_remove(dir);
                v->state.entries = json_object();
        } else if (variables_file_read(dir, &v->state, &why) < 0) {
                log_warning("the global variables are lost", "error=%s", log_quote(why.message));
                variables_file_set_aside(dir);
        }
        return v;
}

/* See the header. */
void variables_close(struct variables *v, void (*on_closed)(void *arg), void *arg)
{
        v->on_closed = on_closed;
        v->arg = arg;
        v->turn = timer_free(v->turn);
        refuse(&v->waiting);
        close_if_idle(v);
}

/* See the header. */
struct variables *variables_free(struct variables *v)
{
        if (!v)
                return NULL;
        json_decref(v->state.entries);
        free(v->dir);
        free(v);
        return NULL;
}

/* See the header. */
void variables_watch(struct variables *v, void (*on_change)(void *arg), void *arg)
{
        v->on_change = on_change;
        v->watcher = arg;
}

/* See the header. */
json_t *variables_get(const struct variables *v)
{
        return v->state.entries;
}
