/* SPDX-License-Identifier: Apache-2.0 */

/* The size of /proc/self/fd is the number of descriptors since Linux 6.2, which costs nothing. Before that they have to
 * be listed, at a microsecond or so for each: many are too many for the loop. */

#include "handlers/metrics/self.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/macros.h"
#include "agent/loop/job.h"

#define FD_DIRECTORY "/proc/self/fd"
#define MAX_LISTED   256 /* on the loop */
#define RECOUNT_MS   1000

/* The worker's. One for the process, as the descriptors are. */
static struct {
        bool is_busy;
        uint64_t n;
        uint64_t found; /* by the worker, which has only this while it is busy */
        uint64_t counted_ms;
} census;

/* -1: there are more than @max. Who has no descriptor left for the directory has as many as there may be. */
static int64_t list_fds(uint64_t max)
{
        DIR *dir = opendir(FD_DIRECTORY);
        struct rlimit limit = { .rlim_cur = 0 };
        uint64_t n = 0;

        if (!dir) {
                if (errno == EMFILE)
                        (void)getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail */
                return (int64_t)limit.rlim_cur;
        }
        while (n <= max + 3 && readdir(dir))
                n++;
        closedir(dir);
        return n <= max + 3 ? (int64_t)n - 3 : -1; /* ".", ".." and the directory itself */
}

static void on_run(void *arg)
{
        (void)arg;
        census.found = (uint64_t)list_fds(INT32_MAX);
}

static void on_done(void *arg)
{
        (void)arg;
        census.is_busy = false;
        census.n = census.found;
        census.counted_ms = clock_now_ms();
}

/* See the header. */
uint64_t self_count_fds(struct loop *l)
{
        int64_t n = list_fds(MAX_LISTED);

        if (n >= 0) {
                census.counted_ms = 0;
                return (uint64_t)n;
        }
        if (!census.is_busy &&
            (census.counted_ms == 0 || clock_now_ms() >= census.counted_ms + RECOUNT_MS))
                census.is_busy = job_run(l, &census, on_run, on_done) == 0;
        return MAX(census.n, (uint64_t)MAX_LISTED + 1);
}

static uint64_t count_fds(struct loop *l)
{
        struct stat st;

        if (stat(FD_DIRECTORY, &st) == 0 && st.st_size > 0)
                return (uint64_t)st.st_size;
        return self_count_fds(l);
}

/* The last known, where no descriptor is left. */
static uint64_t resident_bytes(void)
{
        static uint64_t last;
        CLEANUP(fd_close) int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        unsigned long long total, resident;
        char text[128];
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

        if (n <= 0)
                return last;
        text[n] = '\0';
        if (sscanf(text, "%llu %llu", &total, &resident) == 2)
                last = resident * (uint64_t)sysconf(_SC_PAGESIZE);
        return last;
}

static uint64_t microseconds(const struct timeval *t)
{
        return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

/* See the header. */
void self_read(struct loop *l, struct self *ret)
{
        struct rusage usage = { .ru_maxrss = 0 };
        struct rlimit limit = { .rlim_cur = 0 };

        (void)getrusage(RUSAGE_SELF, &usage); /* they cannot fail */
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        *ret = (struct self){
                .resident = resident_bytes(),
                .fds = count_fds(l),
                .max_fds = limit.rlim_cur,
                .cpu_user_us = microseconds(&usage.ru_utime),
                .cpu_system_us = microseconds(&usage.ru_stime),
        };
}
