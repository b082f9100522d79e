/* SPDX-License-Identifier: Apache-2.0 */

/* What is left of a job in files: who keeps it, while it runs, and how it ended. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "proc/keeper_private.h"

#define START_FIELD 22  /* of /proc/PID/stat: when it began */
#define MAX_GROUPS  256 /* that are removed below a leaf */
#define BLOCK_SIZE  512 /* in which the kernel counts input and output */

static const char *const reason_names[] = {
#define X(name, text) [KEEPER_##name] = text,
        KEEPER_REASONS(X)
#undef X
};

/* In clock ticks since the machine's start; 0: there is no such process. */
static uint64_t start_of(pid_t pid)
{
        char path[32], stat[1024];
        struct text t = TEXT_IN(path);
        const char *s;

        text_add(&t, "/proc/");
        text_add_number(&t, (uint64_t)pid);
        text_add(&t, "/stat");
        if (pid <= 0 || keeper_read_file(AT_FDCWD, path, stat, sizeof(stat)) <= 0)
                return 0;
        s = text_behind_name(stat); /* the third field */
        for (int field = 3; s && *s && field < START_FIELD; s++)
                field += *s == ' ';
        return s ? text_number(s, NULL) : 0;
}

/* Replaces the file as a whole, so that nobody sees half of it. */
int keeper_write_identity(const struct keeper *k)
{
        char boot[64], content[1024 + 4096];
        struct text t = TEXT_IN(content);
        pid_t self = (pid_t)kernel(SYS_getpid);
        long r;

        (void)keeper_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
        for (char *s = boot; *s; s++)
                if (*s == '\n')
                        *s = '\0';
        text_add_count(&t, "version", KEEPER_VERSION);
        text_add_line(&t, "boot", boot);
        text_add_count(&t, "pid", (uint64_t)self);
        text_add_count(&t, "start", start_of(self));
        text_add_count(&t, "leader", (uint64_t)k->leader);
        text_add_count(&t, "leader_start", start_of(k->leader));
        text_add_count(&t, "started_ms", k->started_ms);
        text_add_count(&t, "terminal", (k->config.flags & KEEPER_HAS_TERMINAL) != 0);
        text_add_line(&t, "leaf", k->leaf);
        text_add_count(&t, "max_memory", k->config.max_memory);
        text_add_count(&t, "max_tasks", k->config.max_tasks);
        r = keeper_write_file(k->dir_fd, KEEPER_FILE ".tmp", content);
        if (r >= 0)
                r = kernel(SYS_renameat2, k->dir_fd, KEEPER_FILE ".tmp", k->dir_fd, KEEPER_FILE, 0);
        return r < 0 ? (int)r : 0;
}

static uint64_t leaf_number(const struct keeper *k, const char *file, const char *key)
{
        char content[1024];

        if (k->leaf_fd < 0 || keeper_read_file(k->leaf_fd, file, content, sizeof(content)) <= 0)
                return 0;
        return key ? text_find_number(content, key) : text_number(content, NULL);
}

/* Nobody wanted it dead, or it was faster than SIGKILL. */
static bool ended_by_itself(const struct keeper *k)
{
        if (!k->kill_reason)
                return true;
        return !k->was_termed &&
               !(WIFSIGNALED(k->wait_status) && WTERMSIG(k->wait_status) == SIGKILL);
}

struct end {
        enum keeper_reason reason;
        unsigned exit_code;
        int signal;
};

static unsigned exit_code_of_kill(enum keeper_reason reason)
{
        return reason == KEEPER_TIMEOUT ? 124 : 128 + SIGKILL;
}

