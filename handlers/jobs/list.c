/* SPDX-License-Identifier: Apache-2.0 */

/* A page of jobs is chosen at once, so that nothing can slip in between, and then written in slices: a thousand rows
 * take some milliseconds, and there may be many such pages at once. The references keep what is evicted meanwhile.
 *
 * For one job the object is written first, and its output is read after that: who is told that it has ended gets all
 * of it. */

#include "handlers/jobs/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/list.h"
#include "agent/base/str.h"
#include "agent/config.h"
#include "agent/http/request.h"
#include "agent/json/document.h"
#include "agent/json/write.h"
#include "agent/loop/job.h"
#include "agent/loop/timer.h"
#include "handlers/execution/rich_answer.h"
#include "handlers/jobs/describe.h"
#include "handlers/jobs/log_reader.h"
#include "handlers/jobs/rich_log.h"
#include "proc/joblog.h"
#include "proc/jobs.h"

#define LOG_MODULE "jobs"
#include "agent/base/log.h"

#define DEFAULT_LIMIT 200

/* What is written of lists, all together, before others get their turn. */
#define SLICE_ROWS  100
#define SLICE_BYTES (64 * KIB)

static const struct enum_name status_names[] = {
        { "queued", PHASE_QUEUED },       { "running", PHASE_RUNNING },
        { "completed", PHASE_COMPLETED }, { "failed", PHASE_FAILED },
        { "killed", PHASE_KILLED },       { "timeout", PHASE_TIMED_OUT },
        { "timed_out", PHASE_TIMED_OUT }, { NULL, 0 },
};

/* clang-format off */
const struct json_field jobs_list_args[] = {
        F_ENUM  (struct jobs_list_args, status, .in = IN_QUERY, .names = status_names,
                 .set_offset = offsetof(struct jobs_list_args, has_status), .doc = "Only jobs in this state"),
        F_STRING(struct jobs_list_args, name, .in = IN_QUERY, .max = LIMIT_JOB_NAME,
                 .doc = "Only jobs whose name contains this"),
        F_UINT  (struct jobs_list_args, limit, .in = IN_QUERY, .min = 1, .max = LIMIT_JOB_PAGE, .def = DEFAULT_LIMIT,
                 .doc = "Number of jobs in the answer"),
        F_STRING(struct jobs_list_args, cursor, .in = IN_QUERY, .max = 32,
                 .doc = "next_cursor of the page before: only jobs that are older"),
        F_END
};

const struct json_field job_id_args[] = {
        F_STRING(struct job_id_args, id, .in = IN_PATH, .required = true, .min = 1, .max = 256,
                 .doc = "process_id or execution_id"),
        F_END
};
/* clang-format on */

/* --- all of them --- */

/* One page on its way. */
struct page {
        struct list link; /* pages */
        struct request *request;
        struct job **jobs; /* references, newest first */
        size_t n;
        size_t n_written;
        size_t total; /* that match */
        bool has_more;
        struct buf body;
};

/* All that are on their way, in the order in which they were asked for. There is one timer for them, and one slice for
 * each of its ticks, however many they are: the first page has it until it is complete. */
static struct list pages = LIST_INIT(pages);
static unsigned n_pages;
static struct timer *timer; /* NULL: nothing was written since its last tick */
static size_t rows_left, bytes_left;

static void page_free(struct page *p)
{
        list_remove(&p->link);
        n_pages--;
        for (size_t i = 0; i < p->n; i++)
                job_unref(p->jobs[i]);
        free(p->jobs);
        request_unref(p->request);
        buf_done(&p->body);
        free(p);
}

static void on_page_cancelled(void *arg)
{
        page_free(arg);
}

static bool is_wanted(const struct jobs_list_args *args, const struct job *job)
{
        if (args->has_status && job_phase(job) != (enum job_phase)args->status)
                return false;
        return !args->name || !*args->name || strstr(job_name(job), args->name);
}

static void choose(struct page *p, struct jobs *jobs, const struct jobs_list_args *args,
                   uint64_t before)
{
        for (struct job *job = jobs_newest(jobs); job; job = jobs_older(job)) {
                if (!is_wanted(args, job))
                        continue;
                p->total++;
                if (job_order(job) >= before)
                        continue;
                if (p->n < args->limit)
                        p->jobs[p->n++] = job_ref(job);
                else
                        p->has_more = true;
        }
}

static int write_end(struct page *p)
{
        struct buf *b = &p->body;
        char now[CLOCK_RFC3339_SIZE];
        int r;

        r = buf_appendf(b, "],\"count\":%zu,\"total\":%zu,\"has_more\":%s,\"next_cursor\":", p->n,
                        p->total, p->has_more ? "true" : "false");
        if (r == 0 && p->has_more)
                r = buf_appendf(b, "\"%llu\"", (unsigned long long)job_order(p->jobs[p->n - 1]));
        else if (r == 0)
                r = buf_append_str(b, "null");
        return r < 0 ? r : buf_appendf(b, ",\"timestamp\":\"%s\"}", clock_rfc3339_now(now));
}

