/* SPDX-License-Identifier: Apache-2.0 */

/* When to look, and who is told. Three kinds of looks are taken by worker threads, one of each kind at a time: at what
 * changes all the time, at the disks, and at what hardly ever changes. They do not wait for each other: a disk may be
 * one of a server that does not answer.
 *
 * How busy the processors are is the difference of two readings. While somebody asks they are a second apart; the
 * first two after a pause are PAIR_MS apart, because what happened long ago is not what was asked for. */

#include "agent/host/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "host"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/host/disks.h"
#include "agent/host/facts.h"
#include "agent/host/reading.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"

#define PERIOD_MS       1000
#define PAIR_MS         50
#define PAIR_MAX_MS     5000 /* readings that are further apart tell nothing about now */
#define DISKS_PERIOD_MS 5000
#define PATIENCE_MS     1000 /* who waits gets the last readings then, whatever they are */

/* What one worker has: its input and output. */
struct look {
        struct host *host; /* not for the worker */
        bool is_running;
};

struct host {
        struct loop *loop;
        char *root;
        char *disk_path;
        struct timer *tick;
        struct timer *patience;
        struct list waiting; /* struct host_wait */
        struct list curious; /* the same: for what hardly ever changes alone */
        unsigned n_waiting;  /* in both */
        bool is_ticking;     /* a look is going on, or the timer runs */
        bool is_closed;      /* the last look frees */
        bool is_late;        /* the disks, or what hardly ever changes, did not come in time */

        struct host_sample sample; /* the last one, complete */
        struct host_facts facts;
        uint64_t asked_ms;   /* when somebody asked for the last time */
        uint64_t sampled_ms; /* monotonic, as the following; 0: never */
        uint64_t disks_ms;
        uint64_t facts_ms;           /* 0 also after a pause */
        struct host_cpu_reading cpu; /* of the last reading */
        bool has_cpu;

        /* The workers' own, while they run. */
        struct {
                struct look look;
                struct host_reader reader;
                struct host_cpus usable;
                struct host_cpu_reading cpu;
                struct host_sample sample;
                int r;
        } reading;
        struct {
                struct look look;
                struct host_disks disks;
        } looking;
        struct {
                struct look look;
                struct host_facts facts;
        } learning;
};

/* Pauses of the agent count: the readings get older, and others work on. */
static uint64_t now_ms(void)
{
        return clock_monotonic_us() / 1000;
}

static bool is_looking(const struct host *h)
{
        return h->reading.look.is_running || h->looking.look.is_running ||
               h->learning.look.is_running;
}

static void release(struct host *h)
{
        host_reader_done(&h->reading.reader);
        free(h->root);
        free(h->disk_path);
        free(h);
}

/* The end of each look. False: that was the last, and there is no host any more. */
static bool look_ended(struct look *l)
{
        struct host *h = l->host;

        l->is_running = false;
        if (!h->is_closed)
                return true;
        if (!is_looking(h))
                release(h);
        return false;
}

static void look_start(struct look *l, struct host *h, void (*run)(void *), void (*done)(void *))
{
        int r;

        l->host = h;
        l->is_running = true;
        r = job_run(h->loop, l, run, done);
        if (r < 0) {
                l->is_running = false;
                log_debug("cannot look at the machine", "error=%s", log_quote(strerror(-r)));
        }
}

/* --- who waits --- */

static bool is_fresh(const struct host *h)
{
        return h->sampled_ms > 0 && now_ms() - h->sampled_ms <= HOST_FRESH_MS;
}

/* The first answer has to have all parts, unless one has kept somebody waiting in vain; later a part may be old. */
static bool is_ready(const struct host *h)
{
        if (!is_fresh(h))
                return false;
        return h->is_late || (h->facts_ms > 0 && (h->disks_ms > 0 || !h->looking.look.is_running));
}

static void tell(struct host *h, struct list *waiting)
{
        struct list told;

        list_init(&told);
        while (!list_is_empty(waiting)) { /* who is told may ask again at once */
                struct list *item = waiting->next;

                list_remove(item);
                list_append(&told, item);
                h->n_waiting--;
        }
        if (h->n_waiting == 0)
                timer_stop(h->patience);
        while (!list_is_empty(&told)) {
                struct host_wait *w = list_entry(told.next, struct host_wait, link);

                list_remove(&w->link);
                w->ready(w);
        }
}

static void tell_all(struct host *h)
{
        tell(h, &h->curious);
        tell(h, &h->waiting);
}

static void tell_if_ready(struct host *h)
{
        if (!list_is_empty(&h->waiting) && is_ready(h))
                tell(h, &h->waiting);
}

static void on_patience_over(void *arg)
{
        struct host *h = arg;

        h->is_late = true;
        tell_all(h);
}

/* --- the disks --- */

static void run_disks(void *job)
{
        struct host *h = ((struct look *)job)->host;

        host_disks_read(h->root, h->disk_path, &h->looking.disks);
}

static void on_disks_done(void *job)
{
        struct host *h = ((struct look *)job)->host;
        const struct host_disks *d = &h->looking.disks;

        if (!look_ended(job))
                return;
        h->disks_ms = now_ms();
        h->sample.has_disk = d->has_first;
        h->sample.disk = d->disks[0];
        h->sample.n_disks = d->n;
        memcpy(h->sample.disks, d->disks, sizeof(d->disks));
        tell_if_ready(h);
}

