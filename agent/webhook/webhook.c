/* SPDX-License-Identifier: Apache-2.0 */

/* The queue. In memory is only what is needed to know when which delivery is due; the rest stays in the journal
 * until an attempt begins. So a thousand large results that wait for a receiver cost disk, not memory. */

#include "agent/webhook/webhook.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "agent/webhook/headers.h"
#include "agent/webhook/transfers.h"
#include "agent/webhook/webhook_private.h"

/* See the header. */
const char *webhook_status_name(enum webhook_status status)
{
        static const char *const names[] = {
                [WEBHOOK_PENDING] = "pending",     [WEBHOOK_DELIVERING] = "delivering",
                [WEBHOOK_DELIVERED] = "delivered", [WEBHOOK_FAILED] = "failed",
                [WEBHOOK_REFUSED] = "refused",
        };

        return names[status];
}

/* Unix time; tests of the queue run in real time. */
int64_t webhook_now_ms(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- deliveries --- */

void webhook_announce(struct delivery *d)
{
        const struct webhooks_options *o = &d->owner->options;
        const struct webhook_state state = {
                .id = d->id,
                .status = d->status,
                .attempts = d->note.attempts,
                .last_error = d->note.last_error,
                .last_status = d->note.last_status,
                .next_attempt_at_ms = d->status == WEBHOOK_PENDING ? d->note.next_attempt_at_ms : 0,
                .delivered_at_ms = d->delivered_at_ms,
        };

        if (o->on_change && !d->owner->is_closing)
                o->on_change(o->arg, &state);
}

static struct delivery *delivery_new(struct webhooks *w, const char *id, const char *url,
                                     size_t body_size)
{
        struct delivery *d = xnew(struct delivery);
        struct error ignored = ERROR_INIT;
        struct target target = { 0 };

        /* Where it is refused by now, the attempt will say so. */
        (void)target_from_url(&w->rules, url, &target, &ignored);
        d->owner = w;
        d->host = xstrdup(target.host);
        d->body_size = body_size;
        d->status = WEBHOOK_PENDING;
        memcpy(d->id, id, strlen(id));
        list_init(&d->link);
        w->n_deliveries++;
        w->n_bytes += body_size;
        return d;
}

struct delivery *webhook_delivery_free(struct delivery *d)
{
        list_remove(&d->link);
        d->owner->n_deliveries--;
        d->owner->n_bytes -= d->body_size;
        free(d->host);
        free(d);
        return NULL;
}

void webhook_wait(struct delivery *d, uint64_t delay_ms)
{
        struct list *where = &d->owner->waiting;

        d->status = WEBHOOK_PENDING;
        d->note.next_attempt_at_ms = webhook_now_ms() + (int64_t)delay_ms;
        d->due_ms = clock_now_ms() + delay_ms;
        list_remove(&d->link);
        /* From the end, because most wait longer than those before them. */
        while (where->prev != &d->owner->waiting &&
               list_entry(where->prev, struct delivery, link)->due_ms > d->due_ms)
                where = where->prev;
        list_insert_before(where, &d->link);
}

/* --- scheduling --- */

static bool host_has_room(const struct webhooks *w, const char *host)
{
        unsigned max = MAX(w->options.max_sending / 2, 1u);
        unsigned n = 0;

        list_for_each(pos, &w->sending) {
                n += str_equal(list_entry(pos, struct delivery, link)->host, host);
        }
        return n < max;
}

static void start_ready(struct webhooks *w)
{
        list_for_each_safe(pos, &w->ready) {
                struct delivery *d = list_entry(pos, struct delivery, link);

                if (w->n_sending >= w->options.max_sending)
                        return;
                /* A large one waits until the others are through, and those behind it wait as well, or it
                 * might wait forever. */
                if (w->n_sending_bytes > 0 &&
                    w->n_sending_bytes + d->body_size > LIMIT_WEBHOOK_SENDING_BYTES)
                        return;
                if (host_has_room(w, d->host))
                        webhook_attempt(d);
        }
}

void webhook_pump(struct webhooks *w)
{
        uint64_t now = clock_now_ms();

        if (w->is_closing)
                return;
        while (!list_is_empty(&w->waiting)) {
                struct delivery *d = list_entry(w->waiting.next, struct delivery, link);

                if (d->due_ms > now) {
                        timer_start(w->timer, d->due_ms - now);
                        break;
                }
                list_remove(&d->link);
                list_append(&w->ready, &d->link);
        }
        start_ready(w);
        webhook_turns_pump(w);
}

static void announce_list(struct list *list)
{
        list_for_each(pos, list) {
                webhook_announce(list_entry(pos, struct delivery, link));
        }
}

void webhook_check_closed(struct webhooks *w)
{
        if (!w->is_closing || w->is_closed || w->n_jobs > 0 || w->n_turns > 0)
                return;
        w->is_closed = true;
        if (w->on_closed)
                w->on_closed(w->closed_arg);
}

static void on_timer(void *arg)
{
        struct webhooks *w = arg;

        if (w->is_closing) {
                webhook_check_closed(w);
                return;
        }
        if (!w->is_announced) {
                w->is_announced = true;
                announce_list(&w->waiting);
        }
        webhook_pump(w);
}

void webhook_job_done(struct webhooks *w)
{
        w->n_jobs--;
        webhook_check_closed(w);
}

/* --- starting and stopping --- */

/* See the header. */
int webhooks_check_options(const struct webhooks_options *options, struct error *err)
{
        struct target_rules rules;
        int r;

        r = target_rules_init(&rules, options->allow, options->deny, options->deny_metadata, err);
        if (r == 0)
                target_rules_done(&rules);
        return r;
}

/* See the header. */
int webhooks_configure(struct webhooks *w, const struct webhooks_options *options,
                       struct error *err)
{
        struct target_rules rules;
        int r;

        r = target_rules_init(&rules, options->allow, options->deny, options->deny_metadata, err);
        if (r < 0)
                return r;
        target_rules_done(&w->rules);
        w->rules = rules;
        free(w->ca_file);
        w->ca_file = options->ca_file ? xstrdup(options->ca_file) : NULL;
        w->options = *options;
        w->options.ca_file = w->ca_file;
        w->options.state_dir = NULL;
        w->options.allow = w->options.deny = NULL;
        w->options.max_sending = MAX(options->max_sending, 1u);
        webhook_turns_pump(w); /* more of them may be queued now */
        return 0;
}

/* One that an earlier agent left. */
static void on_found(void *arg, struct journal_entry *e)
{
        struct webhooks *w = arg;
        struct delivery *d = delivery_new(w, e->id, e->url, e->body_size);
        int64_t delay = e->note.next_attempt_at_ms - webhook_now_ms();

        d->note = e->note;
        /* The clock may have been set since. */
        webhook_wait(d, (uint64_t)MIN(MAX(delay, 0), (int64_t)LIMIT_WEBHOOK_RETRY_AFTER_MS));
}

/* See the header. */
int webhooks_new(struct loop *l, const struct webhooks_options *options, struct webhooks **ret,
                 struct error *err)
{
        struct webhooks *w = xnew(struct webhooks);
        int r;

        w->loop = l;
        w->dir = -1;
        list_init(&w->waiting);
        list_init(&w->ready);
        list_init(&w->sending);
        list_init(&w->busy);
        list_init(&w->turns);

        r = webhooks_configure(w, options, err);
        if (r == 0)
                r = journal_open(options->state_dir, &w->dir, err);
        if (r == 0)
                r = transfers_new(l, &w->rules, &w->transfers, err);
        if (r == 0)
                r = journal_scan(w->dir, on_found, w, err);
        if (r < 0) {
                webhooks_free(w);
                return r;
        }
        w->timer = timer_new(l, on_timer, w);
        timer_start(w->timer, 0);
        webhook_turns_init(w);
        *ret = w;
        return 0;
}

/* See the header. */
void webhooks_resumed(struct webhooks *w)
{
        if (!w->is_closing)
                transfers_reseed(w->transfers);
}

/* See the header. */
void webhooks_close(struct webhooks *w, void (*on_closed)(void *arg), void *arg)
{
        assert(!w->is_closing);
        w->is_closing = true;
        w->on_closed = on_closed;
        w->closed_arg = arg;
        w->transfers = transfers_free(w->transfers);
        timer_start(w->timer, 0);
        webhook_turns_close(w);
}

static void free_list(struct list *list)
{
        list_for_each_safe(pos, list) {
                webhook_delivery_free(list_entry(pos, struct delivery, link));
        }
}

/* See the header. */
struct webhooks *webhooks_free(struct webhooks *w)
{
        if (!w)
                return NULL;
        assert(w->n_jobs == 0);
        webhook_turns_free(w);
        transfers_free(w->transfers);
        timer_free(w->timer);
        free_list(&w->waiting);
        free_list(&w->ready);
        free_list(&w->sending);
        free_list(&w->busy);
        target_rules_done(&w->rules);
        fd_close(w->dir);
        free(w->ca_file);
        free(w);
        return NULL;
}

/* See the header. */
unsigned webhooks_n_queued(const struct webhooks *w)
{
        return w->n_deliveries;
}

/* --- queueing --- */

struct queue_job {
        struct delivery *delivery; /* the loop's */
        int dir;
        char id[LIMIT_WEBHOOK_ID + 1];
        char *head;
        char *body;
        size_t body_size;
        int result;
        struct error error;
        void (*on_queued)(void *arg, int result, const struct error *err);
        void *arg;
};

static void queue_job_free(struct queue_job *job)
{
        if (job->head)
                explicit_bzero(job->head, strlen(job->head));
        free(job->head);
        free(job->body);
        free(job);
}

static void queue_run(void *arg)
{
        struct queue_job *job = arg;

        job->result = journal_write(job->dir, job->id, job->head, job->body, job->body_size,
                                    &job->error);
}

static void queue_done(void *arg)
{
        struct queue_job *job = arg;
        struct delivery *d = job->delivery;
        struct webhooks *w = d->owner;

        if (job->result < 0) {
                webhook_delivery_free(d);
                job->on_queued(job->arg, job->result, &job->error);
        } else {
                webhook_wait(d, 0);
                job->on_queued(job->arg, 0, NULL);
                webhook_announce(d);
        }
        queue_job_free(job);
        webhook_pump(w);
        webhook_job_done(w);
}

static bool list_has_id(const struct list *list, const char *id)
{
        list_for_each(pos, list) {
                if (str_equal(list_entry(pos, struct delivery, link)->id, id))
                        return true;
        }
        return false;
}

/* See the header. */
bool webhook_is_queued(const struct webhooks *w, const char *id)
{
        return list_has_id(&w->waiting, id) || list_has_id(&w->ready, id) ||
               list_has_id(&w->sending, id) || list_has_id(&w->busy, id);
}

static int check_spec(const struct webhooks *w, const struct webhook *spec, struct error *err)
{
        int r;

        if (!journal_id_is_valid(spec->id))
                return error_set_field(err, -EINVAL, "", "webhook: the delivery's id is wrong");
        r = webhook_check_url(w, spec->url, err);
        if (r == 0)
                r = headers_check(spec->headers, err);
        if (r < 0)
                return r;
        if (spec->secret && strlen(spec->secret) > LIMIT_WEBHOOK_SECRET)
                return error_set_field(err, -EFBIG, "/callback_signature_secret",
                                       "callback_signature_secret: longer than %zu bytes",
                                       LIMIT_WEBHOOK_SECRET);
        if (spec->body_size > LIMIT_WEBHOOK_BODY)
                return error_set_field(err, -EFBIG, "",
                                       "webhook: the body is larger than %zu bytes",
                                       LIMIT_WEBHOOK_BODY);
        return 0;
}

static int check_room(const struct webhooks *w, const struct webhook *spec, struct error *err)
{
        if (w->is_closing)
                return error_set_field(err, -ESHUTDOWN, "", "webhook: the agent stops");
        if (w->n_deliveries >= w->options.max_queued)
                return error_set_field(err, -ENOBUFS, "", "webhook: %u deliveries are waiting",
                                       w->n_deliveries);
        if (w->n_bytes + spec->body_size > LIMIT_WEBHOOK_JOURNAL)
                return error_set_field(err, -ENOBUFS, "",
                                       "webhook: the deliveries that wait are too large");
        if (webhook_is_queued(w, spec->id))
                return error_set_field(err, -EEXIST, "", "webhook: %s is there already", spec->id);
        return 0;
}

/* See the header. */
int webhook_queue(struct webhooks *w, const struct webhook *spec,
                  void (*on_queued)(void *arg, int result, const struct error *err), void *arg,
                  struct error *err)
{
        const struct journal_entry entry = {
                .id = (char *)spec->id,
                .url = (char *)spec->url,
                .secret = spec->secret && *spec->secret ? (char *)spec->secret : NULL,
                .headers = (json_t *)spec->headers,
                .created_at_ms = webhook_now_ms(),
                .body_size = spec->body_size,
        };
        struct queue_job *job;
        char *head;
        int r;

        r = check_spec(w, spec, err);
        if (r == 0)
                r = check_room(w, spec, err);
        if (r < 0)
                return r;
        head = journal_head(&entry);
        if (!head || strlen(head) > LIMIT_WEBHOOK_HEAD) {
                free(head);
                return error_set_field(
                        err, -EINVAL, "",
                        "webhook: URL, headers and secret are too long, or no UTF-8");
        }

        job = xnew(struct queue_job);
        job->delivery = delivery_new(w, spec->id, spec->url, spec->body_size);
        job->dir = w->dir;
        memcpy(job->id, spec->id, strlen(spec->id));
        job->head = head;
        job->body = spec->body;
        job->body_size = spec->body_size;
        job->on_queued = on_queued;
        job->arg = arg;
        list_append(&w->busy, &job->delivery->link);
        w->n_jobs++;
        r = job_run(w->loop, job, queue_run, queue_done);
        assert(r == 0); /* it has no reason to fail */
        return 0;
}

/* See the header. */
int webhook_check_url(const struct webhooks *w, const char *url, struct error *err)
{
        struct target ignored;

        return target_from_url(&w->rules, url, &ignored, err);
}

/* See the header. */
int webhook_check_headers(const json_t *headers, struct error *err)
{
        return headers_check(headers, err);
}
