/* SPDX-License-Identifier: Apache-2.0 */

/* Output can grow when it becomes JSON, to six times its size (control characters). How much it will be at most is
 * known before anything is encoded, so the body is made in one block, and so much is left out as to fit. */

#include "handlers/jobs/callback_body.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/utf8.h"
#include "agent/json/document.h"
#include "handlers/execution/rich_answer.h"
#include "handlers/execution/usage.h"
#include "handlers/jobs/describe.h"
#include "handlers/jobs/log_reader.h"
#include "proc/joblog.h"
#include "proc/signals.h"

/* What the encoder wants beyond what it writes. */
#define SLACK 64

/* --- how it ended --- */

static char *describe_end(const struct job_status *result)
{
        const char *name;

        switch (result ? result->reason : KEEPER_SPAWN) {
        case KEEPER_SIGNAL:
                name = signal_name(result->signal);
                return name ? xasprintf("ended by %s", name)
                            : xasprintf("ended by signal %d", result->signal);
        case KEEPER_OOM:
                return xasprintf("ran out of memory");
        case KEEPER_CPU_LIMIT:
                return xasprintf("used up its processor time (cpu_seconds)");
        case KEEPER_SPAWN:
                return xstrdup(JOB_NOT_STARTED);
        case KEEPER_LOST:
                return xstrdup(JOB_LOST_TEXT);
        default:
                return xasprintf("exit code %d", result->exit_code);
        }
}

/* NULL: nothing went wrong. To be freed. */
static char *describe_error(const struct callback_facts *f)
{
        switch (f->phase) {
        case PHASE_TIMED_OUT:
                return xasprintf("timed out after %g s", (double)f->timeout_ms / 1000);
        case PHASE_FAILED:
                return f->failure ? xstrdup(f->failure->message) : describe_end(f->result);
        default:
                return NULL;
        }
}

/* See the header. */
json_t *callback_text(const char *text)
{
        json_t *json = NULL;

        if (text && *text) /* messages are cut where their buffers end */
                json = json_stringn(text, utf8_complete_prefix(text, strlen(text)));
        return json ? json : json_null();
}

/* See the header. */
json_t *callback_time(int64_t t_ms)
{
        char text[CLOCK_RFC3339_SIZE];

        return t_ms > 0 ? json_string(clock_rfc3339(text, t_ms)) : json_null();
}

/* As in the job's object. */
static json_t *describe_usage(const struct callback_facts *f)
{
        json_t *usage = f->result && f->started_ms > 0 ? usage_describe(&f->result->usage) : NULL;

        if (json_object_size(usage) > 0)
                return usage;
        json_decref(usage);
        return json_null();
}

/* See the header. */
json_t *callback_fields(const struct callback_facts *f)
{
        const struct job_status *result = f->result;
        CLEANUP(mem_free) char *error = describe_error(f);
        char now[CLOCK_RFC3339_SIZE];
        json_t *fields;

        assert(job_phase_is_final(f->phase));
        fields = json_pack(
                "{s:s, s:s, s:s, s:b, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", //
                "execution_id", f->execution_id,                                          //
                "process_id", f->process_id,                                              //
                "status", job_phase_name(f->phase),                                       //
                "success", f->phase == PHASE_COMPLETED,                                   //
                "exit_code", result ? json_integer(result->exit_code) : json_null(),      //
                "execution_time", result ? (double)result->duration_us / 1e6 : 0.0,       //
                "reason", callback_text(result ? job_reason_name(result->reason) : NULL), //
                "error", callback_text(error),                                            //
                "language", callback_text(f->language),                                   //
                "name", callback_text(f->name),                                           //
                "started_at", callback_time(f->started_ms),                               //
                "completed_at", callback_time(f->ended_ms),                               //
                "timestamp", clock_rfc3339_now(now),                                      //
                "encoding", f->is_base64 ? "base64" : "utf-8");
        assert(fields);
        json_object_set_new(fields, "usage", describe_usage(f));
        if (f->ignores_tasks)
                json_object_set_new(fields, "limits_not_enforced",
                                    json_pack("[s]", "max_processes"));
        return fields;
}

