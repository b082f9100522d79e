/* SPDX-License-Identifier: Apache-2.0 */

/* What an agent leaves that could not stop in order: processes and files.
 *
 * Its cgroups are found by cgroup_new. But there may have been none, and programs can leave theirs; so whatever an
 * agent starts, background jobs excepted, carries the name of its instance in the environment. That name is kept in the
 * state directory, which belongs to one agent at a time: who carries it when this agent has not started anything yet
 * was started by one that is dead. The name is not that of the agent's run but stays, so it does not matter how many
 * predecessors there were, or whether one of them was killed while it did what we do here.
 *
 * The runtime directory may be shared. Who uses it holds a shared lock on it; who gets an exclusive one at its start is
 * alone there, and what it sees then is nobody's. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "agent/base/str.h"
#include "agent/loop/job.h"
#include "proc/process_private.h"

#define LOG_MODULE "proc"
#include "agent/base/log.h"

#define INSTANCE_PREFIX "inst_"
#define SCRIPT_PREFIX   "code_"

static bool is_instance(const char *name)
{
        const char *digits = name + strlen(INSTANCE_PREFIX);

        return str_has_prefix(name, INSTANCE_PREFIX) && *digits &&
               digits[strspn(digits, "0123456789abcdef")] == '\0';
}

/* As a whole or not at all. */
static int write_instance(const char *path, const char *name)
{
        CLEANUP(mem_free) char *temporary = xasprintf("%s.tmp", path);
        CLEANUP(fd_close)
        int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r;

        if (fd < 0)
                return -errno;
        r = fd_write_all(fd, name, strlen(name));
        if (r < 0)
                return r;
        return rename(temporary, path) < 0 ? -errno : 0;
}

/* The instance's name; true when it had one before. */
static bool read_instance(const char *state_dir, char name[ID_SIZE])
{
        CLEANUP(mem_free) char *path = xasprintf("%s/instance", state_dir);
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        ssize_t n = fd < 0 ? -1 : read(fd, name, ID_SIZE - 1);
        int r;

        name[n > 0 ? n : 0] = '\0';
        if (is_instance(name))
                return true;
        id_new(name, INSTANCE_PREFIX);
        r = write_instance(path, name);
        if (r < 0)
                log_warning("if this agent is killed, the next one will not find its executions",
                            "error=%s", log_quote(strerror(-r)));
        return false;
}

static void end_executions(const char *instance)
{
        struct tree_target left = { .kind = TREE_OF_INSTANCE };
        uint64_t started_us = clock_now_us();
        unsigned n;

        memcpy(left.marker, instance, strlen(instance));
        n = tree_kill(&left);
        if (n > 0)
                log_warning("what a killed agent has left does not end", "n=%u", n);
        log_debug("looked for what a killed agent has left", "took_us=%llu",
                  (unsigned long long)(clock_now_us() - started_us));
}

static void run_remove(void *arg)
{
        char **paths = arg;

        for (char **p = paths; *p; p++)
                (void)path_remove_tree(*p);
}

static void on_removed(void *arg)
{
        strv_free(arg);
}

/* The scripts that lie in @dir. */
static char **list_scripts(const char *dir)
{
        char **paths = NULL;
        struct dirent *entry;
        DIR *d = opendir(dir);

        while (d && (entry = readdir(d)) != NULL)
                if (str_has_prefix(entry->d_name, SCRIPT_PREFIX))
                        paths = strv_append(paths, xasprintf("%s/%s", dir, entry->d_name));
        if (d)
                closedir(d);
        return paths;
}

/* Ours will have other names than what is there now, so the lock is needed for the look alone: removing takes its time,
 * and what we make meanwhile is safe. */
static void remove_scripts(struct supervisor *s)
{
        const char *dir = s->options.runtime_dir;
        char **paths = NULL;

        s->runtime_lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->runtime_lock_fd < 0)
                return;
        if (flock(s->runtime_lock_fd, LOCK_EX | LOCK_NB) == 0)
                paths = list_scripts(dir);
        /* Another one's look at its start is all that this can wait for. */
        while (flock(s->runtime_lock_fd, LOCK_SH) < 0 && errno == EINTR)
                ;
        if (paths && job_run(s->loop, paths, run_remove, on_removed) < 0)
                strv_free(paths); /* the next agent's turn */
}

/* See the header. */
void supervisor_take_over(struct supervisor *s, const char *state_dir)
{
        char name[ID_SIZE];

        if (read_instance(state_dir, name))
                end_executions(name);
        s->instance = xasprintf(TREE_INSTANCE "=%s", name);
        remove_scripts(s);
}
