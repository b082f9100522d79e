/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* watch.c is one watch: when it looks, and how it tells. watches.c is what they share: the inotify instance. */

#include <uv.h>

#include "agent/base/list.h"
#include "agent/watch/marks.h"
#include "agent/watch/pass.h"
#include "agent/watch/watch.h"

struct timer;

/* For what goes on in the next turn of the loop. Not 0: a timer of that may run again in the same turn. */
#define WATCH_NEXT_TURN_MS 1

/* Lives as long as something uses its descriptor; the workers do. */
struct instance {
        struct watches *ws;
        struct loop *loop;
        uv_poll_t poll;
        uv_check_t turn; /* of the loop, in which */
        size_t n_told;   /* so many events were handed over */
        int fd;
        unsigned n_live; /* watches that want to hear */
        unsigned n_refs; /* and those that are being taken apart, and the two handles */
};

struct watches {
        struct loop *loop;
        struct instance *instance; /* NULL: there are no watches */
        struct list live;
        unsigned n_left; /* watches that are not freed yet */
        bool is_freed;

        struct timer *timer; /* for the next of these: */
        int *released; /* descriptors that are not wanted any more, unless another watch does */
        size_t n_released;
        size_t n_released_allocated;
};

enum watch_state {
        WATCH_IDLE,    /* waits for the first mark */
        WATCH_WAITING, /* for more of them; the timer runs */
        WATCH_WORKING, /* the pass is with a worker; nothing of it may be touched */
        WATCH_TELLING, /* hands over events, some each turn */
        WATCH_ENDED,
};

struct watch {
        struct list link;
        struct watches *ws;
        struct instance *instance;
        struct watch_options options;
        struct pass *pass;
        struct marks marks; /* for the next pass */
        struct marks taken; /* the worker's */
        struct origins origins;
        struct timer *timer;
        enum watch_state state;
        enum pass_result result; /* of the last step */
        size_t next_event;
        bool begins; /* the step is the first of its pass */
        bool is_ready;
        bool is_paused;
        bool is_freed;
        bool has_told_overflow;
        unsigned n_denied; /* the worker has the pass's */
        int *descriptors;  /* when it is taken apart */
        size_t n_descriptors;
};

/* watches.c */
int watches_open(struct watches *ws, struct error *err);
void instance_ref(struct instance *i);
void instance_unref(struct instance *i);
/* One that wanted to hear does not any more. */
void instance_leave(struct instance *i);
void watches_release(struct watches *ws, const struct instance *i, const int *wds, size_t n);
/* There is one more watch; it has been freed for good. */
void watches_remember(struct watches *ws);
void watches_forget(struct watches *ws);

/* watch.c */
void watch_hear(struct watch *w, int wd, uint32_t mask, uint32_t cookie, const char *name);
void watch_hear_overflow(struct watch *w);