/* --- what hardly ever changes --- */

static void run_facts(void *job)
{
        struct host *h = ((struct look *)job)->host;

        host_facts_read(h->root, &h->learning.facts);
}

static void on_facts_done(void *job)
{
        struct host *h = ((struct look *)job)->host;

        if (!look_ended(job))
                return;
        h->facts_ms = now_ms();
        h->facts = h->learning.facts;
        tell(h, &h->curious);
        tell_if_ready(h);
}

static bool knows(const struct host *h)
{
        return h->facts_ms > 0 && now_ms() - h->facts_ms <= HOST_IDLE_MS;
}

static void learn_if_old(struct host *h)
{
        if (!h->learning.look.is_running && !knows(h))
                look_start(&h->learning.look, h, run_facts, on_facts_done);
}

/* --- what changes all the time --- */

static void run_reading(void *job)
{
        struct host *h = ((struct look *)job)->host;

        host_cpus_usable(&h->reading.usable);
        h->reading.r = host_reader_read(&h->reading.reader, &h->reading.usable, &h->reading.cpu,
                                        &h->reading.sample);
}

/* Is the last reading good to compare the next with? */
static bool has_partner(const struct host *h)
{
        return h->has_cpu && clock_monotonic_us() - h->cpu.at_us <= PAIR_MAX_MS * (uint64_t)1000;
}

static void publish(struct host *h, bool is_pair)
{
        struct host_sample *s = &h->reading.sample;

        s->cpu_percent = is_pair ? host_cpu_percent(&h->cpu, &h->reading.cpu) : 0;
        memcpy(&h->sample, s, offsetof(struct host_sample, has_disk));
        h->sampled_ms = now_ms();
}

static void on_reading_done(void *job)
{
        struct host *h = ((struct look *)job)->host;
        bool is_pair;

        if (!look_ended(job))
                return;
        if (h->reading.r < 0) { /* the last readings stay, and get older */
                timer_start(h->tick, PERIOD_MS);
                return;
        }
        is_pair = has_partner(h);
        if (is_pair)
                publish(h, true);
        h->cpu = h->reading.cpu;
        h->has_cpu = true;
        timer_start(h->tick, is_pair ? PERIOD_MS : PAIR_MS);
        tell_if_ready(h);
}

static void look(struct host *h)
{
        h->is_ticking = true;
        if (!h->reading.look.is_running)
                look_start(&h->reading.look, h, run_reading, on_reading_done);
        if (!h->reading.look.is_running) /* it could not be started */
                timer_start(h->tick, PERIOD_MS);
        if (!h->looking.look.is_running &&
            (h->disks_ms == 0 || now_ms() - h->disks_ms >= DISKS_PERIOD_MS))
                look_start(&h->looking.look, h, run_disks, on_disks_done);
}

static void on_tick(void *arg)
{
        struct host *h = arg;

        if (now_ms() - h->asked_ms < HOST_IDLE_MS)
                look(h);
        else
                h->is_ticking = false;
}

static void asked(struct host *h)
{
        h->asked_ms = now_ms();
        if (!h->is_ticking)
                look(h);
}

/* --- for all --- */

/* See the header. */
struct host *host_new_below(struct loop *l, const char *root, const char *disk_path)
{
        struct host *h = xnew(struct host);

        h->loop = l;
        h->root = xstrdup(root);
        h->disk_path = xstrdup(disk_path);
        h->reading.reader.root = h->root;
        h->tick = timer_new(l, on_tick, h);
        h->patience = timer_new(l, on_patience_over, h);
        list_init(&h->waiting);
        list_init(&h->curious);
        return h;
}

/* See the header. */
struct host *host_new(struct loop *l, const char *disk_path)
{
        return host_new_below(l, "", disk_path);
}

/* See the header. */
struct host *host_free(struct host *h)
{
        if (!h)
                return NULL;
        tell_all(h);
        h->tick = timer_free(h->tick);
        h->patience = timer_free(h->patience);
        h->is_closed = true;
        if (!is_looking(h))
                release(h);
        return NULL;
}

/* See the header. */
const struct host_sample *host_sample(struct host *h)
{
        asked(h);
        return &h->sample;
}

/* See the header. */
const struct host_facts *host_facts(struct host *h)
{
        learn_if_old(h);
        return &h->facts;
}

static int wait_in(struct host *h, struct list *waiting, struct host_wait *w)
{
        if (h->n_waiting >= LIMIT_HOST_WAITING)
                return -EBUSY;
        if (h->n_waiting++ == 0)
                timer_start(h->patience, PATIENCE_MS);
        list_append(waiting, &w->link);
        return 1;
}

/* See the header. */
int host_wait(struct host *h, struct host_wait *w)
{
        asked(h);
        learn_if_old(h);
        return is_ready(h) ? 0 : wait_in(h, &h->waiting, w);
}

/* See the header. */
int host_wait_facts(struct host *h, struct host_wait *w)
{
        learn_if_old(h);
        return knows(h) ? 0 : wait_in(h, &h->curious, w);
}

/* See the header. */
void host_resumed(struct host *h)
{
        if (!h)
                return;
        h->facts_ms = 0;
        h->sampled_ms = 0;
        h->has_cpu = false;
}
