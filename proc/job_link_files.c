/* SPDX-License-Identifier: Apache-2.0 */

/* What a job has on disk, and what is done about one whose keeper has died without writing how it ended. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/cgroup.h"
#include "proc/job_link_private.h"
#include "proc/joblog.h"
#include "proc/tree.h"

#define IDENTITY_SIZE (KEEPER_STATUS_MAX + 4096)

static const char *const reason_names[] = { [KEEPER_RUNS] = "none",
#define X(name, text) [KEEPER_##name] = text,
                                            KEEPER_REASONS(X)
#undef X
};

/* See the header. */
const char *job_reason_name(enum keeper_reason reason)
{
        return reason_names[reason];
}

static ssize_t read_text(int dir_fd, const char *name, char *dst, size_t size)
{
        CLEANUP(fd_close)
        int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        ssize_t n = fd < 0 ? -1 : read(fd, dst, size - 1);

        if (n < 0)
                return -errno;
        dst[n] = '\0';
        return n;
}

/* Copies the value of line @key; false: there is no such line, or it does not fit. */
static bool find_value(const char *text, const char *key, char *dst, size_t size)
{
        size_t key_size = strlen(key);

        for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
                if (strncmp(line, key, key_size) == 0 && line[key_size] == '=') {
                        const char *value = line + key_size + 1;
                        size_t n = strcspn(value, "\n");

                        /* Without its line's end the file is not complete. */
                        if (n >= size || value[n] != '\n')
                                return false;
                        memcpy(dst, value, n);
                        dst[n] = '\0';
                        return true;
                }
        return false;
}

static uint64_t number_of(const char *text, const char *key, bool *is_complete)
{
        char value[32];
        uint64_t n = 0;

        if (!find_value(text, key, value, sizeof(value)) || str_parse_u64(value, &n) < 0)
                *is_complete = false;
        return n;
}

static enum keeper_reason parse_reason(const char *name)
{
        for (size_t i = 1; i < ARRAY_LEN(reason_names); i++)
                if (strcmp(reason_names[i], name) == 0)
                        return (enum keeper_reason)i;
        return KEEPER_RUNS;
}

/* What need not be there. */
static void read_usage(const char *text, struct usage *u)
{
        bool is_there;

        u->user_us = number_of(text, "user_us", &is_there);
        u->system_us = number_of(text, "system_us", &is_there);
        u->peak_tasks = number_of(text, "peak_tasks", &is_there);
        u->refused_tasks = number_of(text, "refused_tasks", &is_there);
        u->has_io = true;
        u->read_bytes = number_of(text, "read_bytes", &u->has_io);
        u->written_bytes = number_of(text, "written_bytes", &u->has_io);
}

/* See job_link_private.h. */
int job_status_parse(const char *text, struct job_status *ret)
{
        bool ok = true, has_rich;
        char reason[32];
        struct job_status s = { 0 };

        if (!find_value(text, "reason", reason, sizeof(reason)))
                return -EBADMSG;
        s.reason = parse_reason(reason);
        s.exit_code = (int)number_of(text, "exit_code", &ok);
        s.signal = (int)number_of(text, "signal", &ok);
        s.failure.stage = (int32_t)number_of(text, "failure_stage", &ok);
        s.failure.error = (int32_t)number_of(text, "failure_errno", &ok);
        s.started_ms = (int64_t)number_of(text, "started_ms", &ok);
        s.ended_ms = (int64_t)number_of(text, "ended_ms", &ok);
        s.duration_us = number_of(text, "duration_us", &ok);
        s.usage.cpu_us = number_of(text, "cpu_us", &ok);
        s.usage.max_rss = number_of(text, "max_rss", &ok);
        read_usage(text, &s.usage);
        s.totals[0] = number_of(text, "stdout_total", &ok);
        s.totals[1] = number_of(text, "stderr_total", &ok);
        s.dropped[0] = number_of(text, "stdout_dropped", &ok);
        s.dropped[1] = number_of(text, "stderr_dropped", &ok);
        s.rich_size = number_of(text, "rich_size", &has_rich);
        if (!ok || s.reason == KEEPER_RUNS)
                return -EBADMSG;
        *ret = s;
        return 0;
}

/* See job_link.h. */
int job_status_read(int dir_fd, struct job_status *ret)
{
        char text[KEEPER_STATUS_MAX + 1];
        ssize_t n = read_text(dir_fd, KEEPER_STATUS, text, sizeof(text));

        return n < 0 ? (int)n : job_status_parse(text, ret);
}

static bool is_this_boot(const char *boot)
{
        char now[64];

        if (read_text(AT_FDCWD, "/proc/sys/kernel/random/boot_id", now, sizeof(now)) <= 0)
                return true; /* nothing speaks against it */
        now[strcspn(now, "\n")] = '\0';
        return strcmp(now, boot) == 0;
}

/* See job_link.h. */
int job_identity_read(int dir_fd, struct job_identity *ret)
{
        CLEANUP(mem_free) char *text = xcalloc(1, IDENTITY_SIZE);
        ssize_t n = read_text(dir_fd, KEEPER_FILE, text, IDENTITY_SIZE);
        char boot[64];
        bool ok = true, is_there;

        if (n < 0)
                return (int)n;
        *ret = (struct job_identity){ 0 };
        ret->pid = (pid_t)number_of(text, "pid", &ok);
        ret->start = number_of(text, "start", &ok);
        ret->leader = (pid_t)number_of(text, "leader", &ok);
        ret->leader_start = number_of(text, "leader_start", &ok);
        ret->started_ms = (int64_t)number_of(text, "started_ms", &ok);
        ret->has_terminal = number_of(text, "terminal", &ok) != 0;
        ret->limits.max_memory = number_of(text, "max_memory", &is_there);
        ret->limits.max_tasks = number_of(text, "max_tasks", &is_there);
        if (!ok || !find_value(text, "boot", boot, sizeof(boot)) ||
            !find_value(text, "leaf", ret->leaf, sizeof(ret->leaf)))
                return -EBADMSG;
        ret->is_of_this_boot = is_this_boot(boot);
        return 0;
}

