/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A follower of a job whose logs are real. The registry is a fake of a few lines: tests say when it tells what. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/utf8.h"
#include "handlers/jobs/follower.h"
#include "handlers/jobs/log_reader.h"
#include "handlers/jobs/output_lines.h"
#include "proc/jobs.h"
#include "tests/lib/loop_fixture.h"

#define HANG_MS  20000
#define CAPACITY (256 * KIB)

/* --- the registry --- */

struct job {
        unsigned refs;
        enum job_phase phase;
        bool is_gone;
        uint64_t totals[2];
        struct list watches;
};

struct job *job_ref(struct job *job)
{
        job->refs++;
        return job;
}

struct job *job_unref(struct job *job)
{
        job->refs--;
        return NULL;
}

enum job_phase job_phase(const struct job *job)
{
        return job->phase;
}

bool job_is_gone(const struct job *job)
{
        return job->is_gone;
}

const uint64_t *job_totals(const struct job *job)
{
        return job->totals;
}

void job_watch_add(struct job *job, struct job_watch *w)
{
        list_append(&job->watches, &w->link);
}

void job_watch_remove(struct job_watch *w)
{
        list_remove(&w->link);
}

/* --- a job, and who follows it --- */

struct fixture {
        struct loop *loop;
        char dir[40];
        int fds[N_CHANNELS];
        struct joblog_writer logs[N_CHANNELS];
        struct job job;
        struct log_reader *reader;
        struct follower *follower;

        enum document_encoding encoding;
        size_t most;  /* that is taken of a piece; 0: all */
        bool is_lazy; /* asks for nothing by itself */
        struct buf output[N_CHANNELS];
        uint64_t lost[N_CHANNELS];
        unsigned n_pieces;
        enum output_channel order[16];
        bool has_looked;
        bool has_ended;
        int r;
};

static const char *const names[N_CHANNELS] = { JOBLOG_STDOUT, JOBLOG_STDERR };

static inline void make_log(struct fixture *f, int c, uint64_t capacity)
{
        char path[80];

        (void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[c]);
        f->fds[c] = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(f->fds[c] >= 0);
        assert_int_equal(joblog_writer_init(&f->logs[c], f->fds[c], capacity), 0);
}

static inline void make_logs(struct fixture *f, uint64_t capacity)
{
        make_log(f, CHANNEL_STDOUT, capacity);
        make_log(f, CHANNEL_STDERR, capacity);
}

static inline int setup(void **state)
{
        struct fixture *f = xnew(struct fixture);
        void *loop;

        assert_int_equal(loop_setup(&loop), 0);
        f->loop = loop;
        memcpy(f->dir, "/tmp/test-follower-XXXXXX", 26);
        assert_non_null(mkdtemp(f->dir));
        f->job.phase = PHASE_RUNNING;
        f->fds[0] = f->fds[1] = -1;
        list_init(&f->job.watches);
        for (int c = 0; c < N_CHANNELS; c++)
                buf_init(&f->output[c], 0);
        *state = f;
        return 0;
}

static inline int teardown(void **state)
{
        struct fixture *f = *state;
        void *loop = f->loop;

        (void)follower_free(f->follower);
        assert_int_equal(f->job.refs, 0);
        assert_true(list_is_empty(&f->job.watches));
        for (int c = 0; c < N_CHANNELS; c++) {
                char path[80];

                (void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[c]);
                (void)unlink(path);
                (void)fd_close(f->fds[c]);
                buf_done(&f->output[c]);
        }
        (void)rmdir(f->dir);
        free(f);
        return loop_teardown(&loop);
}

static inline void ask(struct fixture *f)
{
        if (!follower_want(f->follower))
                f->has_ended = true;
}