/* As much as is left of the slice. */
static int write_rows(struct page *p)
{
        int r = 0;

        while (p->n_written < p->n && rows_left > 0 && bytes_left > 0 && r == 0) {
                size_t before = p->body.size;

                if (p->n_written > 0)
                        r = buf_append_str(&p->body, ",");
                if (r == 0)
                        r = job_describe(&p->body, p->jobs[p->n_written++]);
                rows_left--;
                bytes_left -= MIN(bytes_left, p->body.size - before);
        }
        return r;
}

static void answer(struct page *p, int r)
{
        char *text;
        size_t size;

        if (r == 0)
                r = write_end(p);
        if (r < 0) {
                request_fail(p->request, PROBLEM_UNAVAILABLE,
                             "there is not enough memory for a list of %zu processes", p->n);
        } else {
                text = buf_steal(&p->body, &size);
                request_reply_text(p->request, 200, "application/json", text, size);
        }
        page_free(p);
}

static void write_pages(void)
{
        while (!list_is_empty(&pages) && rows_left > 0 && bytes_left > 0) {
                struct page *p = list_entry(pages.next, struct page, link);
                int r = write_rows(p);

                if (r == 0 && p->n_written < p->n)
                        return;
                if (rows_left > 0) /* an empty page is not for nothing */
                        rows_left--;
                answer(p, r);
        }
}

static void begin_slice(void)
{
        rows_left = SLICE_ROWS;
        bytes_left = SLICE_BYTES;
        timer_start(timer, 1); /* not 0, or it might be the next to be called */
}

static void on_tick(void *arg)
{
        (void)arg;
        if (list_is_empty(&pages)) {
                timer = timer_free(timer);
                return;
        }
        begin_slice();
        write_pages();
}

static void enqueue(struct page *p, struct loop *l)
{
        list_append(&pages, &p->link);
        n_pages++;
        request_on_cancel(p->request, on_page_cancelled, p);
        if (!timer) {
                timer = timer_new(l, on_tick, NULL);
                begin_slice();
        }
        write_pages();
}

/* Answers GET /execute/processes. */
int jobs_list_get(struct request *req)
{
        const struct jobs_list_args *args = request_args(req);
        struct app *app = request_app(req);
        uint64_t before = UINT64_MAX;
        struct page *p;

        if (args->cursor && *args->cursor && str_parse_u64(args->cursor, &before) < 0)
                return request_fail_field(req, PROBLEM_INVALID_REQUEST, "/cursor",
                                          "cursor: expected the next_cursor of another answer");
        if (!app->jobs)
                return request_fail(req, PROBLEM_UNAVAILABLE, "the agent is shutting down");
        if (n_pages >= LIMIT_JOB_LISTINGS) {
                request_set_header(req, "Retry-After", "1");
                return request_fail(req, PROBLEM_LIMIT_REACHED,
                                    "%d lists of processes are being written already; try again",
                                    LIMIT_JOB_LISTINGS);
        }

        p = xnew(struct page);
        list_init(&p->link);
        p->request = request_ref(req);
        p->jobs = xcalloc(args->limit, sizeof(*p->jobs));
        buf_init(&p->body, 0);
        choose(p, app->jobs, args, before);
        (void)buf_append_str(&p->body, "{\"processes\":["); /* if it fails, so will the next */
        enqueue(p, app->loop);
        return 0;
}

/* --- one of them --- */

/* One job's object on its way. */
struct view {
        struct request *request; /* a reference, as the next; neither is for the worker */
        struct job *job;
        char *dir;
        struct buf body; /* the object without its last brace */
        bool has_rich;   /* what it displayed is told */
        struct rich_limits limits;
        size_t held;           /* of the total, from here on until it has been sent */
        struct rich_log *rich; /* NULL: there is none */
        struct rich_answer rich_answer;
        int r;
};

static size_t total_held;

static void view_free(struct view *v)
{
        job_unref(v->job);
        request_unref(v->request);
        buf_done(&v->body);
        rich_answer_done(&v->rich_answer);
        rich_log_free(v->rich);
        total_held -= v->held;
        free(v->dir);
        free(v);
}

/* What is left of a log's last bytes: *ret, to be freed, with @ret_size bytes from a character's first on. */
static int read_tail(const struct joblog *log, char **ret, size_t *ret_size, bool *ret_truncated)
{
        CLEANUP(mem_free) char *data = NULL;
        struct joblog_totals totals;
        uint64_t offset, first;
        ssize_t n;
        int r;

        r = joblog_totals(log, &totals);
        if (r < 0)
                return r;
        data = try_alloc(LIMIT_JOB_TAIL);
        if (!data)
                return -ENOMEM;
        offset = totals.total > LIMIT_JOB_TAIL ? totals.total - LIMIT_JOB_TAIL : 0;
        n = joblog_read(log, offset, data, LIMIT_JOB_TAIL, &first);
        if (n < 0)
                return (int)n;
        for (int i = 0; first > 0 && i < 3 && n > 0 && (data[0] & 0xc0) == 0x80; i++)
                memmove(data, data + 1, (size_t)--n);
        *ret = STEAL(data);
        *ret_size = (size_t)n;
        *ret_truncated = first > 0;
        return 0;
}

