/* SPDX-License-Identifier: Apache-2.0 */

/* Three things can go wrong with an agent that still answers.
 *
 * Its loop may be blocked again and again, by whatever: one long turn is over when we answer, so it takes two of them
 * among the latest ticks. Its disk may be full, read-only or hanging: a worker thread writes a small file. And there
 * may be no process to be had, or no shim: one is started as executions are (proc/trial.h). Trials are repeated after a
 * while if somebody still asks, and soon if they, or the start of an execution, have failed, so that who waits for the
 * recovery need not wait for long. A trial that does not come back is a failure, too, from some time on.
 *
 * Verdicts are kept for as long as nobody asks; the first one to ask after a long time gets an old one. That is the
 * price of an answer that waits for no disk. */

#include "agent/health.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/error.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "agent/loop/lag.h"
#include "agent/systemd.h"
#include "proc/supervisor.h"
#include "proc/trial.h"

#define LOG_MODULE "health"
#include "agent/base/log.h"

/* How old a verdict may be when somebody asks. */
#define STATE_DIR_FRESH_MS 3000
#define SPAWN_FRESH_MS     30000
#define FAILURE_FRESH_MS   500 /* clients try again after a second */

/* More than file systems keep inside their own records. */
#define PROBE_SIZE 4096
#define PROBE_NAME "health.check"

struct check {
        struct health_verdict verdict; /* of the latest trial that came back */
        bool is_running;
        uint64_t since_ms; /* it runs, or when the latest one came back */
};

struct disk_job {
        const char *path;
        int error; /* errno; 0: it could be written */
};

struct health {
        struct loop *loop;
        struct check checks[N_HEALTH_CHECKS]; /* the loop's is not used */
        char *probe_path;
        struct disk_job disk;
        struct supervisor *supervisor;
        struct trial trial;
        uint64_t n_failed; /* starts that had failed when a program was last tried */
        bool is_closing;
        bool was_well; /* when somebody last asked, or a trial came back */
        char problem[1024];
};

static const char *const check_names[N_HEALTH_CHECKS] = {
        [HEALTH_LOOP] = "loop",
        [HEALTH_STATE_DIR] = "state_dir",
        [HEALTH_SPAWN] = "spawn",
};

/* As in the answer. */
const char *health_check_name(enum health_check which)
{
        return check_names[which];
}

/* --- verdicts --- */

/* See the header. */
uint64_t health_lag_ms(const struct health *h)
{
        return loop_lag_repeated_ms(h->loop);
}

static void judge_loop(const struct health *h, struct health_verdict *ret)
{
        uint64_t lag_ms = health_lag_ms(h);

        *ret = (struct health_verdict){ .checked_at_ms = clock_realtime_us() / 1000 };
        if (lag_ms <= LIMIT_HEALTH_LAG_MS)
                return;
        ret->status = HEALTH_FAILED;
        snprintf(ret->error, sizeof(ret->error),
                 "the agent was busy for more than %d ms again and again (%llu ms at least twice)",
                 LIMIT_HEALTH_LAG_MS, (unsigned long long)lag_ms);
}

static bool is_silent(const struct check *c)
{
        return c->is_running && clock_now_ms() - c->since_ms >= LIMIT_HEALTH_SILENCE_MS;
}

/* See the header. */
void health_verdict(const struct health *h, enum health_check which, struct health_verdict *ret)
{
        const struct check *c = &h->checks[which];

        if (which == HEALTH_LOOP) {
                judge_loop(h, ret);
                return;
        }
        *ret = c->verdict;
        if (!is_silent(c))
                return;
        ret->status = HEALTH_FAILED;
        snprintf(ret->error, sizeof(ret->error), "no answer for %llu s",
                 (unsigned long long)(clock_now_ms() - c->since_ms) / 1000);
}

/* See the header. */
const char *health_problem(struct health *h)
{
        struct health_verdict verdict;
        size_t used = 0;

        h->problem[0] = '\0';
        for (int i = 0; i < N_HEALTH_CHECKS; i++) {
                health_verdict(h, (enum health_check)i, &verdict);
                if (verdict.status != HEALTH_FAILED || used >= sizeof(h->problem))
                        continue;
                used += (size_t)snprintf(h->problem + used, sizeof(h->problem) - used, "%s%s: %s",
                                         used > 0 ? "; " : "", check_names[i], verdict.error);
        }
        return h->problem;
}

/* Tells the log and the service manager, once for each change. */
static bool look(struct health *h)
{
        const char *problem = health_problem(h);
        bool is_well = !problem[0];

        if (is_well != h->was_well) {
                if (is_well)
                        log_info("healthy again", NULL);
                else
                        log_warning("unhealthy", "problem=%s", log_quote(problem));
                (void)systemd_notify_status("%s%s", is_well ? "healthy" : "unhealthy: ", problem);
                h->was_well = is_well;
        }
        return is_well;
}

