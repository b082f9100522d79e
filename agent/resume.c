/* SPDX-License-Identifier: Apache-2.0 */

/* Deadlines need nothing from here: they run on a clock that stands still together with us (agent/base/pauses.h). What
 * is left to do is what only a resume makes necessary:
 *
 *  - Clients may have given up meanwhile, without a word that could have reached us. WebSockets are asked, connections
 *    without a request are closed, and the kernel asks the peers of the others.
 *  - Another machine may have been started from the same saved state. What is drawn from the kernel's random numbers
 *    when it is needed, as all ids are, differs there; what was drawn before would not. So processes that wait for
 *    work, in which hash seeds and generators are set up already, are replaced, and OpenSSL's generator is fed.
 *
 * A machine whose clock does not count the time (most hypervisors stop it) shows a resume only by its wall clock, when
 * that is set; so that counts as one, whatever the reason. Doing it once too often costs a few processes. */

#include "agent/resume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOG_MODULE "resume"
#include "agent/app.h"
#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/jump.h"
#include "agent/base/log.h"
#include "agent/base/macros.h"
#include "agent/host/host.h"
#include "agent/http/server.h"
#include "agent/loop/loop.h"
#include "agent/webhook/webhook.h"
#include "agent/ws/ws.h"
#include "handlers/cache/results.h"
#include "proc/warm.h"

struct resume {
        struct app *app;
        struct jump_clocks before;
        int schedstat_fd; /* of the loop's thread; -1: the kernel does not count */
};

/* How long the loop's thread has wanted a processor, had one or not. */
static uint64_t busy_us(const struct resume *r)
{
        struct timespec used = { 0 };
        char text[96];
        ssize_t n = r->schedstat_fd < 0 ? -1 : pread(r->schedstat_fd, text, sizeof(text) - 1, 0);
        char *end;
        uint64_t run_ns, wait_ns;

        if (n <= 0) {
                (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used); /* cannot fail */
                return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
        }
        text[n] = '\0';
        run_ns = strtoull(text, &end, 10);
        wait_ns = strtoull(end, NULL, 10);
        return (run_ns + wait_ns) / 1000;
}

static struct jump_clocks look(const struct resume *r)
{
        return (struct jump_clocks){
                .monotonic_us = clock_monotonic_us(),
                .boot_us = clock_boot_us(),
                .realtime_us = clock_realtime_us(),
                .busy_us = busy_us(r),
        };
}

static void note(struct metrics *m, const struct jump *jump)
{
        log_warning("resumed", "kind=%s paused_ms=%llu wall_clock_set_ms=%lld",
                    jump_name(jump->kind), (unsigned long long)(jump->paused_us / 1000),
                    (long long)(jump->wall_us / 1000));
        m->resumes_total++;
        m->paused_us_total += jump->paused_us;
        m->last_resume.at_ms = clock_realtime_us() / 1000;
        m->last_resume.paused_us = jump->paused_us;
        m->last_resume.wall_us = jump->wall_us;
        m->last_resume.kind = jump_name(jump->kind);
}

static void on_tick(void *arg)
{
        struct resume *r = arg;
        struct app *app = r->app;
        struct jump_clocks now = look(r);
        struct jump jump = jump_judge(&r->before, &now);

        r->before = now;
        if (jump.kind == JUMP_NONE)
                return;
        note(&app->metrics, &jump);
        results_skip(app->results, (jump.paused_us + (uint64_t)MAX(jump.wall_us, 0)) / 1000);
        server_resumed(app->server);
        ws_server_resumed(app->websockets);
        host_resumed(app->host);
        if (app->warm)
                warm_renew(app->warm);
        if (app->webhooks)
                webhooks_resumed(app->webhooks);
}

/* See the header. */
struct resume *resume_new(struct app *app)
{
        struct resume *r = xnew(struct resume);

        r->app = app;
        r->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
        r->before = look(r);
        loop_on_tick(app->loop, on_tick, r);
        return r;
}

/* See the header. */
struct resume *resume_free(struct resume *r)
{
        if (!r)
                return NULL;
        loop_on_tick(r->app->loop, NULL, NULL);
        (void)fd_close(r->schedstat_fd);
        free(r);
        return NULL;
}
