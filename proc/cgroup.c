/* SPDX-License-Identifier: Apache-2.0 */

/* Where the agent's cgroups live:
 *
 *     <mount>/<own>/vm-agent-<pid>/<execution>
 *
 * <mount> is the cgroup2 file system: alone on current systems, called "unified" next to version 1 on older
 * ones (there cgroup.kill, cgroup.events and cpu.stat work, but the memory and pids controllers belong to
 * version 1; limits then fall back to rlimits). <own> is where the agent was started.
 *
 * Controllers reach the leaves only if each directory on the way hands them down, and a directory that hands
 * them down may hold no processes. Under systemd (Delegate=yes) <own> is the unit's directory with the agent in
 * it, so the agent first moves to <own>/agent. It does so only when it is alone there.
 *
 * The pid in the name tells the trees of living agents from those of dead ones. Background jobs outlive the agent, so
 * they are elsewhere: <mount>/<own>/vm-agent-jobs/<job> (cgroup_job.c). */

#include "proc/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/cgroup_file.h"
#include "proc/vfork.h"

#define LOG_MODULE "cgroup"
#include "agent/base/log.h"

#define BASE_PREFIX "vm-agent-"

/* How long the start waits for what a dead predecessor left to die of SIGKILL. */
#define STALE_WAIT_MS 200

struct cgroup {
        char *path;
        char *name; /* last component of path */
        int own_fd; /* the directory that holds ours */
        int fd;
        unsigned controllers; /* that the leaves have */
        struct cgroup_pool pool;
};

static const struct {
        const char *name;
        unsigned bit;
} controllers[] = {
        { "memory", CGROUP_MEMORY },
        { "pids", CGROUP_TASKS },
        { "io", CGROUP_IO },
        { "cpu", 0 },
};

static int open_dir(int at, const char *path)
{
        int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

        return fd < 0 ? -errno : fd;
}

/* "memory" in "cpuset cpu memory\n", as a whole word. */
static bool has_word(const char *list, const char *word)
{
        size_t size = strlen(word);

        for (const char *s = list; (s = strstr(s, word)) != NULL; s += size)
                if ((s == list || s[-1] == ' ') && (s[size] == ' ' || s[size] == '\n' || !s[size]))
                        return true;
        return false;
}

/* The mount point of cgroup2 in /proc/self/mounts: "cgroup2 /sys/fs/cgroup cgroup2 rw,… 0 0". */
static char *find_mount(void)
{
        FILE *f = fopen("/proc/self/mounts", "re");
        char *line = NULL, *mount = NULL;
        size_t size = 0;

        while (f && !mount && getline(&line, &size, f) > 0) {
                char *state = NULL;
                char *path, *type;

                if (!strtok_r(line, " ", &state))
                        continue;
                path = strtok_r(NULL, " ", &state);
                type = strtok_r(NULL, " ", &state);
                if (type && strcmp(type, "cgroup2") == 0)
                        mount = xstrdup(path);
        }
        free(line);
        if (f)
                fclose(f);
        return mount;
}

/* The agent's own directory below the mount: the line "0::/path" of /proc/self/cgroup. */
static char *find_own(void)
{
        FILE *f = fopen("/proc/self/cgroup", "re");
        char *line = NULL, *own = NULL;
        size_t size = 0;

        while (f && !own && getline(&line, &size, f) > 0)
                if (str_has_prefix(line, "0::/")) {
                        line[strcspn(line, "\n")] = '\0';
                        own = xstrdup(line + strlen("0::"));
                }
        free(line);
        if (f)
                fclose(f);
        return own;
}

/* Kills what is in the tree @name and removes it, waiting a moment for the dead to be gone. */
static void remove_stale_tree(int own_fd, const char *name)
{
        const struct timespec pause = { .tv_nsec = 1000000 };
        CLEANUP(fd_close) int fd = open_dir(own_fd, name);

        if (fd < 0)
                return;
        (void)cgroup_file_write(fd, "cgroup.kill", "1");
        for (int waited = 0; waited < STALE_WAIT_MS; waited++) {
                cgroup_remove_below(fd);
                if (unlinkat(own_fd, name, AT_REMOVEDIR) == 0)
                        return;
                (void)nanosleep(&pause, NULL);
        }
}

/* A zombie has ended as well: in some containers nobody ever waits for the killed. */
static bool has_ended(pid_t pid)
{
        char path[32], stat[512];
        const char *s;

        if (kill(pid, 0) < 0)
                return errno == ESRCH;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        if (cgroup_file_read(AT_FDCWD, path, stat, sizeof(stat)) < 0)
                return false;
        s = strrchr(stat, ')');
        return s && (str_has_prefix(s, ") Z") || str_has_prefix(s, ") X"));
}

/* Our own pid counts as dead: we have not made our directory yet, so it is a predecessor's. */
static bool is_stale(const char *name)
{
        uint64_t pid;

        if (!str_has_prefix(name, BASE_PREFIX) ||
            str_parse_u64(name + strlen(BASE_PREFIX), &pid) < 0 || pid < 1 || pid > INT32_MAX)
                return false;
        return (pid_t)pid == getpid() || has_ended((pid_t)pid);
}

static void remove_stale(int own_fd)
{
        struct dirent *entry;
        DIR *dir;
        int fd;

        fd = open_dir(own_fd, ".");
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                (void)fd_close(fd);
                return;
        }
        while ((entry = readdir(dir)) != NULL)
                if (entry->d_type == DT_DIR && is_stale(entry->d_name)) {
                        log_debug("removing what a dead agent left", "name=%s", entry->d_name);
                        remove_stale_tree(own_fd, entry->d_name);
                }
        closedir(dir);
}