/* --- trials --- */

static bool is_due(const struct check *c, uint64_t fresh_ms)
{
        if (c->is_running)
                return false;
        if (c->verdict.status == HEALTH_PENDING)
                return true;
        if (c->verdict.status == HEALTH_FAILED)
                fresh_ms = FAILURE_FRESH_MS;
        return clock_now_ms() - c->since_ms >= fresh_ms;
}

static void begin(struct check *c)
{
        c->is_running = true;
        c->since_ms = clock_now_ms();
}

/* @error: NULL when all is well */
static void finish(struct health *h, enum health_check which, const char *error)
{
        struct check *c = &h->checks[which];

        c->is_running = false;
        c->since_ms = clock_now_ms();
        c->verdict.checked_at_ms = clock_realtime_us() / 1000;
        c->verdict.status = error ? HEALTH_FAILED : HEALTH_OK;
        snprintf(c->verdict.error, sizeof(c->verdict.error), "%s", error ? error : "");
        if (!h->is_closing)
                (void)look(h);
}

/* On a worker thread. What is written is not forced to the disk: that may take a second on one that works. */
static void try_disk(void *arg)
{
        static const char nothing[PROBE_SIZE];
        struct disk_job *job = arg;
        int fd = open(job->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                      0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, nothing, sizeof(nothing));

        if (fd >= 0 && close(fd) < 0 && r >= 0)
                r = -errno; /* some network file systems say it only now */
        if (fd >= 0 && unlink(job->path) < 0 && r >= 0)
                r = -errno;
        job->error = r < 0 ? -r : 0;
}

static void on_disk_tried(void *arg)
{
        struct health *h = container_of((struct disk_job *)arg, struct health, disk);
        char text[128];

        /* Without the path: everybody may ask. */
        snprintf(text, sizeof(text), "cannot write there: %s", strerror(h->disk.error));
        finish(h, HEALTH_STATE_DIR, h->disk.error ? text : NULL);
}

static void start_disk(struct health *h)
{
        int r;

        begin(&h->checks[HEALTH_STATE_DIR]);
        r = job_run(h->loop, &h->disk, try_disk, on_disk_tried);
        if (r < 0)
                finish(h, HEALTH_STATE_DIR, strerror(-r));
}

static void on_trial_end(struct trial *t, const struct error *err)
{
        finish(container_of(t, struct health, trial), HEALTH_SPAWN, err ? err->message : NULL);
}

static void start_trial(struct health *h)
{
        struct supervisor_counts counts;
        struct error err = ERROR_INIT;

        supervisor_count(h->supervisor, &counts);
        h->n_failed = counts.failed;
        begin(&h->checks[HEALTH_SPAWN]);
        if (trial_start(&h->trial, &err) < 0)
                finish(h, HEALTH_SPAWN, err.message);
}

/* An execution that could not be started is a reason to look sooner. */
static bool has_start_failed(const struct health *h)
{
        struct supervisor_counts counts;

        supervisor_count(h->supervisor, &counts);
        return counts.failed != h->n_failed;
}

/* See the header. */
bool health_ask(struct health *h)
{
        if (h->is_closing)
                return h->was_well;
        if (is_due(&h->checks[HEALTH_STATE_DIR], STATE_DIR_FRESH_MS))
                start_disk(h);
        if (is_due(&h->checks[HEALTH_SPAWN], has_start_failed(h) ? 0 : SPAWN_FRESH_MS))
                start_trial(h);
        else if (is_silent(&h->checks[HEALTH_SPAWN]))
                trial_kill(&h->trial); /* another one may do better */
        return look(h);
}

/* See the header. */
bool health_is_wedged(const struct health *h)
{
        return is_silent(&h->checks[HEALTH_SPAWN]) && trial_is_unheard(&h->trial);
}

/* --- life --- */

/* See the header. */
struct health *health_new(struct loop *l, struct supervisor *s, const char *state_dir)
{
        struct health *h = xnew(struct health);

        h->loop = l;
        h->supervisor = s;
        h->probe_path = xasprintf("%s/" PROBE_NAME, state_dir);
        h->disk.path = h->probe_path;
        h->trial.on_end = on_trial_end;
        trial_init(&h->trial, s);
        for (size_t i = 0; i < ARRAY_LEN(h->checks); i++)
                h->checks[i].verdict.status = HEALTH_PENDING;
        h->was_well = true;
        (void)health_ask(h);
        return h;
}

/* See the header. */
void health_close(struct health *h)
{
        if (!h || h->is_closing)
                return;
        h->is_closing = true;
        trial_close(&h->trial);
}

/* See the header. */
struct health *health_free(struct health *h)
{
        if (!h)
                return NULL;
        free(h->probe_path);
        free(h);
        return NULL;
}
