/* SPDX-License-Identifier: Apache-2.0 */

/* The headers say which bytes follow, so all of them are read before: between two reads the ring may overwrite what was
 * promised. What is small is an ordinary answer. The rest is kept here while it is sent, in a bounded total, and
 * goes into a stream piece by piece. */

#include "handlers/jobs/output_raw.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "agent/http/stream.h"
#include "handlers/jobs/log_reader.h"
#include "handlers/jobs/output_open.h"
#include "proc/jobs.h"

#define TYPE  "application/octet-stream"
#define SLICE (64 * KIB)

struct raw {
        struct request *req;
        struct job *job;
        struct log_reader *reader;
        enum output_channel channel;
        uint64_t offset;
        size_t held; /* of the total */
        char *data;
        size_t size;
        size_t position; /* what comes next */
        struct stream *stream;
};

static size_t total_held;

static void raw_free(struct raw *o)
{
        total_held -= o->held;
        (void)log_reader_free(o->reader);
        (void)job_unref(o->job);
        (void)request_unref(o->req);
        free(o->data);
        free(o);
}

/* --- sending what is large --- */

static void send_more(struct raw *o)
{
        int r = 0;

        while (r == 0 && o->position < o->size) {
                size_t n = MIN(SLICE, o->size - o->position);

                r = stream_write(o->stream, o->data + o->position, n);
                o->position += n;
        }
        if (o->position == o->size)
                stream_end(o->stream);
}

static void on_writable(void *arg)
{
        send_more(arg);
}

static void on_closed(void *arg)
{
        raw_free(arg);
}

/* --- the answer --- */

static void set_number(struct request *req, const char *name, uint64_t value)
{
        char text[24];

        (void)snprintf(text, sizeof(text), "%" PRIu64, value);
        request_set_header(req, name, text);
}

static void reply(struct raw *o, uint64_t first)
{
        static const struct stream_ops ops = { .on_writable = on_writable,
                                               .on_closed = on_closed,
                                               .is_finite = true };
        const struct joblog_totals *totals = log_reader_totals(o->reader, o->channel);

        set_number(o->req, "X-Output-Offset", first);
        set_number(o->req, "X-Next-Offset", first + o->size);
        set_number(o->req, "X-Output-Total", MAX(totals->total, first + o->size));
        set_number(o->req, "X-Output-Lost", first - o->offset);
        set_number(o->req, "X-Output-Dropped", totals->dropped);
        request_set_header(o->req, "X-Process-Status", job_phase_name(job_phase(o->job)));
        if (o->size > LIMIT_REPLY_INLINE)
                o->stream = request_reply_stream(o->req, 200, TYPE, &ops, o);
        else
                request_reply_bytes(o->req, 200, TYPE, o->data ? o->data : "", o->size);
        o->req = request_unref(o->req); /* a stream ends before its request does */
        if (o->stream)
                send_more(o);
        else
                raw_free(o);
}

static void on_read(void *arg, const struct log_read *read)
{
        struct raw *o = arg;

        o->data = read->data;
        o->size = read->size;
        if (read->r == 0) {
                reply(o, read->offset);
                return;
        }
        output_fail_log(o->req, o->job, o->channel, read->r);
        raw_free(o);
}

/* See the header. */
void output_raw_start(struct request *req, struct job *job, struct log_reader *reader,
                      enum output_channel channel, uint64_t offset, size_t limit)
{
        const struct joblog_totals *totals = log_reader_totals(reader, channel);
        struct raw *o = xnew(struct raw);

        o->req = request_ref(req);
        o->job = job_ref(job);
        o->reader = reader;
        o->channel = channel;
        o->offset = offset;
        o->held = (size_t)MIN(limit, totals->total - MAX(offset, totals->first));
        total_held += o->held;
        if (o->held == 0) {
                reply(o, MAX(offset, totals->first));
        } else if (total_held > LIMIT_JOB_HELD) {
                request_set_header(req, "Retry-After", "1");
                request_fail(req, PROBLEM_LIMIT_REACHED,
                             "too much output is being read by others; try again, or with a "
                             "smaller limit");
                raw_free(o);
        } else {
                log_reader_read(reader, channel, offset, o->held, on_read, o);
        }
}