static inline void on_piece(void *arg, const struct follower_piece *p)
{
        struct fixture *f = arg;
        size_t size = output_line_size(p, f->encoding, f->most ? f->most : UINT64_MAX);

        assert_false(f->has_ended);
        assert_true(p->size > 0 && p->size <= FOLLOWER_PIECE);
        assert_true(p->offset == follower_offsets(f->follower)[p->channel]);
        assert_true(p->offset == f->output[p->channel].size + f->lost[p->channel] + p->lost);
        assert_int_equal(buf_append(&f->output[p->channel], p->data, size), 0);
        f->lost[p->channel] += p->lost;
        if (f->n_pieces < ARRAY_LEN(f->order))
                f->order[f->n_pieces] = p->channel;
        f->n_pieces++;
        follower_take(f->follower, size);
        if (!f->is_lazy)
                ask(f);
}

static inline void on_end(void *arg, int r)
{
        struct fixture *f = arg;

        assert_false(f->has_ended);
        f->has_ended = true;
        f->r = r;
}

static inline int is_set(void *arg)
{
        return *(bool *)arg;
}

static inline void on_looked(void *arg)
{
        ((struct fixture *)arg)->has_looked = true;
}

static inline void look(struct fixture *f)
{
        f->has_looked = false;
        f->reader = log_reader_new(f->loop, f->dir);
        log_reader_look(f->reader, on_looked, f);
        assert_true(loop_run_until(f->loop, is_set, &f->has_looked, HANG_MS));
}

static inline void follow(struct fixture *f, uint64_t until)
{
        static const struct follower_ops ops = { on_piece, on_end };
        struct follower_options o = {
                .job = &f->job,
                .is_wanted = { true, true },
                .until = { until, until },
                .is_text = f->encoding == DOCUMENT_UTF8,
        };

        look(f);
        o.reader = f->reader;
        for (int c = 0; c < N_CHANNELS; c++) /* what it has had before, from another one */
                o.from[c] = f->output[c].size + f->lost[c];
        f->follower = follower_new(&o, &ops, f);
        assert_non_null(f->follower);
        if (!f->is_lazy)
                ask(f);
}

static inline void append(struct fixture *f, enum output_channel c, const void *data, size_t size)
{
        joblog_write(&f->logs[c], data, size);
}

static inline void append_text(struct fixture *f, enum output_channel c, const char *text)
{
        append(f, c, text, strlen(text));
}

static inline void tell_grown(struct fixture *f)
{
        for (int c = 0; c < N_CHANNELS; c++)
                f->job.totals[c] = f->logs[c].mark.total;
        list_for_each_safe(pos, &f->job.watches) {
                struct job_watch *w = list_entry(pos, struct job_watch, link);

                w->on_grown(w, &f->job);
        }
}

static inline void tell_change(struct fixture *f)
{
        list_for_each_safe(pos, &f->job.watches) {
                struct job_watch *w = list_entry(pos, struct job_watch, link);

                w->on_change(w, &f->job);
        }
}

static inline void end_job(struct fixture *f)
{
        for (int c = 0; c < N_CHANNELS; c++)
                f->job.totals[c] = f->logs[c].mark.total;
        f->job.phase = PHASE_COMPLETED;
        tell_change(f);
}

static inline void wait_for_end(struct fixture *f)
{
        assert_true(loop_run_until(f->loop, is_set, &f->has_ended, HANG_MS));
        assert_int_equal(f->r, 0);
        assert_true(follower_is_complete(f->follower) || !job_phase_is_final(f->job.phase));
}

struct awaited {
        struct fixture *f;
        size_t sizes[N_CHANNELS];
};

static inline int has_sizes(void *arg)
{
        struct awaited *a = arg;

        return a->f->output[0].size == a->sizes[0] && a->f->output[1].size == a->sizes[1];
}

static inline void wait_for_sizes(struct fixture *f, size_t out, size_t err)
{
        struct awaited a = { f, { out, err } };

        if (!loop_run_until(f->loop, has_sizes, &a, HANG_MS))
                fail_msg("%zu and %zu bytes instead of %zu and %zu", f->output[0].size,
                         f->output[1].size, out, err);
}

static inline void expect_text(struct fixture *f, enum output_channel c, const char *text)
{
        assert_int_equal(f->output[c].size, strlen(text));
        assert_memory_equal(f->output[c].data ? f->output[c].data : "", text, strlen(text));
}

#define FOLLOWER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
