/* SPDX-License-Identifier: Apache-2.0 */

/* Starts agent-shim, which does in its own process what a borrowed one must not (shim.c), and becomes the
 * program. Between clone and exec the child only moves four descriptors into place: 0, 1, 2 and, as 3, the
 * write end of the status pipe. Everything else that the agent has open is close-on-exec.
 *
 * There are two ways to get there. With a cgroup leaf, clone3 puts the child into it at birth (vfork.c).
 * Without one, glibc's posix_spawn does the same minus the cgroup, on every architecture. Which of them is used
 * was decided once, when cgroup_new probed what this machine offers. uv_spawn is used by neither: it forks. */

#include "proc/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "agent/base/str.h"
#include "proc/vfork.h"

/* 0, 1, 2, the status pipe, and what else there may be. */
#define STATUS_FD 3
#define MAX_FDS   (SPAWN_FIRST_EXTRA + SPAWN_EXTRA_FDS)

struct birth {
        const char *shim;
        char *const *argv;
        char *const *envp;
        int fds[MAX_FDS]; /* all >= MAX_FDS, so that none is overwritten before it was moved */
        int n_fds;
        int error;
};

/* The child. It lives in our memory: system calls only, and no way back. */
__attribute__((noreturn, no_sanitize("address", "undefined"))) static void child_main(void *arg)
{
        struct birth *b = arg;

        for (int i = 0; i < b->n_fds; i++)
                if (dup2(b->fds[i], i) < 0)
                        goto fail;
        execve(b->shim, b->argv, b->envp);
fail:
        b->error = errno;
        _exit(127);
}

static int start_in_cgroup(struct birth *b, int cgroup_fd, pid_t *ret_pid)
{
        pid_t pid;
        int r;

        r = vfork_into_cgroup(cgroup_fd, child_main, b, &pid);
        if (r < 0)
                return r;
        if (b->error) {
                /* It is a zombie already. Nobody else may wait for it: it never was a process of ours. */
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return -b->error;
        }

        *ret_pid = pid;
        return 0;
}

static int start_plainly(struct birth *b, pid_t *ret_pid)
{
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        for (int i = 0; i < b->n_fds && r == 0; i++)
                r = posix_spawn_file_actions_adddup2(&actions, b->fds[i], i);
        if (r == 0)
                r = posix_spawn(ret_pid, b->shim, &actions, NULL, b->argv, b->envp);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static char *join_groups(const struct credentials *user)
{
        struct buf b;

        buf_init(&b, 0);
        for (unsigned i = 0; i < user->n_groups; i++)
                if (buf_appendf(&b, "%s%u", i ? "," : "", (unsigned)user->groups[i]) < 0)
                        abort();
        return b.size ? buf_steal(&b, NULL) : xstrdup("");
}

static char **add_option(char **options, const char *name, char *value)
{
        options = strv_append(options, xstrdup(name));
        return strv_append(options, value);
}

/* 0: it is left out. */
static char **add_number(char **options, const char *name, uint64_t number)
{
        if (number == 0)
                return options;
        return add_option(options, name, xasprintf("%llu", (unsigned long long)number));
}

/* The shim's options; the program's arguments follow after "--". */
static char **shim_options(const struct spawn_spec *spec)
{
        char **v = strv_append(NULL, xstrdup("agent-shim"));

        if (spec->cwd)
                v = add_option(v, "--cwd", xstrdup(spec->cwd));
        if (spec->user) {
                v = add_option(v, "--groups", join_groups(spec->user));
                v = add_option(v, "--gid", xasprintf("%u", (unsigned)spec->user->gid));
                v = add_option(v, "--uid", xasprintf("%u", (unsigned)spec->user->uid));
        }
        v = add_number(v, "--files", spec->max_files);
        v = add_number(v, "--data", spec->limits.max_memory);
        v = add_number(v, "--cpu", spec->limits.cpu_seconds);
        v = add_number(v, "--nproc", spec->limits.max_tasks);
        if (spec->n_extra)
                v = add_number(v, "--keep", SPAWN_FIRST_EXTRA + spec->n_extra - 1);
        if (spec->first)
                v = add_option(v, "--first", xstrdup(spec->first));
        if (spec->set_tty)
                v = strv_append(v, xstrdup("--tty"));
        return strv_append(v, xstrdup("--"));
}

/* @options and the program's argv in one array that owns neither. */
static char **join_argv(char *const *options, char *const *argv)
{
        size_t n_options = strv_len(options);
        size_t n_argv = strv_len(argv);
        char **v = xcalloc(n_options + n_argv + 1, sizeof(*v));

        for (size_t i = 0; i < n_options; i++)
                v[i] = options[i];
        for (size_t i = 0; i < n_argv; i++)
                v[n_options + i] = argv[i];
        return v;
}

/* A duplicate of @fd, or of /dev/null for -1, that is not in the way of the child's first descriptors. */
static int place_fd(int fd)
{
        int null, copy;

        if (fd >= 0) {
                copy = fcntl(fd, F_DUPFD_CLOEXEC, MAX_FDS);
                return copy < 0 ? -errno : copy;
        }

        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || null >= MAX_FDS)
                return null < 0 ? -errno : null;
        copy = place_fd(null);
        (void)fd_close(null);
        return copy;
}

