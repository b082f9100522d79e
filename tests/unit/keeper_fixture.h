/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Background jobs with real keepers (AGENT_KEEPER, or what lies beside AGENT_SHIM). Each test runs twice, as with
 * SUPERVISED: with cgroups, where this machine has them, and without.
 *
 * The test plays the agent: it is a subreaper. The teardown proves that no process and no cgroup is left. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/id.h"
#include "proc/cgroup.h"
#include "proc/job_link.h"
#include "proc/joblog.h"
#include "tests/lib/loop_fixture.h"
#include "tests/lib/skip.h"

/* Only so that a hanging test ends; nothing is measured with it. */
#define HANG_MS 20000

/* Jobs that the teardown knows by name. */
#define KEEPER_IDS 128

struct keeper_fixture {
        void *loop_state;
        struct loop *loop;
        struct job_host host;
        char keeper_path[4096];
        char base[64]; /* a directory for jobs */
        unsigned n_jobs;
        char ids[KEEPER_IDS][ID_SIZE]; /* of the last jobs */
};

/* One job and what became of it. */
struct job {
        struct keeper_fixture *f;
        struct job_link *link;
        char id[ID_SIZE];
        char dir[128];
        pid_t pid;
        struct job_status status;
        uint64_t totals[2];
        unsigned n_started;
        unsigned n_grown;
        unsigned n_drained;
        unsigned n_ends;
        unsigned n_gone;
        uint64_t wanted_total; /* for job_has_output_ */
};

static inline void job_on_started_(struct job_link *l, pid_t pid, void *arg)
{
        struct job *j = arg;

        assert_ptr_equal(l, j->link);
        assert_int_equal(j->n_ends, 0);
        assert_true(pid > 1);
        j->pid = pid;
        j->n_started++;
}

static inline void job_on_grown_(struct job_link *l, const uint64_t totals[2], void *arg)
{
        struct job *j = arg;

        assert_ptr_equal(l, j->link);
        assert_int_equal(j->n_ends, 0);
        assert_true(totals[0] >= j->totals[0] && totals[1] >= j->totals[1]);
        memcpy(j->totals, totals, sizeof(j->totals));
        j->n_grown++;
}

static inline void job_on_drained_(struct job_link *l, void *arg)
{
        (void)l;
        ((struct job *)arg)->n_drained++;
}

static inline void job_on_end_(struct job_link *l, const struct job_status *status, void *arg)
{
        struct job *j = arg;

        assert_ptr_equal(l, j->link);
        j->status = *status;
        j->n_ends++;
}

static inline void job_on_gone_(struct job_link *l, void *arg)
{
        (void)l;
        assert_int_equal(((struct job *)arg)->n_ends, 1);
        ((struct job *)arg)->n_gone++;
}

static const struct job_callbacks job_callbacks_ = {
        .on_started = job_on_started_,
        .on_grown = job_on_grown_,
        .on_input_drained = job_on_drained_,
        .on_end = job_on_end_,
        .on_gone = job_on_gone_,
};

static inline int keeper_setup(void **state, bool use_cgroups)
{
        struct keeper_fixture *f = xnew(struct keeper_fixture);
        struct error err = ERROR_INIT;
        const char *shim = getenv("AGENT_SHIM");
        const char *keeper = getenv("AGENT_KEEPER");

        assert_non_null(shim);
        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
        loop_setup(&f->loop_state);
        f->loop = f->loop_state;
        if (keeper)
                snprintf(f->keeper_path, sizeof(f->keeper_path), "%s", keeper);
        else
                snprintf(f->keeper_path, sizeof(f->keeper_path), "%.*s/agent-keeper",
                         (int)(strrchr(shim, '/') - shim), shim);
        memcpy(f->base, "/tmp/test-keeper-XXXXXX", 24);
        assert_non_null(mkdtemp(f->base));
        f->host = (struct job_host){ .loop = f->loop, .shim = shim, .keeper = f->keeper_path };
        if (use_cgroups && cgroup_new(&f->host.cgroup, &err) < 0)
                f->host.cgroup = NULL;
        *state = f;
        return 0;
}

static inline int keeper_setup_cgroup(void **state)
{
        return keeper_setup(state, true);
}

