/* SPDX-License-Identifier: Apache-2.0 */

/* One leaf of the agent's cgroup tree (cgroup.c): a directory that the kernel fills with control files. It costs
 * about 25 µs to make and as much to remove; rmdir fails with EBUSY as long as a living process is in it, which
 * makes it the cheapest question whether the tree is gone. Zombies do not count. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/buf.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/cgroup.h"
#include "proc/cgroup_file.h"

/* A list of pids longer than this is cut: SIGTERM is a courtesy, SIGKILL takes the whole leaf. */
#define PROCS_SIZE (256 * KIB)

/* See the header. */
ssize_t cgroup_file_read(int dir_fd, const char *name, char *dst, size_t size)
{
        CLEANUP(fd_close) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = read(fd, dst, size - 1);
        if (n < 0)
                return -errno;
        dst[n] = '\0';
        return n;
}

/* See the header. */
int cgroup_file_write(int dir_fd, const char *name, const char *text)
{
        CLEANUP(fd_close) int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* The number after "@key " at the start of a line of @text, or 0. */
static uint64_t find_number(const char *text, const char *key)
{
        size_t size = strlen(key);

        for (const char *line = text; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, size) == 0 && line[size] == ' ')
                        return strtoull(line + size + 1, NULL, 10);
        }
        return 0;
}

/* See cgroup_file.h. */
void cgroup_set_limits(int fd, const struct cgroup_limits *limits)
{
        char text[32];

        /* Each file exists only with its controller. */
        if (limits->max_memory) {
                (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)limits->max_memory);
                (void)cgroup_file_write(fd, "memory.max", text);
                (void)cgroup_file_write(fd, "memory.swap.max",
                                        "0"); /* or it is no limit, but slow */
                /* The whole execution or nothing: half a tree would hang or lie. */
                (void)cgroup_file_write(fd, "memory.oom.group", "1");
        }
        if (limits->max_tasks) {
                (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)limits->max_tasks);
                (void)cgroup_file_write(fd, "pids.max", text);
        }
}

/* See the header. */
void cgroup_leaf_limit(struct cgroup_leaf *leaf, const struct cgroup_limits *limits)
{
        cgroup_set_limits(leaf->fd, limits);
        leaf->has_limits |= limits->max_memory > 0 || limits->max_tasks > 0;
}

/* See the header. */
int cgroup_leaf_init(struct cgroup_leaf *leaf, struct cgroup *c, const char *name,
                     const struct cgroup_limits *limits, struct error *err)
{
        int fd;

        *leaf = (struct cgroup_leaf){ .fd = -1 };
        if (mkdirat(cgroup_fd(c), name, 0755) < 0)
                return error_set(err, -errno, "make cgroup %s", name);
        fd = openat(cgroup_fd(c), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                int r = -errno;

                (void)unlinkat(cgroup_fd(c), name, AT_REMOVEDIR);
                return error_set(err, r, "open cgroup %s", name);
        }

        leaf->parent = c;
        leaf->fd = fd;
        leaf->controllers = cgroup_controllers(c);
        cgroup_leaf_limit(leaf, limits);
        (void)snprintf(leaf->name, sizeof(leaf->name), "%s", name);
        return 0;
}

/* The name of some cgroup in @dir_fd; false when there is none. */
static bool find_child(int dir_fd, char name[NAME_MAX + 1])
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!dir) {
                (void)fd_close(fd);
                return false;
        }
        do {
                entry = readdir(dir);
        } while (entry && (entry->d_type != DT_DIR || entry->d_name[0] == '.'));
        if (entry)
                (void)snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
        closedir(dir);
        return entry != NULL;
}

