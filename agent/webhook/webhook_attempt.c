/* SPDX-License-Identifier: Apache-2.0 */

/* One attempt: a worker reads the delivery and signs it, libcurl sends it, and what came of it decides what is next.
 * A failed attempt is counted only when it is over: an agent that is killed again and again in the middle of one
 * must not use up the tries. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "webhook"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/base/utf8.h"
#include "agent/loop/job.h"
#include "agent/webhook/headers.h"
#include "agent/webhook/retry.h"
#include "agent/webhook/signature.h"
#include "agent/webhook/transfers.h"
#include "agent/webhook/webhook_private.h"

struct file_job {
        struct delivery *delivery; /* the loop's */
        int dir;
        char id[LIMIT_WEBHOOK_ID + 1];
        int result;
        struct error error;

        /* Reading */
        enum webhook_signature form;
        struct journal_entry entry;
        int64_t timestamp_s;
        char signature[SIGNATURE_SIZE];

        /* Writing */
        struct journal_note note;
};

static void start_job(struct delivery *d, void (*run)(void *arg), void (*done)(void *arg))
{
        struct file_job *job = xnew(struct file_job);
        int r;

        job->delivery = d;
        job->dir = d->owner->dir;
        job->form = d->owner->options.signature;
        job->note = d->note;
        memcpy(job->id, d->id, sizeof(job->id));
        d->owner->n_jobs++;
        r = job_run(d->owner->loop, job, run, done);
        assert(r == 0); /* it has no reason to fail */
}

/* --- the end of a delivery --- */

static void remove_run(void *arg)
{
        struct file_job *job = arg;

        job->result = journal_remove(job->dir, job->id);
}

static void remove_done(void *arg)
{
        struct file_job *job = arg;
        struct delivery *d = job->delivery;
        struct webhooks *w = d->owner;

        if (job->result < 0 && job->result != -ENOENT)
                log_warning("cannot remove a delivery", "delivery=%s errno=%d", d->id,
                            -job->result);
        webhook_delivery_free(d);
        free(job);
        webhook_pump(w);
        webhook_job_done(w);
}

/* The result itself is not lost with the file: who queued it has it. */
static void end(struct delivery *d, enum webhook_status status)
{
        struct webhooks *w = d->owner;

        d->status = status;
        list_remove(&d->link);
        list_append(&w->busy, &d->link);
        if (status == WEBHOOK_DELIVERED) {
                d->delivered_at_ms = webhook_now_ms();
                log_info("delivered", "delivery=%s attempts=%u", d->id, d->note.attempts);
        } else {
                log_warning("not delivered", "delivery=%s attempts=%u status=%s error=%s", d->id,
                            d->note.attempts, webhook_status_name(status),
                            log_quote(d->note.last_error));
        }
        start_job(d, remove_run, remove_done);
        webhook_announce(d);
        webhook_pump(w);
}

/* --- another try --- */

static void note_run(void *arg)
{
        struct file_job *job = arg;

        job->result = journal_note(job->dir, job->id, &job->note, &job->error);
}

static void note_done(void *arg)
{
        struct file_job *job = arg;
        struct delivery *d = job->delivery;
        struct webhooks *w = d->owner;
        int64_t delay = d->note.next_attempt_at_ms - webhook_now_ms();

        /* A restart would forget this attempt; that is no reason to forget the delivery. */
        if (job->result < 0)
                log_warning("cannot note an attempt", "delivery=%s error=%s", d->id,
                            log_quote(job->error.message));
        free(job);
        webhook_wait(d, (uint64_t)MIN(MAX(delay, 0), (int64_t)LIMIT_WEBHOOK_RETRY_AFTER_MS));
        webhook_pump(w);
        webhook_job_done(w);
}

static void try_again(struct delivery *d, int64_t retry_after_ms)
{
        struct webhooks *w = d->owner;
        const struct webhooks_options *o = &w->options;
        uint64_t delay;

        if (d->note.attempts >= o->max_tries) {
                end(d, WEBHOOK_FAILED);
                return;
        }
        delay = retry_backoff_ms(d->note.attempts, o->retry_first_ms, o->retry_max_ms);
        /* The receiver's word is a lower bound; some jitter on top, because it said so to many. */
        if (retry_after_ms >= 0)
                delay = MAX(delay, (uint64_t)retry_after_ms +
                                           retry_backoff_ms(1, o->retry_first_ms, o->retry_max_ms));
        delay = MIN(delay, LIMIT_WEBHOOK_RETRY_AFTER_MS);

        d->status = WEBHOOK_PENDING;
        d->note.next_attempt_at_ms = webhook_now_ms() + (int64_t)delay;
        log_debug("attempt failed", "delivery=%s attempts=%u delay_ms=%llu error=%s", d->id,
                  d->note.attempts, (unsigned long long)delay, log_quote(d->note.last_error));
        list_remove(&d->link);
        list_append(&w->busy, &d->link);
        start_job(d, note_run, note_done);
        webhook_announce(d);
        webhook_pump(w);
}