static int start(const struct spawn_spec *spec, struct birth *b, pid_t *ret_pid, struct error *err)
{
        CLEANUP(strv_free) char **options = shim_options(spec);
        CLEANUP(mem_free) char **argv = join_argv(options, spec->argv);
        int r;

        b->shim = spec->shim;
        b->argv = argv;
        b->envp = spec->envp;
        r = spec->cgroup_fd >= 0 ? start_in_cgroup(b, spec->cgroup_fd, ret_pid)
                                 : start_plainly(b, ret_pid);
        if (r < 0)
                return error_set(err, r, "start %s", spec->shim);
        return 0;
}

/* What is to become the child's descriptor @i. */
static int wanted_fd(const struct spawn_spec *spec, int i, int status_fd)
{
        if (i < STATUS_FD)
                return spec->fds[i];
        return i == STATUS_FD ? status_fd : spec->extra_fds[i - SPAWN_FIRST_EXTRA];
}

/* See the header. */
int spawn(const struct spawn_spec *spec, pid_t *ret_pid, int *ret_status, struct error *err)
{
        struct birth b = { .n_fds = SPAWN_FIRST_EXTRA + (int)spec->n_extra };
        int status[2];
        int r = 0;

        if (pipe2(status, O_CLOEXEC | O_NONBLOCK) < 0)
                return error_set(err, -errno, "status pipe");

        for (int i = 0; i < MAX_FDS; i++)
                b.fds[i] = -1;
        for (int i = 0; i < b.n_fds && r >= 0; i++)
                r = b.fds[i] = place_fd(wanted_fd(spec, i, status[1]));
        if (r < 0)
                r = error_set(err, r, "descriptors of a child");
        else
                r = start(spec, &b, ret_pid, err);

        for (int i = 0; i < b.n_fds; i++)
                (void)fd_close(b.fds[i]);
        (void)fd_close(status[1]);
        if (r < 0) {
                (void)fd_close(status[0]);
                return r;
        }
        *ret_status = status[0];
        return 0;
}

/* See the header. */
void spawn_read_failure(int status_fd, struct spawn_failure *ret)
{
        struct spawn_failure failure;
        ssize_t n = read(status_fd, &failure, sizeof(failure));

        *ret = (struct spawn_failure){ .stage = SPAWN_OK };
        /* Eight bytes are written at once, or none: the pipe is at its end when the program ran. */
        if (n == (ssize_t)sizeof(failure))
                *ret = failure;
        /* A socket is reset when its other end goes with something unread in it. */
        else if (n < 0 && errno == ECONNRESET)
                *ret = (struct spawn_failure){ .stage = SPAWN_LOST, .error = ECONNRESET };
}