static bool is_alone(int own_fd)
{
        char procs[256], self[32];

        (void)snprintf(self, sizeof(self), "%d\n", (int)getpid());
        return cgroup_file_read(own_fd, "cgroup.procs", procs, sizeof(procs)) >= 0 &&
               strcmp(procs, self) == 0;
}

/* Hands @own's controllers down, see the top of the file. Whatever fails: there are fewer controllers. */
static void delegate(int own_fd, bool is_root)
{
        char available[256];
        char text[32];

        if (cgroup_file_read(own_fd, "cgroup.controllers", available, sizeof(available)) < 0 ||
            available[strspn(available, " \n")] == '\0')
                return;

        if (!is_root && is_alone(own_fd)) {
                (void)snprintf(text, sizeof(text), "%d", (int)getpid());
                if (mkdirat(own_fd, "agent", 0755) == 0 || errno == EEXIST)
                        (void)cgroup_file_write(own_fd, "agent/cgroup.procs", text);
        }
        for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
                (void)snprintf(text, sizeof(text), "+%s", controllers[i].name);
                if (has_word(available, controllers[i].name))
                        (void)cgroup_file_write(own_fd, "cgroup.subtree_control", text);
        }
}

/* See cgroup_file.h. */
void cgroup_enable_controllers(int fd)
{
        char text[32];

        for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
                (void)snprintf(text, sizeof(text), "+%s", controllers[i].name);
                (void)cgroup_file_write(fd, "cgroup.subtree_control", text);
        }
}

static void enable_controllers(struct cgroup *c)
{
        char enabled[256];

        cgroup_enable_controllers(c->fd);
        if (cgroup_file_read(c->fd, "cgroup.subtree_control", enabled, sizeof(enabled)) < 0)
                return;
        for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
                if (has_word(enabled, controllers[i].name))
                        c->controllers |= controllers[i].bit;
}

__attribute__((noreturn, no_sanitize("address", "undefined"))) static void on_probe(void *arg)
{
        (void)arg;
        _exit(0);
}

/* What nobody promises: cgroup.kill came with Linux 5.14, clone3 may be filtered. */
static int probe(struct cgroup *c, struct error *err)
{
        struct cgroup_leaf leaf;
        pid_t pid;
        int r;

        r = cgroup_leaf_init(&leaf, c, "probe", &(struct cgroup_limits){ 0 }, err);
        if (r < 0)
                return r;

        r = vfork_into_cgroup(leaf.fd, on_probe, NULL, &pid);
        if (r < 0) {
                error_set(err, r, "start a child in a cgroup");
        } else {
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                r = cgroup_leaf_kill(&leaf);
                if (r < 0)
                        error_set(err, r, "cgroup.kill");
        }
        (void)cgroup_leaf_remove(&leaf);
        return r < 0 ? r : 0;
}

/* See the header. */
int cgroup_new_at(const char *mount, const char *own, struct cgroup **ret, struct error *err)
{
        CLEANUP(cgroup_free) struct cgroup *c = NULL;
        CLEANUP(mem_free) char *own_path = NULL;
        bool is_root = strcmp(own, "/") == 0;
        int r;

        /* A directory outside of our cgroup namespace is shown as "/../…". */
        if (str_has_prefix(own, "/.."))
                return error_set(err, -EOPNOTSUPP, "cgroup %s is out of reach", own);

        c = xnew(struct cgroup);
        c->own_fd = c->fd = -1;
        own_path = xasprintf("%s%s", mount, is_root ? "" : own);
        c->own_fd = open(own_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (c->own_fd < 0)
                return error_set(err, -errno, "open %s", own_path);
        remove_stale(c->own_fd);

        c->name = xasprintf(BASE_PREFIX "%d", (int)getpid());
        c->path = xasprintf("%s/%s", own_path, c->name);
        if (mkdirat(c->own_fd, c->name, 0755) < 0)
                return error_set(err, -errno, "mkdir %s", c->path);
        c->fd = r = open_dir(c->own_fd, c->name);
        if (r < 0)
                return error_set(err, r, "open %s", c->path);

        delegate(c->own_fd, is_root);
        enable_controllers(c);
        r = probe(c, err);
        if (r < 0)
                return r;
        *ret = STEAL(c);
        return 0;
}

/* See the header. */
int cgroup_new(struct cgroup **ret, struct error *err)
{
        CLEANUP(mem_free) char *mount = find_mount();
        CLEANUP(mem_free) char *own = find_own();

        if (!mount || !own)
                return error_set(err, -EOPNOTSUPP, "no cgroup v2");
        return cgroup_new_at(mount, own, ret, err);
}

/* See the header. */
struct cgroup *cgroup_free(struct cgroup *c)
{
        if (!c)
                return NULL;

        cgroup_pool_clear(&c->pool);
        if (c->fd >= 0)
                (void)unlinkat(c->own_fd, c->name, AT_REMOVEDIR);
        (void)fd_close(c->fd);
        (void)fd_close(c->own_fd);
        free(c->name);
        free(c->path);
        free(c);
        return NULL;
}

/* See the header. */
unsigned cgroup_controllers(const struct cgroup *c)
{
        return c ? c->controllers : 0;
}

/* See the header. */
bool cgroup_has_memory(const struct cgroup *c)
{
        return (cgroup_controllers(c) & CGROUP_MEMORY) != 0;
}

/* See the header. */
const char *cgroup_path(const struct cgroup *c)
{
        return c->path;
}

/* The empty leaves, for cgroup_pool.c. */
struct cgroup_pool *cgroup_pool(struct cgroup *c)
{
        return &c->pool;
}

/* See cgroup_file.h. */
int cgroup_own_fd(const struct cgroup *c)
{
        return c->own_fd;
}

/* The agent's directory, for cgroup_leaf.c. */
int cgroup_fd(const struct cgroup *c)
{
        return c->fd;
}