static int open_log(const char *dir, const char *file, struct joblog *ret)
{
        CLEANUP(fd_close) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : joblog_open(fd, file, ret);
}

static int append_tail(struct buf *b, const char *dir, const char *file, const char *name)
{
        CLEANUP(mem_free) char *data = NULL;
        struct joblog log;
        bool is_truncated = false;
        size_t size = 0;
        int r;

        r = open_log(dir, file, &log);
        if (r == 0) {
                r = read_tail(&log, &data, &size, &is_truncated);
                joblog_close(&log);
        }
        if (log_error_may_pass(r))
                return r;
        if (r < 0 &&
            r != -ENOENT) /* damaged, by a crash or its program; the rest is true all the same */
                is_truncated = true; /* none: it never started, or was evicted a moment ago */
        r = buf_appendf(b, ",\"%s\":\"", name);
        if (r == 0 && size > 0)
                r = json_write_escaped(b, data, size);
        return r < 0 ? r
                     : buf_appendf(b, "\",\"%s_truncated\":%s", name,
                                   is_truncated ? "true" : "false");
}

/* On a worker thread. */
static void run(void *job)
{
        struct view *v = job;

        v->r = append_tail(&v->body, v->dir, JOBLOG_STDOUT, "stdout");
        if (v->r == 0)
                v->r = append_tail(&v->body, v->dir, JOBLOG_STDERR, "stderr");
        if (v->r == 0 && v->held > 0)
                v->r = rich_log_read(v->dir, &v->limits, &v->rich);
        if (v->r == 0 && v->has_rich) {
                rich_answer_init(&v->rich_answer, v->rich ? rich_log_content(v->rich) : NULL,
                                 SIZE_MAX);
                v->r = rich_answer_write(&v->body, &v->rich_answer);
        }
        if (v->r == 0)
                v->r = buf_append_str(&v->body, "}");
}

static void on_sent(void *arg)
{
        view_free(arg);
}

/* The texts in it are the view's. */
static void reply_with_rich(struct view *v, char *text, size_t size)
{
        struct document *doc = document_new_text(text, size);
        struct request *req = request_ref(v->request);

        rich_answer_add(doc, &v->rich_answer, on_sent, v);
        v->request = request_unref(v->request); /* whose answer it is now */
        request_reply_document(req, 200, doc);
        request_unref(req);
}

static void on_done(void *job)
{
        struct view *v = job;
        char *text;
        size_t size;

        if (v->r < 0) {
                log_warning("cannot read a job's output", "id=%s job=%s error=%s",
                            request_id(v->request), job_process_id(v->job), strerror(-v->r));
                request_fail(v->request, PROBLEM_UNAVAILABLE, "the output of %s cannot be read: %s",
                             job_process_id(v->job), strerror(-v->r));
        } else {
                text = buf_steal(&v->body, &size);
                if (v->has_rich) {
                        reply_with_rich(v, text, size);
                        return;
                }
                request_reply_text(v->request, 200, "application/json", text, size);
        }
        view_free(v);
}

/* What code has displayed is told after its end. Until the answer has been sent it is in memory. */
static bool hold_rich(struct view *v)
{
        const struct config *config = request_app(v->request)->config;
        const struct job_status *result = job_result(v->job);

        v->has_rich = result && job_language(v->job);
        if (!v->has_rich || result->rich_size == 0)
                return true;
        v->limits = (struct rich_limits){ config->rich_max_size, config->rich_max_count };
        v->held = (size_t)MIN(result->rich_size, v->limits.max_size + KIB);
        total_held += v->held;
        if (total_held == v->held || total_held <= LIMIT_JOB_HELD)
                return true;
        request_set_header(v->request, "Retry-After", "1");
        request_fail(v->request, PROBLEM_LIMIT_REACHED,
                     "too much of what processes displayed is being read by others; try again");
        return false;
}

/* Answers GET /execute/processes/{id}. */
int job_get(struct request *req)
{
        const struct job_id_args *args = request_args(req);
        struct job *job = job_of_request(req, args->id);
        struct view *v;
        int r;

        if (!job)
                return 0;
        if (job_phase(job) == PHASE_QUEUED)
                return job_reply(req, 200, job,
                                 ",\"stdout\":\"\",\"stdout_truncated\":false,"
                                 "\"stderr\":\"\",\"stderr_truncated\":false");

        v = xnew(struct view);
        v->request = request_ref(req);
        v->job = job_ref(job);
        v->dir = xstrdup(job_dir(job));
        buf_init(&v->body, 0);
        if (!hold_rich(v)) {
                view_free(v);
                return 0;
        }
        r = job_describe(&v->body, job);
        if (r == 0) {
                v->body.size--; /* the brace */
                r = job_run(request_app(req)->loop, v, run, on_done);
        }
        if (r < 0)
                view_free(v);
        return r;
}