/* See job_link_private.h. */
int job_is_kept(int dir_fd)
{
        char path[32];
        CLEANUP(fd_close) int fd = -1;

        /* A description of its own: a lock belongs to that. */
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", dir_fd);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_SH | LOCK_NB) == 0)
                return 0;
        return errno == EWOULDBLOCK ? 1 : -errno;
}

/* In clock ticks since the machine's start, the 22nd field; 0: there is no such process. */
static uint64_t start_of(pid_t pid)
{
        char path[64], text[1024];
        unsigned long long start;
        const char *s;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (read_text(AT_FDCWD, path, text, sizeof(text)) <= 0)
                return 0;
        s = strrchr(text, ')');
        if (!s || sscanf(s + 1,
                         " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                         "%*d %llu",
                         &start) != 1)
                return 0;
        return start;
}

static void kill_survivors(const struct job_identity *who, const char *id)
{
        /* Zero would stand for all that the agent has ever started. */
        struct tree_target t = { .leader = who->leader > 0 ? who->leader : -1 };

        if (who->leaf[0])
                cgroup_remove_job(who->leaf);
        t.leader_is_gone = who->leader <= 0 || start_of(who->leader) != who->leader_start;
        (void)snprintf(t.marker, sizeof(t.marker), "%s", id);
        (void)tree_kill(&t);
}

static void read_totals(int dir_fd, struct job_status *status)
{
        static const char *const names[2] = { JOBLOG_STDOUT, JOBLOG_STDERR };
        struct stat st;

        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                struct joblog_totals totals;
                struct joblog log;

                if (joblog_open(dir_fd, names[i], &log) < 0)
                        continue;
                if (joblog_totals(&log, &totals) == 0) {
                        status->totals[i] = totals.total;
                        status->dropped[i] = totals.dropped;
                }
                joblog_close(&log);
        }
        if (fstatat(dir_fd, KEEPER_RICH, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
                status->rich_size = (uint64_t)st.st_size;
}

static char *status_text(const struct job_status *s)
{
        return xasprintf(
                "reason=%s\nexit_code=%d\nsignal=%d\nfailure_stage=%d\nfailure_errno=%d\n"
                "started_ms=%lld\nended_ms=%lld\nduration_us=%llu\ncpu_us=%llu\nmax_rss=%llu\n"
                "stdout_total=%llu\nstderr_total=%llu\nstdout_dropped=%llu\nstderr_dropped=%llu\n"
                "rich_size=%llu\n",
                job_reason_name(s->reason), s->exit_code, s->signal, (int)s->failure.stage,
                (int)s->failure.error, (long long)s->started_ms, (long long)s->ended_ms,
                (unsigned long long)s->duration_us, (unsigned long long)s->usage.cpu_us,
                (unsigned long long)s->usage.max_rss, (unsigned long long)s->totals[0],
                (unsigned long long)s->totals[1], (unsigned long long)s->dropped[0],
                (unsigned long long)s->dropped[1], (unsigned long long)s->rich_size);
}

/* See job_link.h. */
int job_status_write(int dir_fd, const struct job_status *s)
{
        CLEANUP(mem_free) char *text = status_text(s);
        CLEANUP(fd_close)
        int fd = openat(dir_fd, KEEPER_STATUS ".tmp", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                        0600); /* its space may be there */

        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

        if (r == 0 && (ftruncate(fd, (off_t)strlen(text)) < 0 || fsync(fd) < 0 ||
                       renameat(dir_fd, KEEPER_STATUS ".tmp", dir_fd, KEEPER_STATUS) < 0))
                r = -errno;
        if (r < 0)
                (void)unlinkat(dir_fd, KEEPER_STATUS ".tmp", 0); /* it takes space */
        return r;
}

/* See job_link_private.h. */
void job_lost_run(void *arg)
{
        struct lost_job *job = arg;
        struct job_status *s = &job->status;
        CLEANUP(fd_close) int dir_fd = open(job->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CLEANUP(mem_free) struct job_identity *who = xnew(struct job_identity);
        struct timespec now;
        int r = dir_fd < 0 ? -errno : job_identity_read(dir_fd, who);

        *s = (struct job_status){ .reason = KEEPER_LOST,
                                  .exit_code = 128 + SIGKILL,
                                  .signal = SIGKILL };
        if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -EBADMSG) {
                job->result = r;
                return;
        }
        if (r < 0) /* then the marker has to do */
                *who = (struct job_identity){ .is_of_this_boot = true };
        if (who->is_of_this_boot)
                kill_survivors(who, job->id);
        (void)clock_gettime(CLOCK_REALTIME, &now);
        s->ended_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
        s->started_ms = who->started_ms ? who->started_ms : s->ended_ms;
        if (s->ended_ms > s->started_ms)
                s->duration_us = (uint64_t)(s->ended_ms - s->started_ms) * 1000;
        if (dir_fd < 0)
                return;
        read_totals(dir_fd, s);
        /* So that the next agent finds a job that has ended. On a full disk it finds the same as this one. */
        (void)job_status_write(dir_fd, s);
}
