/* SPDX-License-Identifier: Apache-2.0 */

/* Whether what a server has loaded is still what is on the disk. The kernel queues an event before the system call that
 * made the change returns: whoever installs something and then runs code finds us warned, without any waiting. That is
 * why the queue is looked at right before each warm start, and not when the loop comes to it.
 *
 * Byte code is no change: interpreters write it when they read what it is made from. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/warm_private.h"

#define EVENTS                                                                         \
        (IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | \
         IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define LOST       (IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF)
#define MAX_NAMES  8192
#define QUEUE_SIZE (16 * KIB)
/* Time stamps are taken from a clock that stands still between ticks. */
#define TICK_NS 20000000

/* Without a descriptor. */
void warm_watch_init(struct warm_watch *w)
{
        *w = (struct warm_watch){ .fd = -1 };
}

/* Harmless when it was never open. */
void warm_watch_done(struct warm_watch *w)
{
        for (size_t i = 0; i < w->n; i++)
                free(w->names[i].name);
        free(w->names);
        (void)fd_close(w->fd);
        warm_watch_init(w);
}

static void add_name(struct warm_watch *w, int wd, const char *name)
{
        if (w->n == w->capacity) {
                w->capacity = MAX(2 * w->capacity, (size_t)64);
                w->names = xrealloc_array(w->names, w->capacity, sizeof(*w->names));
        }
        w->names[w->n++] = (struct watched_name){ .wd = wd, .name = name ? xstrdup(name) : NULL };
}

static bool is_later(const struct timespec *t, const struct timespec *since)
{
        long long ns = (t->tv_sec - since->tv_sec) * 1000000000LL + t->tv_nsec - since->tv_nsec;

        return ns > -TICK_NS;
}

static bool changed_since(const char *dir, const struct timespec *since)
{
        struct stat st;

        return stat(dir, &st) < 0 || is_later(&st.st_mtim, since);
}

/* Watches @path, or the nearest directory above it that exists, for the name that is missing there. *ret_changed
 * becomes true when it was too late. */
static int add_path(struct warm_watch *w, const char *path, const struct timespec *since,
                    bool *ret_changed)
{
        CLEANUP(mem_free) char *dir = xstrdup(path);
        char *missing = NULL;

        for (;;) {
                int wd = inotify_add_watch(w->fd, *dir ? dir : "/", EVENTS | IN_MASK_ADD);
                char *slash;

                if (wd >= 0) {
                        add_name(w, wd, missing);
                        if (!missing && changed_since(dir, since))
                                *ret_changed = true;
                        return 0;
                }
                if (errno == EACCES) /* then nobody who runs code can have loaded from it */
                        return 0;
                if (errno != ENOENT && errno != ENOTDIR)
                        return -errno;
                slash = strrchr(dir, '/');
                if (!slash)
                        return 0;
                *slash = '\0';
                missing = slash + 1;
        }
}

/* See the header. */
int warm_watch_open(struct warm_watch *w, const char *paths, size_t size,
                    const struct timespec *since, struct error *err)
{
        const char *end = paths + size;
        bool has_changed = false;
        int r = 0;

        warm_watch_done(w);
        w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        if (w->fd < 0)
                return error_set(err, -errno, "inotify");
        for (; r == 0 && paths < end; paths += strlen(paths) + 1)
                if (*paths == '/')
                        r = w->n < MAX_NAMES ? add_path(w, paths, since, &has_changed) : -E2BIG;
        if (r < 0) {
                warm_watch_done(w);
                return error_set(err, r, "watch what was loaded");
        }
        return has_changed ? WARM_WATCH_E_CHANGED : 0;
}

static bool is_byte_code(const char *name)
{
        const char *dot = strrchr(name, '.');

        return str_equal(name, "__pycache__") || (dot && str_equal(dot, ".pyc"));
}

/* Whether something matters that happened to @name ("": the directory itself) in the directory @wd. */
static bool matters(const struct warm_watch *w, int wd, const char *name)
{
        for (size_t i = 0; i < w->n; i++) {
                const struct watched_name *n = &w->names[i];

                if (n->wd == wd && (!n->name || str_equal(n->name, name)))
                        return true;
        }
        return false;
}

/* See the header. */
bool warm_watch_has_changed(struct warm_watch *w)
{
        char queue[QUEUE_SIZE] __attribute__((aligned(__alignof__(struct inotify_event))));
        bool has_changed = false;
        ssize_t n;

        if (w->fd < 0)
                return false;
        while ((n = read(w->fd, queue, sizeof(queue))) > 0) {
                const char *at = queue;

                while (at < queue + n && !has_changed) {
                        const struct inotify_event *e = (const void *)at;
                        const char *name = e->len ? e->name : "";

                        has_changed = e->mask & LOST ||
                                      (!is_byte_code(name) && matters(w, e->wd, name));
                        at += sizeof(*e) + e->len;
                }
        }
        return has_changed || (n < 0 && errno != EAGAIN && errno != EINTR);
}
