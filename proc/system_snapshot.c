/* SPDX-License-Identifier: Apache-2.0 */

/* A process may vanish between any two steps, and its number may go to another one. So all is found by its number
 * before its state is read, through a file that was opened first: that can be read only while the process has its
 * number, and so all that was found in between is of this process. A directory to find it in would do as well, but
 * opening is what costs most.
 *
 * The user is the owner of the process's directory. For other files of /proc that is not so: those of processes that
 * changed their user belong to root. */

#include "proc/system_snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/limits.h"
#include "agent/base/str.h"
#include "proc/system_commands.h"
#include "proc/system_cpu.h"
#include "proc/system_stat.h"

#define STAT_SIZE 2048 /* 52 numbers and a name */
#define MAX_USERS 256  /* whose names are looked up; others remain numbers */

/* What is the same for all rows. */
struct scan {
        struct system_snapshot *snapshot;
        struct system_cpu *cpu;
        struct system_commands *commands;
        struct system_cpu_sample *samples; /* as many as rows */
        int proc_fd;
        uint64_t tick_us;
        uint64_t page_size;
        uint64_t memory;   /* bytes of the machine */
        int64_t booted_ms; /* Unix time */
        char stat[STAT_SIZE];
        char command[LIMIT_PROCESS_COMMAND];
};