static inline int keeper_setup_walk(void **state)
{
        return keeper_setup(state, false);
}

static inline int keeper_remove_(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

/* Reaps until there are no children; false: some do not end. */
static inline bool keeper_reap_all(void)
{
        uint64_t end_ms = clock_now_ms() + HANG_MS;
        pid_t pid;

        while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0)
                if (pid == 0 && clock_now_ms() > end_ms)
                        return false;
        return errno == ECHILD;
}

/* Cgroups of jobs that are still there. */
static inline unsigned keeper_count_leaves(const struct keeper_fixture *f)
{
        struct error err = ERROR_INIT;
        char *path = NULL;
        unsigned n = 0;

        for (unsigned i = 0; f->host.cgroup && i < f->n_jobs; i++) {
                if (cgroup_job_path(f->host.cgroup, f->ids[i % KEEPER_IDS], &path, &err) < 0)
                        fail_msg("%s", err.message);
                n += access(path, F_OK) == 0;
                free(path);
        }
        return n;
}

static inline int keeper_teardown(void **state)
{
        struct keeper_fixture *f = *state;

        assert_true(keeper_reap_all());
        assert_int_equal(keeper_count_leaves(f), 0);
        f->host.cgroup = cgroup_free(f->host.cgroup);
        loop_teardown(&f->loop_state);
        assert_int_equal(nftw(f->base, keeper_remove_, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(f);
        return 0;
}

#define KEPT(test)                                                               \
        { #test " (cgroup)", test, keeper_setup_cgroup, keeper_teardown, NULL }, \
        {                                                                        \
#test " (walk)", test, keeper_setup_walk, keeper_teardown, NULL  \
        }

#define SCRIPT(text) ((char *[]){ (char *)"/bin/bash", (char *)"-c", (char *)(text), NULL })

static char *const job_environment[] = {
        (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL
};

static inline void job_name(struct keeper_fixture *f, struct job *j)
{
        *j = (struct job){ .f = f };
        id_new(j->id, "job_");
        memcpy(f->ids[f->n_jobs % KEEPER_IDS], j->id, sizeof(j->id));
        snprintf(j->dir, sizeof(j->dir), "%s/%u", f->base, f->n_jobs++);
}

/* Starts what @o says, with the fixture's defaults for what it leaves out. */
static inline void job_start(struct keeper_fixture *f, struct job *j, struct job_options o)
{
        struct error err = ERROR_INIT;

        job_name(f, j);
        o.dir = j->dir;
        o.id = j->id;
        o.envp = o.envp ? o.envp : job_environment;
        o.cwd = o.cwd ? o.cwd : "/";
        o.input_fd = -1;
        o.log_capacity = o.log_capacity ? o.log_capacity : MIB;
        if (job_link_start(&f->host, &o, &job_callbacks_, j, &j->link, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(j->n_started + j->n_ends, 0);
}

/* Another agent's look at @from. */
static inline void job_find(const struct job *from, struct job *j)
{
        struct error err = ERROR_INIT;

        *j = (struct job){ .f = from->f };
        memcpy(j->id, from->id, sizeof(j->id));
        memcpy(j->dir, from->dir, sizeof(j->dir));
        if (job_link_connect(&j->f->host, j->dir, j->id, &job_callbacks_, j, &j->link, &err) < 0)
                fail_msg("%s", err.message);
        assert_int_equal(j->n_started + j->n_ends, 0);
}

static inline void keeper_on_tick_(uv_timer_t *timer)
{
        (void)timer;
}

/* As loop_run_until, but looks again from time to time: what a timer's callback has made true is not an event that ends
 * a turn of the loop. */
static inline bool keeper_run_until(struct keeper_fixture *f, int (*is_true)(void *arg), void *arg,
                                    unsigned deadline_ms)
{
        uint64_t end_ms = clock_now_ms() + deadline_ms;
        uv_timer_t tick;

        assert_int_equal(uv_timer_init(&f->loop->uv, &tick), 0);
        tick.data = &tick;
        assert_int_equal(uv_timer_start(&tick, keeper_on_tick_, 1, 5), 0);
        while (!is_true(arg) && clock_now_ms() < end_ms)
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&tick, loop_on_deadline_closed_);
        while (tick.data)
                (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        return is_true(arg);
}

static inline int job_has_started_(void *arg)
{
        return ((struct job *)arg)->n_started > 0;
}

static inline int job_has_ended_(void *arg)
{
        return ((struct job *)arg)->n_ends > 0;
}

static inline int job_is_gone_(void *arg)
{
        return ((struct job *)arg)->n_gone > 0;
}

static inline int job_has_output_(void *arg)
{
        struct job *j = arg;

        return j->totals[0] >= j->wanted_total;
}

static inline void job_wait_started(struct job *j)
{
        if (!keeper_run_until(j->f, job_has_started_, j, HANG_MS))
                fail_msg("does not start");
}

static inline void job_wait_output(struct job *j, uint64_t total)
{
        j->wanted_total = total;
        if (!keeper_run_until(j->f, job_has_output_, j, HANG_MS))
                fail_msg("only %llu bytes", (unsigned long long)j->totals[0]);
}

static inline void job_wait(struct job *j)
{
        if (!keeper_run_until(j->f, job_has_ended_, j, HANG_MS))
                fail_msg("does not end");
        assert_int_equal(j->n_ends, 1);
}

/* Until the keeper is gone, too. */
static inline void job_wait_gone(struct job *j)
{
        job_wait(j);
        if (!keeper_run_until(j->f, job_is_gone_, j, HANG_MS))
                fail_msg("the keeper does not go");
}

static inline int job_is_never_(void *arg)
{
        (void)arg;
        return 0;
}

/* Lets the link's handles close. */
static inline void job_done(struct job *j)
{
        j->link = job_link_free(j->link);
        (void)keeper_run_until(j->f, job_is_never_, NULL, 1);
}

/* All of a stream that can still be read, from @offset on. */
static inline void job_read(const struct job *j, const char *name, uint64_t offset, struct buf *ret)
{
        CLEANUP(fd_close) int dir_fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct joblog log;
        char piece[5000];
        uint64_t at;
        ssize_t n;

        assert_int_equal(joblog_open(dir_fd, name, &log), 0);
        while ((n = joblog_read(&log, offset, piece, sizeof(piece), &at)) > 0) {
                assert_int_equal(buf_append(ret, piece, (size_t)n), 0);
                offset = at + (uint64_t)n;
        }
        assert_int_equal(n, 0);
        joblog_close(&log);
}

static inline void job_expect_output(const struct job *j, const char *name, const char *text)
{
        struct buf b;

        buf_init(&b, 0);
        job_read(j, name, 0, &b);
        assert_string_equal(b.data ? b.data : "", text);
        buf_done(&b);
}

/* The letter of /proc, '?' when there is no such process. */
static inline char job_state_of(pid_t pid)
{
        char path[64];
        char c = '?';
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        file = fopen(path, "re");
        if (file) {
                if (fscanf(file, "%*d (%*[^)]) %c", &c) != 1)
                        c = '?';
                (void)fclose(file);
        }
        return c;
}

static inline bool job_is_alive(pid_t pid)
{
        char c = job_state_of(pid);

        return c != '?' && c != 'Z' && c != 'X';
}

/* For what the loop does not hear of; children are reaped meanwhile. */
static inline bool job_poll_until(struct keeper_fixture *f, int (*is_true)(void *arg), void *arg)
{
        uint64_t end_ms = clock_now_ms() + HANG_MS;

        while (!is_true(arg)) {
                if (clock_now_ms() > end_ms)
                        return false;
                (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
                (void)waitpid(-1, NULL, WNOHANG);
        }
        return true;
}

static inline int job_is_dead_(void *arg)
{
        return !job_is_alive(*(pid_t *)arg);
}

/* The number that the job has printed on line @n of its stdout, from 0 on. */
static inline pid_t job_printed_pid(struct job *j, unsigned n)
{
        struct buf b;
        const char *s;
        long pid;

        buf_init(&b, 0);
        job_read(j, JOBLOG_STDOUT, 0, &b);
        s = b.data;
        for (; n > 0; n--)
                s = strchr(s, '\n') + 1;
        pid = strtol(s, NULL, 10);
        buf_done(&b);
        assert_true(pid > 1);
        return (pid_t)pid;
}