/* --- what it wrote --- */

struct stream {
        char *data; /* as read */
        size_t size;
        size_t start; /* what is before it is left out */
        uint64_t total;
        uint64_t dropped;
};

static int read_log(const struct joblog *log, struct stream *s)
{
        struct joblog_totals totals;
        uint64_t offset;
        ssize_t n;
        int r;

        r = joblog_totals(log, &totals);
        if (r < 0)
                return r;
        s->total = totals.total;
        s->dropped = totals.dropped;
        s->size = (size_t)MIN(totals.total - totals.first, (uint64_t)LIMIT_JOB_CALLBACK);
        s->data = try_alloc(MAX(s->size, (size_t)1));
        if (!s->data)
                return -ENOMEM;
        n = joblog_read(log, totals.total - s->size, s->data, s->size, &offset);
        s->size = n < 0 ? 0 : (size_t)n;
        return n < 0 ? (int)n : 0;
}

/* Only what may pass is an error: a callback without output is better than none. */
static int read_stream(int dir_fd, const char *name, struct stream *s)
{
        struct joblog log;
        int r;

        r = joblog_open(dir_fd, name, &log);
        if (r < 0)
                return log_error_may_pass(r) ? r : 0;
        r = read_log(&log, s);
        joblog_close(&log);
        return log_error_may_pass(r) ? r : 0;
}

static int read_streams(const char *dir, struct stream *streams, struct error *err)
{
        CLEANUP(fd_close) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r;

        if (dir_fd < 0)
                return log_error_may_pass(-errno) ? error_set(err, -errno, "open %s", dir) : 0;
        r = read_stream(dir_fd, JOBLOG_STDOUT, &streams[0]);
        if (r == 0)
                r = read_stream(dir_fd, JOBLOG_STDERR, &streams[1]);
        return r < 0 ? error_set(err, r, "the job's output") : 0;
}

/* --- how much of it fits --- */

/* The most that the escaper makes of a byte. Those from 0x80 on are no more than one each in valid UTF-8, but each
 * may be one U+FFFD. */
static unsigned cost_of(unsigned char c)
{
        if (c >= 0x80)
                return 3;
        if (c == '"' || c == '\\' || (c >= '\b' && c <= '\r' && c != '\v'))
                return 2;
        return c < 0x20 ? 6 : 1;
}

static size_t base64_size(size_t size)
{
        return (size + 2) / 3 * 4;
}

static size_t encoded_size(const struct stream *s, bool is_base64)
{
        size_t n = 0;

        if (is_base64)
                return base64_size(s->size - s->start);
        for (size_t i = s->start; i < s->size; i++)
                n += cost_of((unsigned char)s->data[i]);
        return n;
}

/* Leaves out so much of the beginning that the rest takes no more than @max. */
static void trim(struct stream *s, size_t max, bool is_base64)
{
        size_t start = s->size, n = 0;

        if (is_base64) {
                s->start = MAX(s->start, s->size - MIN(s->size, max / 4 * 3));
                return;
        }
        while (start > s->start) {
                n += cost_of((unsigned char)s->data[start - 1]);
                if (n > max)
                        break;
                start--;
        }
        s->start = start;
}

/* Where the beginning was cut off, the rest of a character may stand. */
static void skip_broken_character(struct stream *s)
{
        if (s->size - s->start == s->total)
                return;
        for (unsigned i = 0; i < 3 && s->start < s->size; i++) {
                if (((unsigned char)s->data[s->start] & 0xc0) != 0x80)
                        break;
                s->start++;
        }
}