/* Removes the first cgroup that has none below it. False when there is nothing to remove, or it cannot be. */
static bool remove_one_below(int dir_fd)
{
        CLEANUP(fd_close) int parent = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char name[NAME_MAX + 1], below[NAME_MAX + 1];

        if (parent < 0 || !find_child(parent, name))
                return false;
        for (;;) {
                CLEANUP(fd_close)
                int child = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (child < 0 || !find_child(child, below))
                        break;
                (void)fd_close(parent);
                parent = STEAL_FD(child);
                memcpy(name, below, sizeof(name));
        }
        return unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

/* See cgroup_file.h. */
void cgroup_remove_below(int dir_fd)
{
        for (unsigned n = 0; n < CGROUP_MAX_BELOW && remove_one_below(dir_fd); n++)
                ;
}

/* See the header. */
bool cgroup_leaf_is_populated(const struct cgroup_leaf *leaf)
{
        CLEANUP(fd_close) int fd = cgroup_leaf_open_events(leaf);

        return fd < 0 || cgroup_events_populated(fd);
}

static int remove_dir(const struct cgroup_leaf *leaf)
{
        return unlinkat(cgroup_fd(leaf->parent), leaf->name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* See the header. */
int cgroup_leaf_remove(struct cgroup_leaf *leaf)
{
        if (leaf->fd < 0)
                return 0;
        if (remove_dir(leaf) == -EBUSY) {
                if (cgroup_leaf_is_populated(leaf))
                        return -EBUSY;
                /* Programs may have made cgroups of their own below. */
                cgroup_remove_below(leaf->fd);
                (void)remove_dir(
                        leaf); /* nobody lives in it: if it stays, then until the next start */
        }
        leaf->fd = fd_close(leaf->fd);
        return 0;
}

/* See the header. */
int cgroup_leaf_kill(struct cgroup_leaf *leaf)
{
        leaf->was_killed = true;
        return cgroup_file_write(leaf->fd, "cgroup.kill", "1");
}

/* See the header. */
bool cgroup_leaf_signal(const struct cgroup_leaf *leaf, int sig, pid_t wanted)
{
        CLEANUP(mem_free) char *procs = try_alloc(PROCS_SIZE);
        bool was_wanted = false;
        char *end;

        if (!procs || cgroup_file_read(leaf->fd, "cgroup.procs", procs, PROCS_SIZE) <= 0)
                return false;
        for (char *s = procs; *s; s = end + (*end == '\n')) {
                long pid = strtol(s, &end, 10);

                if (end == s)
                        break;
                was_wanted = was_wanted || pid == wanted;
                /* 0 stands for a process of another pid namespace, and would mean our own group. */
                if (pid > 1 && pid != getpid())
                        (void)kill((pid_t)pid, sig);
        }
        return was_wanted;
}

static uint64_t since(uint64_t now, uint64_t before)
{
        return now > before ? now - before : 0;
}

static void read_cpu(int fd, struct cgroup_usage *ret)
{
        char text[1024];

        if (cgroup_file_read(fd, "cpu.stat", text, sizeof(text)) <= 0)
                return;
        ret->user_us = find_number(text, "user_usec");
        ret->system_us = find_number(text, "system_usec");
}

static void read_memory(int fd, struct cgroup_usage *ret)
{
        char text[1024];

        if (cgroup_file_read(fd, "memory.peak", text, sizeof(text)) > 0)
                ret->memory_peak = strtoull(text, NULL, 10);
        if (cgroup_file_read(fd, "memory.events", text, sizeof(text)) > 0)
                ret->oom_kills = find_number(text, "oom_kill");
}

/* The peak came with Linux 6.1. */
static void read_tasks(int fd, struct cgroup_usage *ret)
{
        char text[256];

        if (cgroup_file_read(fd, "pids.peak", text, sizeof(text)) > 0)
                ret->peak_tasks = strtoull(text, NULL, 10);
        if (cgroup_file_read(fd, "pids.events", text, sizeof(text)) > 0)
                ret->refused_tasks = find_number(text, "max");
}

/* A line for each disk: "8:0 rbytes=4096 wbytes=0 rios=1 …". Nothing was read or written: there is no line. */
static void read_io(int fd, struct cgroup_usage *ret)
{
        char text[4096];

        if (cgroup_file_read(fd, "io.stat", text, sizeof(text)) < 0)
                return;
        ret->has_io = true;
        for (const char *s = text; (s = strstr(s, " rbytes=")) != NULL; s++)
                ret->read_bytes += strtoull(s + strlen(" rbytes="), NULL, 10);
        for (const char *s = text; (s = strstr(s, " wbytes=")) != NULL; s++)
                ret->written_bytes += strtoull(s + strlen(" wbytes="), NULL, 10);
}

/* See the header. */
void cgroup_leaf_usage(const struct cgroup_leaf *leaf, struct cgroup_usage *ret)
{
        const struct cgroup_usage *before = &leaf->before;

        *ret = (struct cgroup_usage){ 0 };
        read_cpu(leaf->fd, ret);
        ret->user_us = since(ret->user_us, before->user_us);
        ret->system_us = since(ret->system_us, before->system_us);
        ret->cpu_us = ret->user_us + ret->system_us;
        if (leaf->controllers & CGROUP_MEMORY)
                read_memory(leaf->fd, ret);
        if (leaf->controllers & CGROUP_TASKS)
                read_tasks(leaf->fd, ret);
        if (leaf->controllers & CGROUP_IO)
                read_io(leaf->fd, ret);
        ret->read_bytes = since(ret->read_bytes, before->read_bytes);
        ret->written_bytes = since(ret->written_bytes, before->written_bytes);
}

/* See the header. */
int cgroup_leaf_open_events(const struct cgroup_leaf *leaf)
{
        int fd = openat(leaf->fd, "cgroup.events", O_RDONLY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* See the header. */
bool cgroup_events_populated(int events_fd)
{
        char text[256];
        ssize_t n;

        n = pread(events_fd, text, sizeof(text) - 1, 0);
        if (n < 0)
                return false; /* ENODEV: the leaf has been removed */
        text[n] = '\0';
        return find_number(text, "populated") != 0;
}