static uint64_t micros(const struct timeval *t)
{
        return (uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec;
}

static uint64_t cpu_of_leader(const struct keeper *k)
{
        return micros(&k->usage.ru_utime) + micros(&k->usage.ru_stime);
}

static void compute_end(const struct keeper *k, struct end *e)
{
        int status = k->wait_status;

        *e = (struct end){ .reason = k->kill_reason };
        if (k->failure.stage != SPAWN_OK) {
                e->reason = KEEPER_SPAWN;
                e->exit_code = k->failure.error == ENOENT ? 127 : 126;
                return;
        }
        if (k->leader_lives) { /* SIGKILL is on its way */
                e->exit_code = exit_code_of_kill(e->reason);
                return;
        }
        e->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        e->exit_code = e->signal ? 128 + (unsigned)e->signal : (unsigned)WEXITSTATUS(status);
        if (!ended_by_itself(k)) {
                if (e->reason == KEEPER_TIMEOUT)
                        e->exit_code = exit_code_of_kill(e->reason);
        } else if (e->exit_code == 128 + SIGKILL &&
                   leaf_number(k, "memory.events", "oom_kill") > 0) {
                e->reason = KEEPER_OOM;
        } else if (process_limits_ended(k->cpu_seconds, status, cpu_of_leader(k))) {
                e->reason = KEEPER_CPU_LIMIT;
                e->exit_code = PROCESS_CPU_EXIT_CODE;
        } else {
                e->reason = e->signal ? KEEPER_SIGNAL : KEEPER_EXIT;
        }
}

/* The bytes behind each "@key=" of the leaf's io.stat, which has a line for each disk. */
static uint64_t sum_of(const char *text, const char *key)
{
        size_t size = text_length(key);
        uint64_t sum = 0;

        for (const char *s = text; *s; s++) {
                size_t n = 0;

                while (n < size && s[n] == key[n])
                        n++;
                if (n == size)
                        sum += text_number(s + size, NULL);
        }
        return sum;
}

/* As usage_compute (usage.c): what the leaf does not tell is the leader's. */
static void add_io(const struct keeper *k, struct text *t)
{
        static char content[4096];
        bool is_told = k->leaf_fd >= 0 &&
                       keeper_read_file(k->leaf_fd, "io.stat", content, sizeof(content)) >= 0;

        if (!is_told && k->leader_lives)
                return;
        text_add_count(t, "read_bytes",
                       is_told ? sum_of(content, " rbytes=")
                               : (uint64_t)k->usage.ru_inblock * BLOCK_SIZE);
        text_add_count(t, "written_bytes",
                       is_told ? sum_of(content, " wbytes=")
                               : (uint64_t)k->usage.ru_oublock * BLOCK_SIZE);
}

static void add_usage(const struct keeper *k, struct text *t)
{
        uint64_t user_us = leaf_number(k, "cpu.stat", "user_usec");
        uint64_t system_us = leaf_number(k, "cpu.stat", "system_usec");
        uint64_t peak = leaf_number(k, "memory.peak", NULL);
        uint64_t peak_tasks = leaf_number(k, "pids.peak", NULL);

        if (user_us + system_us == 0) {
                user_us = micros(&k->usage.ru_utime);
                system_us = micros(&k->usage.ru_stime);
        }
        if (peak == 0)
                peak = (uint64_t)k->usage.ru_maxrss * KIB;
        text_add_count(t, "cpu_us", user_us + system_us);
        text_add_count(t, "user_us", user_us);
        text_add_count(t, "system_us", system_us);
        text_add_count(t, "max_rss", peak);
        add_io(k, t);
        if (peak_tasks > 0) {
                text_add_count(t, "peak_tasks", peak_tasks);
                text_add_count(t, "refused_tasks", leaf_number(k, "pids.events", "max"));
        }
}

/* The result is final: nothing is added to the logs after this. */
void keeper_end(struct keeper *k)
{
        struct text t = TEXT_IN(k->status);
        uint64_t duration_us = keeper_now_us() - k->started_us;
        struct end e;

        k->has_ended = true;
        keeper_end_rich(k);
        keeper_close_input(k);
        compute_end(k, &e);
        text_add_line(&t, "reason", reason_names[e.reason]);
        text_add_count(&t, "exit_code", e.exit_code);
        text_add_count(&t, "signal", (uint64_t)e.signal);
        text_add_count(&t, "failure_stage", (uint64_t)k->failure.stage);
        text_add_count(&t, "failure_errno", (uint64_t)k->failure.error);
        text_add_count(&t, "started_ms", k->started_ms);
        text_add_count(&t, "ended_ms", keeper_unix_ms());
        text_add_count(&t, "duration_us", duration_us);
        add_usage(k, &t);
        text_add_count(&t, "stdout_total", k->streams[0].log.mark.total);
        text_add_count(&t, "stderr_total", k->streams[1].log.mark.total);
        text_add_count(&t, "stdout_dropped", k->streams[0].log.mark.dropped);
        text_add_count(&t, "stderr_dropped", k->streams[1].log.mark.dropped);
        text_add_count(&t, "rich_size", k->rich.size);
        k->status_size = t.size;
}

static long save(const struct keeper *k)
{
        long r = kernel(SYS_pwrite64, k->end_fd, k->status, k->status_size, 0);

        if (r < 0)
                return r;
        if (r != (long)k->status_size)
                return -ENOSPC;
        r = kernel(SYS_ftruncate, k->end_fd, k->status_size);
        if (r == 0)
                r = kernel(SYS_fsync, k->end_fd);
        if (r == 0)
                r = kernel(SYS_renameat2, k->dir_fd, KEEPER_STATUS ".tmp", k->dir_fd, KEEPER_STATUS,
                           0);
        return r;
}

/* Makes the status file. When that fails it is tried again, but not when there is no directory any more, nor when
 * there never was space for it: then the agent, which has just asked for the job, hears of the end by message. */
void keeper_save(struct keeper *k)
{
        long r = k->end_fd < 0 ? -ENOENT : save(k);

        if (r == 0 || r == -ENOENT)
                k->is_saved = true;
}

/* The name of some cgroup below @dir_fd; false: there is none. */
static bool find_group(int dir_fd, char name[256])
{
        static char entries[2048] __attribute__((aligned(8)));
        struct text t = { .data = name, .capacity = 256 };
        long size;

        while ((size = kernel(SYS_getdents64, dir_fd, entries, sizeof(entries))) > 0)
                for (long at = 0; at < size;) {
                        const struct directory_entry *e = (struct directory_entry *)(entries + at);

                        at += e->size;
                        if (e->type != DT_DIR || e->name[0] == '.')
                                continue;
                        text_add(&t, e->name);
                        return true;
                }
        return false;
}

/* Removes the first cgroup that has none below it; false: there is none, or it stays. */
static bool remove_group_below(int dir_fd)
{
        long parent = kernel(SYS_openat, dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[256], below[256];
        bool is_removed = false;

        if (parent >= 0 && find_group((int)parent, name)) {
                for (;;) {
                        long child = kernel(SYS_openat, parent, name,
                                            O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

                        if (child < 0 || !find_group((int)child, below)) {
                                (void)keeper_close((int)child);
                                break;
                        }
                        (void)keeper_close((int)parent);
                        parent = child;
                        __builtin_memcpy(name, below, sizeof(name));
                }
                is_removed = kernel(SYS_unlinkat, parent, name, AT_REMOVEDIR) == 0;
        }
        (void)keeper_close((int)parent);
        return is_removed;
}

/* The last of the tree is gone, and so are we. */
void keeper_clean_up(struct keeper *k)
{
        if (k->leaf_fd >= 0 && kernel(SYS_unlinkat, AT_FDCWD, k->leaf, AT_REMOVEDIR) == -EBUSY) {
                /* Programs may have made cgroups of their own below. */
                for (unsigned n = 0; n < MAX_GROUPS && remove_group_below(k->leaf_fd); n++)
                        ;
                (void)kernel(SYS_unlinkat, AT_FDCWD, k->leaf, AT_REMOVEDIR);
        }
        (void)kernel(SYS_unlinkat, AT_FDCWD, KEEPER_CONTROL, 0);
}