/* See the header. */
int system_process_compare(const void *a, const void *b)
{
        const struct system_process *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* See the header. */
struct system_snapshot *system_snapshot_free(struct system_snapshot *s)
{
        if (!s)
                return NULL;

        for (size_t i = 0; i < s->n_users; i++)
                free(s->users[i].name);
        free(s->users);
        free(s->processes);
        buf_done(&s->texts);
        system_owners_done(&s->owners);
        free(s);
        return NULL;
}

/* See the header. */
const char *system_snapshot_text(const struct system_snapshot *s, const struct system_text *t)
{
        return t->size > 0 ? s->texts.data + t->offset : "";
}

/* Our own troubles; everything else is the process's. */
static bool is_fatal(int r)
{
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

static uint64_t boot_time_us(void)
{
        struct timespec ts;

        (void)clock_gettime(CLOCK_BOOTTIME, &ts); /* cannot fail */
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* To 10 ms: closer than the ticks there is nothing to know, and so times of start are the same in each look. */
static int64_t booted_ms(void)
{
        struct timespec ts;
        int64_t us;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        us = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 - (int64_t)boot_time_us();
        return (us + 5000) / 10000 * 10;
}

/* Opens @name of the process @pid. */
static int open_file(const struct scan *scan, const char *pid, const char *name)
{
        char path[64];
        int fd;

        (void)snprintf(path, sizeof(path), "%.16s/%s", pid, name);
        fd = openat(scan->proc_fd, path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* The kernel writes as much as there is room for, so one read is enough. */
static ssize_t read_once(int fd, char *dst, size_t size)
{
        ssize_t n = read(fd, dst, size);

        return n < 0 ? -errno : n;
}

/* The user's name, or NULL. */
static const char *find_user(struct system_snapshot *s, uid_t uid)
{
        char buffer[4 * KIB];
        struct passwd pw, *found = NULL;

        for (size_t i = s->n_users; i > 0; i--)
                if (s->users[i - 1].uid == uid)
                        return s->users[i - 1].name;
        if (s->n_users == MAX_USERS)
                return NULL;

        if (getpwuid_r(uid, &pw, buffer, sizeof(buffer), &found) != 0)
                found = NULL;
        s->users = xrealloc_array(s->users, s->n_users + 1, sizeof(*s->users));
        s->users[s->n_users] = (struct system_user){ uid, found ? xstrdup(pw.pw_name) : NULL };
        return s->users[s->n_users++].name;
}

static int add_text(struct system_snapshot *s, const char *text, size_t size,
                    struct system_text *ret)
{
        *ret = (struct system_text){ s->texts.size, size };
        return buf_append(&s->texts, text, size);
}

static void account(struct scan *scan, struct system_process *p, const struct system_stat *stat)
{
        struct system_cpu_sample *sample;
        uint64_t now_us = boot_time_us();

        p->cpu_us = stat->cpu_ticks * scan->tick_us;
        p->start_us = stat->start_ticks * scan->tick_us;
        p->started_ms = scan->booted_ms + (int64_t)(p->start_us / 1000);
        p->rss = stat->rss_pages * scan->page_size;
        if (scan->memory > 0)
                p->memory_percent = 100 * (double)p->rss / (double)scan->memory;

        sample = &scan->samples[scan->snapshot->n];
        *sample = (struct system_cpu_sample){
                .pid = p->pid,
                .start_us = p->start_us,
                .cpu_us = p->cpu_us,
                .taken_us = clock_monotonic_us(),
        };
        p->cpu_percent = system_cpu_share(scan->cpu, sample,
                                          now_us > p->start_us ? now_us - p->start_us : 0);
}

/* Reads the command line, if there is anything to read: @fd may be an error. Keeps it for the next look. */
static int add_command(struct scan *scan, int fd, const struct system_stat *stat,
                       struct system_process *p)
{
        struct system_command command = {
                .pid = stat->pid,
                .start = stat->start_ticks,
                .image = stat->image,
                .read_us = clock_monotonic_us(),
        };
        ssize_t n = fd < 0 ? fd : read_once(fd, scan->command, sizeof(scan->command));
        size_t size;

        if (n < 0)
                return is_fatal((int)n) ? (int)n : 0;
        size = system_command_join(scan->command, (size_t)n, n == (ssize_t)sizeof(scan->command));
        system_commands_keep(scan->commands, &command, scan->command, size);
        return add_text(scan->snapshot, scan->command, size, &p->command);
}

static int add_known_command(struct scan *scan, const struct system_command *known,
                             struct system_process *p)
{
        const char *text = system_commands_text(scan->commands, known);

        system_commands_keep(scan->commands, known, text, known->size);
        return add_text(scan->snapshot, text, known->size, &p->command);
}

/* Adds the process @name ("1234") below /proc, if it is still there. @known: the command line that it had lately, or
 * NULL. -EAGAIN: it is another program now. */
static int add_process(struct scan *scan, const char *name, const struct system_command *known)
{
        CLEANUP(fd_close) int stat_fd = open_file(scan, name, "stat");
        CLEANUP(fd_close) int command_fd = -ENOENT;
        struct system_snapshot *s = scan->snapshot;
        struct system_process p = { 0 };
        struct system_stat stat;
        struct stat st;
        ssize_t n;
        int r;

        if (stat_fd < 0)
                return stat_fd;
        if (!known)
                command_fd = open_file(scan, name, "cmdline");
        if (is_fatal(command_fd))
                return command_fd;
        if (fstatat(scan->proc_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        n = read_once(stat_fd, scan->stat, sizeof(scan->stat));
        if (n < 0)
                return (int)n;
        r = system_stat_parse(scan->stat, (size_t)n, &stat);
        if (r < 0)
                return r;
        if (known && (known->start != stat.start_ticks || known->image != stat.image))
                return -EAGAIN;

        p = (struct system_process){
                .pid = stat.pid,
                .parent = stat.parent,
                .session = stat.session,
                .uid = st.st_uid,
                .user = find_user(s, st.st_uid),
                .state = stat.state,
                .threads = stat.threads,
        };
        account(scan, &p, &stat);
        r = add_text(s, stat.name, stat.name_size, &p.name);
        if (r == 0 && stat.has_memory)
                r = known ? add_known_command(scan, known, &p)
                          : add_command(scan, command_fd, &stat, &p);
        if (r < 0)
                return r;
        s->processes[s->n++] = p;
        return 0;
}

static void make_room(struct scan *scan)
{
        struct system_snapshot *s = scan->snapshot;

        if (s->n < s->capacity)
                return;
        s->capacity = MAX(2 * s->capacity, (size_t)256);
        s->processes = xrealloc_array(s->processes, s->capacity, sizeof(*s->processes));
        scan->samples = xrealloc_array(scan->samples, s->capacity, sizeof(*scan->samples));
}

static int add_all(struct scan *scan, DIR *dir)
{
        struct system_snapshot *s = scan->snapshot;
        struct dirent *d;
        int r;

        while ((d = readdir(dir)) != NULL) {
                uint64_t pid;

                if (str_parse_u64(d->d_name, &pid) < 0 || pid == 0 || pid > INT32_MAX)
                        continue;
                if (s->n >= LIMIT_SYSTEM_PROCESSES) {
                        /* Of those beyond it at least our own are wanted. */
                        s->is_truncated = true;
                        if (!system_owners_by_leader(&s->owners, (pid_t)pid))
                                continue;
                }
                make_room(scan);
                r = add_process(scan, d->d_name, system_commands_find(scan->commands, (pid_t)pid));
                if (r == -EAGAIN)
                        r = add_process(scan, d->d_name, NULL);
                if (is_fatal(r))
                        return r;
        }
        return 0;
}

static int compare_samples(const void *a, const void *b)
{
        const struct system_cpu_sample *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The kernel lists processes by number, but who promises? */
static void sort(struct scan *scan)
{
        struct system_snapshot *s = scan->snapshot;

        if (s->n == 0)
                return;
        qsort(s->processes, s->n, sizeof(*s->processes), system_process_compare);
        qsort(scan->samples, s->n, sizeof(*scan->samples), compare_samples);
}

static void close_dir(DIR **dir)
{
        if (*dir)
                (void)closedir(*dir);
}

/* See the header. */
int system_snapshot_take(struct system_cpu *cpu, struct system_commands *commands,
                         struct system_owners *owners, struct system_snapshot **ret,
                         struct error *err)
{
        __attribute__((cleanup(close_dir))) DIR *dir = opendir("/proc");
        CLEANUP(system_snapshot_free) struct system_snapshot *s = xnew(struct system_snapshot);
        CLEANUP(mem_free) struct scan *scan = xnew(struct scan);
        uint64_t now_us = clock_monotonic_us(), reference_us; /* others run while we are stopped */
        int r;

        buf_init(&s->texts, 0);
        s->owners = *owners;
        *owners = (struct system_owners){ 0 };
        system_owners_sort(&s->owners);
        if (!dir)
                return error_set(err, -errno, "open /proc");

        scan->snapshot = s;
        scan->cpu = cpu;
        scan->commands = commands;
        scan->proc_fd = dirfd(dir);
        scan->tick_us = 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
        scan->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
        scan->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * scan->page_size;
        scan->booted_ms = booted_ms();

        reference_us = system_cpu_begin(cpu, now_us);
        system_commands_begin(commands, now_us);
        s->cpu_interval_us = reference_us > 0 ? now_us - reference_us : 0;
        r = add_all(scan, dir);
        if (r == 0) {
                sort(scan);
                system_cpu_end(cpu, scan->samples, s->n);
                system_commands_end(commands);
                system_owners_mark(&s->owners, s->processes, s->n);
        }
        free(scan->samples);
        if (r < 0)
                return error_set(err, r, "read /proc");
        *ret = STEAL(s);
        return 0;
}
