/* SPDX-License-Identifier: Apache-2.0 */

#include "handlers/jobs/output_open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "jobs"
#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/base/log.h"
#include "agent/http/request.h"
#include "handlers/jobs/log_reader.h"
#include "proc/jobs.h"

/* Who asks for what never was has taken something for an offset that is none. */
static bool check_offset(const struct output_open *o, enum output_channel c)
{
        uint64_t total = log_reader_totals(o->reader, c)->total;

        if (o->wanted.from[c] <= total)
                return true;
        request_fail_field(o->req, PROBLEM_INVALID_REQUEST, "/offset",
                           "offset: %" PRIu64 " is beyond the end of %s, which has %" PRIu64
                           " bytes so far",
                           o->wanted.from[c], channel_names[c], total);
        return false;
}

/* See the header. A program runs as the agent does, and so it may do to its own logs what it likes: that is not the
 * agent's failure. */
void output_fail_log(struct request *req, const struct job *job, enum output_channel c, int r)
{
        log_warning("cannot read the output of a job", "job=%s stream=%s error=%s",
                    job_process_id(job), channel_names[c], log_quote(strerror(-r)));
        if (log_error_may_pass(r) || r == -EIO)
                request_fail(req, PROBLEM_UNAVAILABLE, "the log of %s cannot be read: %s",
                             channel_names[c], strerror(-r));
        else
                request_fail(req, PROBLEM_NOT_FOUND,
                             "the log of %s is damaged or was removed, so there is nothing to read",
                             channel_names[c]);
}

/* That there is no log is no error as long as nothing was written to it, or it is just being made. */
static bool check_log(const struct output_open *o, enum output_channel c)
{
        int r = log_reader_error(o->reader, c);
        bool is_empty = job_totals(o->job)[c] == 0;

        if (r == 0 || (is_empty && (r == -ENOENT || (r == -EBADMSG && !o->was_final))))
                return true;
        if (r == -ENOENT && job_is_gone(o->job)) {
                request_fail(o->req, PROBLEM_PROCESS_NOT_FOUND,
                             "no such process: %.64s (it has just been removed, as the oldest of "
                             "those that have ended)",
                             job_process_id(o->job));
                return false;
        }
        output_fail_log(o->req, o->job, c, r);
        return false;
}

static void on_left(void *arg)
{
        ((struct output_open *)arg)->is_left = true;
}

static void on_looked(void *arg)
{
        struct output_open *o = arg;
        bool is_good = !o->is_left;

        if (is_good)
                request_on_cancel(o->req, NULL, NULL); /* o will be gone */
        for (int i = 0; i < N_CHANNELS && is_good; i++)
                is_good = !o->wanted.is_wanted[i] || (check_log(o, (enum output_channel)i) &&
                                                      check_offset(o, (enum output_channel)i));
        if (is_good)
                o->on_open(o);
        (void)log_reader_free(o->reader);
        (void)job_unref(o->job);
        (void)request_unref(o->req);
        free(o);
}

/* See the header. */
void output_open(struct request *req, struct job *job, const struct output_wanted *w,
                 void (*on_open)(struct output_open *o))
{
        struct output_open *o = xnew(struct output_open);

        o->req = request_ref(req);
        o->job = job_ref(job);
        o->reader = log_reader_new(request_app(req)->loop, job_dir(job));
        o->wanted = *w;
        o->was_final = job_phase_is_final(job_phase(job));
        o->on_open = on_open;
        request_on_cancel(req, on_left, o);
        log_reader_look(o->reader, on_looked, o);
}

/* See the header. */
bool output_parse_offset(struct request *req, const char *text, enum output_channel lone,
                         uint64_t ret[N_CHANNELS])
{
        if (!text || offsets_parse(text, lone, ret) == 0)
                return true;
        request_fail_field(req, PROBLEM_INVALID_REQUEST, "/offset",
                           "offset: expected N, or N,M for stdout and stderr, and got '%.64s'",
                           text);
        return false;
}

/* See the header. */
void output_follow_from(struct output_open *o, struct follower_options *ret)
{
        ret->job = o->job;
        ret->reader = STEAL(o->reader);
        for (int i = 0; i < N_CHANNELS; i++) {
                ret->is_wanted[i] = o->wanted.is_wanted[i];
                ret->from[i] = o->wanted.from[i];
                ret->until[i] = FOLLOWER_EVER;
        }
}

/* See the header. */
void output_refuse_follower(struct request *req, struct follower_options *o)
{
        o->reader = log_reader_free(o->reader);
        request_set_header(req, "Retry-After", "1");
        request_fail(req, PROBLEM_LIMIT_REACHED,
                     "the output of processes is being read by %d clients already; try again when "
                     "one of them has left",
                     LIMIT_JOB_FOLLOWERS);
}
