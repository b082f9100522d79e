/* SPDX-License-Identifier: Apache-2.0 */

/* The worker works on the reader itself, which therefore outlives its owner while one is busy. All members below
 * "shared" are the worker's then; the loop's thread looks at `is_busy` and `is_dead` only. */

#include "handlers/jobs/log_reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/loop/job.h"

struct log_reader {
        struct loop *loop;
        bool is_busy;
        bool is_dead; /* its owner has gone, and the worker's end will free it */
        void (*on_looked)(void *arg);
        void (*on_read)(void *arg, const struct log_read *read);
        void *arg;
        /* shared */
        char *dir;
        struct joblog logs[N_CHANNELS];
        int errors[N_CHANNELS]; /* 0: it is open */
        struct joblog_totals totals[N_CHANNELS];
        enum output_channel channel;
        uint64_t offset;
        size_t size;
        struct log_read read;
};

/* See the header. */
struct log_reader *log_reader_new(struct loop *l, const char *dir)
{
        struct log_reader *r = xnew(struct log_reader);

        r->loop = l;
        r->dir = xstrdup(dir);
        for (int i = 0; i < N_CHANNELS; i++)
                r->errors[i] = -ENOENT;
        return r;
}

static void destroy(struct log_reader *r)
{
        for (int i = 0; i < N_CHANNELS; i++)
                if (r->errors[i] == 0)
                        joblog_close(&r->logs[i]);
        free(r->read.data);
        free(r->dir);
        free(r);
}

/* See the header. */
struct log_reader *log_reader_free(struct log_reader *r)
{
        if (!r)
                return NULL;
        r->is_dead = true;
        if (!r->is_busy)
                destroy(r);
        return NULL;
}

/* --- in a worker --- */

static void open_logs(struct log_reader *r)
{
        static const char *const names[N_CHANNELS] = { JOBLOG_STDOUT, JOBLOG_STDERR };
        CLEANUP(fd_close) int dir_fd = -1;
        int error = 0;

        if (r->errors[CHANNEL_STDOUT] == 0 && r->errors[CHANNEL_STDERR] == 0)
                return;
        dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                error = -errno;
        for (int i = 0; i < N_CHANNELS; i++)
                if (r->errors[i] < 0)
                        r->errors[i] = error ? error : joblog_open(dir_fd, names[i], &r->logs[i]);
}

static int look(struct log_reader *r, enum output_channel channel)
{
        if (r->errors[channel] < 0)
                return r->errors[channel];
        return joblog_totals(&r->logs[channel], &r->totals[channel]);
}

static void run_look(void *arg)
{
        struct log_reader *r = arg;

        open_logs(r);
        for (int i = 0; i < N_CHANNELS; i++) {
                int error = look(r, (enum output_channel)i);

                if (error < 0 && r->errors[i] == 0) {
                        joblog_close(&r->logs[i]);
                        r->errors[i] = error;
                }
        }
}

static int read_log(struct log_reader *r)
{
        const struct joblog_totals *totals = &r->totals[r->channel];
        ssize_t n;
        int error;

        open_logs(r);
        error = look(r, r->channel);
        if (error < 0)
                return error;
        r->read.offset = MAX(r->offset, totals->first);
        if (r->offset > totals->total)
                return -ERANGE;
        r->size = (size_t)MIN(r->size, totals->total - r->read.offset);
        if (r->size == 0)
                return 0;
        r->read.data = try_alloc(r->size);
        if (!r->read.data)
                return -ENOMEM;
        n = joblog_read(&r->logs[r->channel], r->offset, r->read.data, r->size, &r->read.offset);
        if (n < 0)
                return (int)n;
        r->read.size = (size_t)n;
        return 0;
}

static void run_read(void *arg)
{
        struct log_reader *r = arg;

        r->read.r = read_log(r);
        if (r->read.r < 0 || r->read.size == 0)
                r->read.data = mem_free(r->read.data);
}

/* --- on the loop --- */

/* Whether somebody still wants to know. */
static bool finish(struct log_reader *r)
{
        r->is_busy = false;
        if (r->is_dead)
                destroy(r);
        else
                return true;
        return false;
}

static void on_looked(void *arg)
{
        struct log_reader *r = arg;

        if (finish(r))
                r->on_looked(r->arg);
}

static void on_read(void *arg)
{
        struct log_reader *r = arg;
        struct log_read read;

        if (!finish(r))
                return;
        read = r->read;
        r->read.data = NULL;
        r->on_read(r->arg, &read);
}

static void run(struct log_reader *r, void (*work)(void *arg), void (*done)(void *arg))
{
        int error;

        assert(!r->is_busy);
        r->is_busy = true;
        error = job_run(r->loop, r, work, done);
        assert(error == 0); /* it fails without a function to run only */
        (void)error;
}

/* See the header. */
void log_reader_look(struct log_reader *r, void (*done)(void *arg), void *arg)
{
        r->on_looked = done;
        r->arg = arg;
        run(r, run_look, on_looked);
}

/* See the header. */
void log_reader_read(struct log_reader *r, enum output_channel channel, uint64_t offset,
                     size_t size, void (*done)(void *arg, const struct log_read *read), void *arg)
{
        r->on_read = done;
        r->arg = arg;
        r->channel = channel;
        r->offset = offset;
        r->size = size;
        r->read = (struct log_read){ .r = 0 };
        run(r, run_read, on_read);
}

/* See the header. */
const struct joblog_totals *log_reader_totals(const struct log_reader *r,
                                              enum output_channel channel)
{
        return &r->totals[channel];
}

/* See the header. */
int log_reader_error(const struct log_reader *r, enum output_channel channel)
{
        return r->errors[channel];
}
