/* SPDX-License-Identifier: Apache-2.0 */

/* The answer is either the bytes of one stream, read at once, or a stream of lines or events. */

#include "handlers/jobs/output.h"

#include <string.h>

#include "agent/base/limits.h"
#include "agent/http/request.h"
#include "agent/http/sse.h"
#include "handlers/execution/arguments.h"
#include "handlers/jobs/describe.h"
#include "handlers/jobs/log_reader.h"
#include "handlers/jobs/output_open.h"
#include "handlers/jobs/output_raw.h"
#include "handlers/jobs/output_stream.h"
#include "proc/jobs.h"

/* The first ones as in enum output_channel. */
enum output_streams { OUTPUT_STDOUT, OUTPUT_STDERR, OUTPUT_BOTH };

/* clang-format off */
static const struct enum_name output_streams[] = {
        { "both",   OUTPUT_BOTH },
        { "stdout", OUTPUT_STDOUT },
        { "stderr", OUTPUT_STDERR },
        { NULL, 0 },
};

const struct json_field job_output_args[] = {
        F_STRING(struct job_output_args, id, .in = IN_PATH, .required = true, .min = 1, .max = 64,
                 .doc = "process_id or execution_id"),
        F_ENUM  (struct job_output_args, stream, .in = IN_QUERY, .names = output_streams, .def = OUTPUT_BOTH,
                 .doc = "stdout and stderr are answered as they are, unless followed; both as lines of JSON"),
        F_STRING(struct job_output_args, offset, .in = IN_QUERY, .min = 1, .max = 64,
                 .doc = "Where to begin: N, of the one stream (of stdout, when both are wanted), or N,M of stdout and "
                        "stderr; default 0"),
        F_BOOL  (struct job_output_args, follow, .in = IN_QUERY,
                 .doc = "Also what is still to come, up to the end; lines of JSON, or events for who accepts them"),
        F_UINT  (struct job_output_args, limit, .in = IN_QUERY, .min = 1, .max = LIMIT_JOB_READ, .def = 1 * MIB,
                 .doc = "Bytes of output in one answer; not with follow"),
        F_ENUM  (struct job_output_args, encoding, .in = IN_QUERY, .names = execution_encodings,
                 .set_offset = offsetof(struct job_output_args, has_encoding),
                 .doc = "How lines and events write it: repaired UTF-8, or exact bytes in base64; default: as the job "
                        "was started"),
        F_END
};
/* clang-format on */

static void start_stream(struct output_open *o, const struct job_output_args *args)
{
        struct output_stream_options options = {
                .is_events = o->wanted.is_events,
                .is_followed = args->follow,
                .limit = args->follow ? UINT64_MAX : args->limit,
                .encoding = (enum document_encoding)args->encoding,
        };
        struct follower_options *f = &options.follower;

        if (!args->has_encoding)
                options.encoding = job_is_base64(o->job) ? DOCUMENT_BASE64 : DOCUMENT_UTF8;
        output_follow_from(o, f);
        f->is_text = options.encoding == DOCUMENT_UTF8;
        for (int i = 0; i < N_CHANNELS && !args->follow; i++)
                f->until[i] = log_reader_totals(f->reader, (enum output_channel)i)->total;
        output_stream_start(o->req, &options);
}

static void on_open(struct output_open *o)
{
        const struct job_output_args *args = request_args(o->req);

        if (args->stream != OUTPUT_BOTH && !args->follow)
                output_raw_start(o->req, o->job, STEAL(o->reader),
                                 (enum output_channel)args->stream, o->wanted.from[args->stream],
                                 (size_t)args->limit);
        else
                start_stream(o, args);
}

static bool accepts_events(const struct request *req)
{
        const char *accept = request_header(req, "Accept");

        return accept && strcasestr(accept, SSE_TYPE);
}

/* False: the request has its answer. */
static bool parse_id(struct request *req, const char *id, uint64_t ret[N_CHANNELS])
{
        bool is_end = false;

        if (offsets_parse_id(id, ret, &is_end) < 0) {
                request_fail_field(req, PROBLEM_INVALID_REQUEST, "/Last-Event-ID",
                                   "Last-Event-ID: '%.64s' is no id of an event of this stream; "
                                   "leave it out to begin at offset",
                                   id);
                return false;
        }
        if (is_end) /* it has seen everything; this keeps browsers from coming back */
                request_reply_bytes(req, 204, NULL, "", 0);
        return !is_end;
}

/* Answers GET /execute/processes/{id}/output. */
int job_output_get(struct request *req)
{
        const struct job_output_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);
        struct output_wanted w = {
                .is_wanted = { args->stream != OUTPUT_STDERR, args->stream != OUTPUT_STDOUT },
                .is_events = args->follow && accepts_events(req),
        };
        const char *id = w.is_events ? sse_last_event_id(req) : NULL;
        bool is_good;

        if (!job)
                return 0;
        if (id)
                is_good = parse_id(req, id, w.from);
        else
                is_good = output_parse_offset(
                        req, args->offset,
                        args->stream == OUTPUT_STDERR ? CHANNEL_STDERR : CHANNEL_STDOUT, w.from);
        if (is_good)
                output_open(req, job, &w, on_open);
        return 0;
}