/* --- what came of it --- */

static void leave_sending(struct delivery *d)
{
        d->owner->n_sending--;
        d->owner->n_sending_bytes -= d->body_size;
}

/* An attempt that got no answer. */
static void fail(struct delivery *d, enum webhook_status status, const char *error)
{
        leave_sending(d);
        d->note.attempts++;
        d->note.last_status = 0;
        (void)snprintf(d->note.last_error, sizeof(d->note.last_error), "%s", error);
        utf8_repair(d->note.last_error); /* libcurl may quote the receiver's certificate */
        if (status == WEBHOOK_PENDING)
                try_again(d, -1);
        else
                end(d, status);
}

static void take_answer(struct delivery *d, const struct transfer_result *result)
{
        unsigned status = result->status;

        leave_sending(d);
        d->note.attempts++;
        d->note.last_status = status;
        if (status >= 200 && status <= 299) {
                end(d, WEBHOOK_DELIVERED);
                return;
        }
        (void)snprintf(d->note.last_error, sizeof(d->note.last_error), "HTTP status %u%s", status,
                       status >= 300 && status <= 399 ? ": redirects are not followed" : "");
        if (retry_is_worthwhile(status))
                try_again(d, result->retry_after_ms);
        else
                end(d, WEBHOOK_FAILED);
}

static void on_transferred(void *arg, const struct transfer_result *result)
{
        switch (result->outcome) {
        case TRANSFER_ANSWERED:
                take_answer(arg, result);
                return;
        case TRANSFER_LOST:
                fail(arg, WEBHOOK_PENDING, result->error);
                return;
        case TRANSFER_REFUSED:
                fail(arg, WEBHOOK_REFUSED, result->error);
                return;
        case TRANSFER_BROKEN:
                fail(arg, WEBHOOK_FAILED, result->error);
                return;
        }
}

/* --- sending --- */

static void load_run(void *arg)
{
        struct file_job *job = arg;
        struct journal_entry *e = &job->entry;

        job->result = journal_read(job->dir, job->id, true, e, &job->error);
        if (job->result < 0)
                return;
        transfers_load();
        job->timestamp_s = clock_realtime_s();
        if (e->secret)
                (void)signature_make(job->signature, job->form, e->secret, job->timestamp_s,
                                     e->body, e->body_size);
}

static int send_entry(struct delivery *d, struct file_job *job, const struct target *target)
{
        const struct webhooks_options *o = &d->owner->options;
        const struct headers_values values = {
                .id = d->id,
                .timestamp_s = job->timestamp_s,
                .signature = job->signature[0] ? job->signature : NULL,
                .custom = job->entry.headers,
        };
        const struct transfer_request request = {
                .url = job->entry.url,
                .host = target->host,
                .headers = headers_make(&values),
                .body = STEAL(job->entry.body),
                .body_size = job->entry.body_size,
                .connect_timeout_ms = o->connect_timeout_ms,
                .timeout_ms = o->timeout_ms,
                .ca_file = o->ca_file,
        };

        if (!request.headers) {
                free(request.body);
                return -ENOMEM;
        }
        return transfer_start(d->owner->transfers, &request, on_transferred, d);
}

static void use_loaded(struct delivery *d, struct file_job *job)
{
        struct target target;
        int r = job->result;

        /* A file that is gone or damaged stays so; a lack of descriptors or memory may pass. */
        if (r == -ENOENT || r == -EINVAL) {
                fail(d, WEBHOOK_FAILED, job->error.message);
                return;
        }
        if (r == 0) {
                r = target_from_url(&d->owner->rules, job->entry.url, &target, &job->error);
                if (r == -EPERM || r == -EINVAL) {
                        fail(d, r == -EPERM ? WEBHOOK_REFUSED : WEBHOOK_FAILED, job->error.message);
                        return;
                }
        }
        if (r == 0 && send_entry(d, job, &target) < 0)
                r = error_set(&job->error, -ENOMEM, "webhook");
        if (r < 0)
                fail(d, WEBHOOK_PENDING, job->error.message);
}

static void load_done(void *arg)
{
        struct file_job *job = arg;
        struct delivery *d = job->delivery;
        struct webhooks *w = d->owner;

        if (!w->is_closing) /* else the journal has it */
                use_loaded(d, job);
        journal_entry_done(&job->entry);
        explicit_bzero(job->signature, sizeof(job->signature));
        free(job);
        webhook_job_done(w);
}

void webhook_attempt(struct delivery *d)
{
        struct webhooks *w = d->owner;

        d->status = WEBHOOK_DELIVERING;
        list_remove(&d->link);
        list_append(&w->sending, &d->link);
        w->n_sending++;
        w->n_sending_bytes += d->body_size;
        start_job(d, load_run, load_done);
        webhook_announce(d);
}
