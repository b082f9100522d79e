/* SPDX-License-Identifier: Apache-2.0 */

/* One inotify instance for all watches, because the kernel lets a user have only 128 of them. Two watches of the same
 * directory get the same descriptor from the kernel. Nobody keeps a table of that: each watch has its own of the
 * descriptors it knows, and an event goes to each that knows it. A watch whose pass is with a worker hears everything,
 * because nobody knows which descriptors it will come back with; it drops later what it does not know.
 *
 * A descriptor that one watch drops is removed unless another one knows it. If one with a worker has just got it, it is
 * removed all the same: the kernel reports that (IN_IGNORED), and the watch adds and scans the directory again. */

#include "agent/watch/watch_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "agent/watch/hash.h"

/* One turn. */
#define READ_BYTES      (4 * KIB)
#define READ_BYTES_MANY (1 * KIB) /* for this many watches, each of which may want every event: */
#define MANY            16
#define READS           16
#define READ_US         500
#define RELEASED_A_TURN 64

static unsigned n_all; /* in the process */

static void on_turn(void *arg);

/* See the header. */
struct watches *watches_new(struct loop *l)
{
        struct watches *ws = xnew(struct watches);

        (void)hash_secret();
        ws->loop = l;
        ws->timer = timer_new(l, on_turn, ws);
        list_init(&ws->live);
        return ws;
}

static void maybe_free(struct watches *ws)
{
        if (!ws->is_freed || ws->n_left > 0)
                return;
        free(ws->released);
        free(ws);
}

/* See the header. */
struct watches *watches_free(struct watches *ws)
{
        if (!ws)
                return NULL;
        assert(list_is_empty(&ws->live));
        ws->timer = timer_free(ws->timer);
        ws->is_freed = true;
        maybe_free(ws);
        return NULL;
}

/* See the header. */
void watch_count_all(struct watch_totals *ret)
{
        *ret = (struct watch_totals){
                .n_watches = n_all,
                .n_directories = mirror_all_watched(),
                .n_entries = mirror_all_entries(),
        };
}

/* There is one more watch. */
void watches_remember(struct watches *ws)
{
        ws->n_left++;
        n_all++;
}

/* A watch has been freed for good. */
void watches_forget(struct watches *ws)
{
        ws->n_left--;
        n_all--;
        maybe_free(ws);
}

struct closing {
        int fd;
};

/* Removes all watches that are left, which takes the kernel a while. */
static void run_close(void *job)
{
        struct closing *c = job;

        c->fd = fd_close(c->fd);
}

/* Another user of the descriptor. */
void instance_ref(struct instance *i)
{
        i->n_refs++;
}

/* The last one closes the descriptor, on a worker. */
void instance_unref(struct instance *i)
{
        struct closing *c;

        if (--i->n_refs > 0)
                return;
        c = xnew(struct closing);
        c->fd = i->fd;
        if (job_run(i->loop, c, run_close, free) < 0) {
                run_close(c);
                free(c);
        }
        free(i);
}

static void on_handle_closed(uv_handle_t *handle)
{
        instance_unref(handle->data);
}

/* See the header. The last one ends the hearing. */
void instance_leave(struct instance *i)
{
        if (--i->n_live > 0)
                return;
        i->ws->instance = NULL;
        i->ws->n_released = 0;
        uv_close((uv_handle_t *)&i->poll, on_handle_closed);
        uv_close((uv_handle_t *)&i->turn, on_handle_closed);
}

static void hear(struct watches *ws, const struct inotify_event *event)
{
        list_for_each(link, &ws->live) {
                struct watch *w = list_entry(link, struct watch, link);

                if (event->mask & IN_Q_OVERFLOW)
                        watch_hear_overflow(w);
                else
                        watch_hear(w, event->wd, event->mask, event->cookie,
                                   event->len > 0 ? event->name : "");
        }
}

