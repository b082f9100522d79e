/* SPDX-License-Identifier: Apache-2.0 */

/* GET /metrics/stream: a snapshot at each interval, as events or lines. A client that has not taken the last one gets
 * none, so never more than one waits for it. */

#include "handlers/metrics/stream.h"

#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/http/accept.h"
#include "agent/http/request.h"
#include "agent/http/sse.h"
#include "agent/http/stream.h"
#include "agent/loop/timer.h"
#include "handlers/metrics/fresh.h"
#include "handlers/metrics/metrics.h"
#include "handlers/metrics/snapshot.h"

#define EVENT "snapshot"

/* clang-format off */
const struct json_field metrics_stream_args[] = {
        F_SECONDS(struct metrics_stream_args, interval_ms, .name = "interval", .in = IN_QUERY, .min = 100, .max = 60000,
                  .def = 1000, .doc = "Seconds from one snapshot to the next", .example = "5"),
        F_END
};
/* clang-format on */

struct metrics_stream {
        struct app *app;
        struct stream *stream;
        struct timer *timer;
        uint64_t interval_ms;
        bool is_events;
};

/* In the process; there is one agent in it. */
static uint64_t n_streams;

/* See the header. */
uint64_t metrics_streams_count(void)
{
        return n_streams;
}

static void write_snapshot(struct metrics_stream *s)
{
        json_t *document = metrics_snapshot(s->app);
        char *text = json_dumps(document, JSON_COMPACT);
        const struct sse_event event = { .event = EVENT, .data = text, .data_size = strlen(text) };

        json_decref(document);
        if (s->is_events) {
                (void)sse_write(s->stream, &event);
        } else {
                (void)stream_write(s->stream, text, event.data_size);
                (void)stream_write(s->stream, "\n", 1);
        }
        free(text);
}

static void on_time(void *arg)
{
        struct metrics_stream *s = arg;

        if (!stream_is_open(s->stream))
                return;
        if (stream_is_idle(s->stream))
                write_snapshot(s);
        timer_start(s->timer, s->interval_ms);
}

static void on_closed(void *arg)
{
        struct metrics_stream *s = arg;

        timer_free(s->timer);
        free(s);
        n_streams--;
}

static int start(struct request *req, bool is_events)
{
        static const struct stream_ops lines = { NULL, on_closed, STREAM_HEARTBEAT_NDJSON };
        static const struct stream_ops events = { NULL, on_closed, SSE_HEARTBEAT };
        const struct metrics_stream_args *args = request_args(req);
        struct metrics_stream *s;

        if (n_streams >= LIMIT_METRICS_STREAMS)
                return request_fail(req, PROBLEM_LIMIT_REACHED,
                                    "%d clients follow the metrics already; try again when one of "
                                    "them has left",
                                    LIMIT_METRICS_STREAMS);
        s = xnew(struct metrics_stream);
        n_streams++;
        s->app = request_app(req);
        s->is_events = is_events;
        s->interval_ms = args->interval_ms;
        s->timer = timer_new(s->app->loop, on_time, s);
        s->stream = request_reply_stream(req, 200, is_events ? SSE_TYPE : STREAM_TYPE_NDJSON,
                                         is_events ? &events : &lines, s);
        if (s->stream)
                on_time(s);
        else
                on_closed(s);
        return 0;
}

static int start_events(struct request *req)
{
        return start(req, true);
}

static int start_lines(struct request *req)
{
        return start(req, false);
}

/* Answers GET /metrics/stream. */
int metrics_stream_get(struct request *req)
{
        bool is_lines = accept_prefers(request_header(req, "Accept"), STREAM_TYPE_NDJSON, SSE_TYPE);

        request_set_header(req, "Vary", "Accept");
        return metrics_when_fresh(req, is_lines ? start_lines : start_events);
}