/* Both get their half, and what the other one leaves of its own. Returns what they take. */
static size_t fit(struct stream *streams, size_t max_text, bool is_base64)
{
        size_t half = max_text / 2;
        size_t sizes[2];

        for (unsigned i = 0; i < 2; i++) {
                if (!is_base64)
                        skip_broken_character(&streams[i]);
                sizes[i] = encoded_size(&streams[i], is_base64);
        }
        if (sizes[0] + sizes[1] <= max_text)
                return sizes[0] + sizes[1];
        for (unsigned i = 0; i < 2; i++) {
                size_t other = MIN(sizes[1 - i], half);

                if (sizes[i] <= max_text - other)
                        continue;
                trim(&streams[i], max_text - other, is_base64);
                if (!is_base64)
                        skip_broken_character(&streams[i]);
        }
        return max_text;
}

/* --- the document --- */

static void add_facts(json_t *fields, const char *const names[2], const struct stream *s)
{
        bool is_truncated = s->size - s->start < s->total || s->dropped > 0;

        json_object_set_new(fields, names[0], json_integer((json_int_t)s->total));
        json_object_set_new(fields, names[1], json_boolean(is_truncated));
}

static void add_text(struct document *d, const char *key, bool is_base64, const struct stream *s)
{
        const struct document_piece piece = { s->data + s->start, s->size - s->start };

        document_add_text(d, key, is_base64 ? DOCUMENT_BASE64 : DOCUMENT_UTF8, &piece,
                          piece.size > 0 ? 1 : 0, NULL, NULL);
}

static int encode(struct document *d, size_t capacity, char **ret, size_t *ret_size,
                  struct error *err)
{
        char *body = try_alloc(capacity), *smaller;
        size_t size = 0, n;

        if (!body)
                return error_set(err, -ENOMEM, "the callback's body");
        do {
                assert(capacity - size >= SLACK / 2);
                n = document_read(d, body + size, capacity - size);
                size += n;
        } while (n > 0);
        smaller = realloc(body, size);
        *ret = smaller ? smaller : body;
        *ret_size = size;
        return 0;
}

/* @streams and @rich are there; takes @fields. */
static int make(json_t *fields, struct stream streams[2], const struct rich_answer *rich,
                bool is_base64, size_t max_text, char **ret, size_t *ret_size, struct error *err)
{
        static const char *const names[2][2] = { { "stdout_bytes", "stdout_truncated" },
                                                 { "stderr_bytes", "stderr_truncated" } };
        struct document *d;
        size_t capacity;
        int r;

        capacity = fit(streams, max_text - MIN(max_text, rich->size), is_base64);
        capacity += rich->size + RICH_ANSWER_FIXED;
        add_facts(fields, names[0], &streams[0]);
        add_facts(fields, names[1], &streams[1]);
        rich_answer_describe(fields, rich);
        capacity += json_dumpb(fields, NULL, 0, 0) + sizeof(",stdout:,stderr:") + SLACK;
        d = document_new(fields);
        add_text(d, "stdout", is_base64, &streams[0]);
        add_text(d, "stderr", is_base64, &streams[1]);
        rich_answer_add(d, rich, NULL, NULL);
        r = encode(d, capacity, ret, ret_size, err);
        document_free(d);
        return r;
}

/* See the header. */
int callback_body_make(json_t *fields, const char *dir, bool is_base64,
                       const struct callback_limits *limits, char **ret, size_t *ret_size,
                       struct error *err)
{
        struct stream streams[2] = { { .data = NULL }, { .data = NULL } };
        struct rich_log *log = NULL;
        struct rich_answer rich;
        int r;

        r = read_streams(dir, streams, err);
        if (r == 0) {
                r = rich_log_read(dir, &limits->rich, &log);
                if (r < 0)
                        error_set(err, r, "%s/" KEEPER_RICH, dir);
        }
        if (r < 0) {
                json_decref(fields);
        } else {
                rich_answer_init(&rich, rich_log_content(log), LIMIT_JOB_CALLBACK_RICH);
                r = make(fields, streams, &rich, is_base64, limits->max_text, ret, ret_size, err);
                rich_answer_done(&rich);
        }
        rich_log_free(log);
        free(streams[0].data);
        free(streams[1].data);
        return r;
}