/* What is left for the next turn waits in the kernel. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct instance *i = container_of(poll, struct instance, poll);
        _Alignas(struct inotify_event) char buffer[READ_BYTES];
        uint64_t end_us = clock_now_us() + READ_US;
        size_t most = i->n_live < MANY ? sizeof(buffer) : READ_BYTES_MANY;
        ssize_t size;

        (void)events;
        if (status < 0)
                return;
        for (unsigned n = 0; n < READS && (n == 0 || clock_now_us() < end_us); n++) {
                size = read(i->fd, buffer, most);
                if (size <= 0)
                        return;
                for (ssize_t at = 0; at < size;) {
                        const struct inotify_event *event = (const struct inotify_event *)(buffer +
                                                                                           at);

                        hear(i->ws, event);
                        at += (ssize_t)(sizeof(*event) + event->len);
                }
        }
}

static void on_turn_end(uv_check_t *turn)
{
        struct instance *i = turn->data;

        i->n_told = 0;
}

/* The two limits have the same errno. */
static int explain_emfile(struct error *err)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_set(err, -EMFILE, "inotify");
        fd_close(fd);
        return error_set_field(err, -EMFILE, "",
                               "the kernel's limit of inotify instances is reached: raise the "
                               "sysctl fs.inotify.max_user_instances");
}

/* Makes the instance if there is none. */
int watches_open(struct watches *ws, struct error *err)
{
        struct instance *i;
        int fd, r;

        if (ws->instance)
                return 0;
        fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (fd < 0)
                return errno == EMFILE ? explain_emfile(err) : error_set(err, -errno, "inotify");

        i = xnew(struct instance);
        r = uv_poll_init(&ws->loop->uv, &i->poll, fd);
        if (r < 0) {
                free(i);
                fd_close(fd);
                return error_set(err, r, "poll inotify");
        }
        i->ws = ws;
        i->loop = ws->loop;
        i->fd = fd;
        i->n_refs = 2; /* the handles' */
        (void)uv_check_init(&ws->loop->uv, &i->turn);
        i->poll.data = i->turn.data = i;
        (void)uv_poll_start(&i->poll, UV_READABLE, on_readable);
        (void)uv_check_start(&i->turn, on_turn_end);
        ws->instance = i;
        return 0;
}

/* @n descriptors are not wanted any more by a watch on @i. Nothing is left to do when that has been closed. */
void watches_release(struct watches *ws, const struct instance *i, const int *wds, size_t n)
{
        if (n == 0 || ws->is_freed || ws->instance != i)
                return;
        if (ws->n_released == 0)
                timer_start(ws->timer, WATCH_NEXT_TURN_MS);
        if (ws->n_released + n > ws->n_released_allocated) {
                ws->n_released_allocated = MAX(ws->n_released + n, ws->n_released_allocated * 2);
                ws->released = xrealloc_array(ws->released, ws->n_released_allocated,
                                              sizeof(*ws->released));
        }
        memcpy(ws->released + ws->n_released, wds, n * sizeof(*wds));
        ws->n_released += n;
}

static bool is_wanted(const struct watches *ws, int wd)
{
        list_for_each(link, &ws->live) {
                const struct watch *w = list_entry(link, struct watch, link);

                if (w->state != WATCH_WORKING && w->state != WATCH_ENDED &&
                    mirror_find_watched(&w->pass->mirror, wd))
                        return true;
        }
        return false;
}

/* -EINVAL from the kernel: the directory does not exist any more. */
static void on_turn(void *arg)
{
        struct watches *ws = arg;

        for (unsigned n = 0; n < RELEASED_A_TURN && ws->n_released > 0; n++) {
                int wd = ws->released[--ws->n_released];

                if (!is_wanted(ws, wd))
                        (void)inotify_rm_watch(ws->instance->fd, wd);
        }
        if (ws->n_released > 0)
                timer_start(ws->timer, WATCH_NEXT_TURN_MS);
}
