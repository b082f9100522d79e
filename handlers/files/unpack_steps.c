/* SPDX-License-Identifier: Apache-2.0 */

/* The library wants to be called once and to ask for bytes; it cannot be interrupted. So it has a thread of its own,
 * and the two take turns: a step wakes the thread and waits until that wants bytes, has ended, or has worked for long
 * enough. Only one of them runs at any time, so nothing has to be locked, and between two steps the thread waits,
 * which is not a worker's time. It acts as the user for all of its life. */

#include "handlers/files/unpack_steps.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/files/outcome.h"

#define SLICE_MS 100

enum state { WANTS_INPUT, IS_BUSY, HAS_ENDED };

struct unpack_steps {
        struct unpack_steps_options options;
        char *path; /* a copy of options.path */
        pthread_t thread;
        sem_t go;   /* the thread's turn */
        sem_t done; /* the step's turn */

        /* Whose turn it is may use these. */
        const char *data;
        size_t size;
        bool is_last;
        bool is_aborted;
        const char *target;
        bool overwrite;
        enum state state;
        uint64_t end_ms; /* of the slice */
        struct unpack_result result;
        int r;
        struct error err;
};

static atomic_uint n_running;

/* --- the thread --- */

static void wait_for(sem_t *s)
{
        while (sem_wait(s) < 0 && errno == EINTR)
                ;
}

static int check(const struct unpack_steps *s)
{
        return s->is_aborted || atomic_load_explicit(s->options.cancel, memory_order_relaxed)
                       ? -ECANCELED
                       : 0;
}

static int yield(struct unpack_steps *s, enum state state)
{
        s->state = state;
        sem_post(&s->done);
        wait_for(&s->go);
        s->end_ms = clock_now_ms() + SLICE_MS;
        return check(s);
}

static int on_step(void *arg)
{
        struct unpack_steps *s = arg;

        return clock_now_ms() >= s->end_ms ? yield(s, IS_BUSY) : check(s);
}

static ssize_t on_read(void *arg, const void **ret)
{
        struct unpack_steps *s = arg;
        size_t n;

        while (s->size == 0 && !s->is_last) {
                int r = yield(s, WANTS_INPUT);

                if (r < 0)
                        return r;
        }
        n = s->size;
        s->size = 0;
        *ret = s->data;
        return (ssize_t)n;
}

/* What follows the archive, and does not count. */
static int read_rest(struct unpack_steps *s)
{
        const void *ignored;
        ssize_t n;

        do
                n = on_read(s, &ignored);
        while (n > 0);
        return (int)n;
}

static int work(struct unpack_steps *s)
{
        const struct unpack_options o = { .roots = s->options.roots,
                                          .path = s->path,
                                          .max_size = s->options.max_size,
                                          .read = on_read,
                                          .step = on_step,
                                          .arg = s };
        const char *path = s->path ? s->path : s->options.roots->workspace;
        CLEANUP(files_scope_leave) struct files_scope scope = { NULL };
        struct unpack *u = NULL;
        int r = roots_enter(s->options.roots, &scope, path, &s->err);

        if (r == 0)
                r = unpack_new(&o, &u, &s->err);
        if (r == 0)
                r = unpack_read(u, &s->err);
        if (r == 0)
                r = read_rest(s);
        if (r == 0)
                r = unpack_commit(u, s->target, s->overwrite, &s->result, &s->err);
        unpack_free(u);
        return r;
}

static void *run(void *arg)
{
        struct unpack_steps *s = arg;

        wait_for(&s->go);
        s->end_ms = clock_now_ms() + SLICE_MS;
        s->r = work(s);
        s->state = HAS_ENDED;
        sem_post(&s->done);
        return NULL;
}

/* --- steps --- */

/* See the header. */
int unpack_steps_resume(struct unpack_steps *s, struct error *err)
{
        if (s->state != HAS_ENDED) {
                sem_post(&s->go);
                wait_for(&s->done);
        }
        if (s->state == IS_BUSY)
                return -EAGAIN;
        if (s->state == HAS_ENDED && s->r != 0)
                *err = s->err;
        return s->state == HAS_ENDED ? s->r : 0;
}

/* See the header. */
int unpack_steps_new(const struct unpack_steps_options *o, struct unpack_steps **ret,
                     struct error *err)
{
        struct unpack_steps *s;
        int r;

        if (atomic_fetch_add(&n_running, 1) >= LIMIT_EXTRACTIONS) {
                atomic_fetch_sub(&n_running, 1);
                return error_set_field(err, -EUSERS, "",
                                       "%d archives are being unpacked: try again later",
                                       LIMIT_EXTRACTIONS);
        }
        s = xnew(struct unpack_steps);
        s->options = *o;
        s->path = o->path ? xstrdup(o->path) : NULL;
        s->state = WANTS_INPUT;
        (void)sem_init(&s->go, 0, 0); /* fails for bad arguments only, as the next one */
        (void)sem_init(&s->done, 0, 0);
        r = pthread_create(&s->thread, NULL, run, s);
        if (r != 0) {
                atomic_fetch_sub(&n_running, 1);
                free(s->path);
                free(s);
                return error_set_field(err, -EUSERS, "", "there is no thread for this now");
        }
        /* A step without input: it ends where the first bytes are wanted. */
        do
                r = unpack_steps_resume(s, err);
        while (r == -EAGAIN);
        if (r != 0)
                (void)unpack_steps_free(s);
        else
                *ret = s;
        return r;
}

/* See the header. */
int unpack_steps_feed(struct unpack_steps *s, const void *data, size_t size, struct error *err)
{
        s->data = data;
        s->size = size;
        return unpack_steps_resume(s, err);
}

/* See the header. */
int unpack_steps_finish(struct unpack_steps *s, const char *path, bool overwrite, struct error *err)
{
        s->is_last = true;
        s->target = path;
        s->overwrite = overwrite;
        return unpack_steps_resume(s, err);
}

/* See the header. */
struct unpack_result unpack_steps_result(const struct unpack_steps *s)
{
        return s->result;
}

/* See the header. */
struct unpack_steps *unpack_steps_free(struct unpack_steps *s)
{
        if (!s)
                return NULL;
        s->is_aborted = true;
        while (s->state != HAS_ENDED) {
                sem_post(&s->go);
                wait_for(&s->done);
        }
        (void)pthread_join(s->thread, NULL); /* it has said that it ends */
        atomic_fetch_sub(&n_running, 1);
        (void)sem_destroy(&s->go);
        (void)sem_destroy(&s->done);
        free(s->path);
        free(s);
        return NULL;
}
