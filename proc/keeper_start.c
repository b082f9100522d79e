/* SPDX-License-Identifier: Apache-2.0 */

/* What a keeper makes before the program runs: files, socket, pipes or a terminal; and the program itself.
 *
 * The child is cloned into its cgroup, but not with CLONE_VM as in vfork.c: a process as small as this one is copied
 * in no time. Between clone and exec it only moves descriptors. */

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "proc/keeper_private.h"

/* Fewer switches for talkative programs; refused when the user holds too many pages in pipes. */
#define PIPE_SIZE (256 * KIB)
/* The config is one message: with paths as long as they may be. */
#define CONFIG_SIZE (12 * KIB)

/* The program's ends. */
struct ends {
        int fds[5]; /* stdin, stdout, stderr, the shim's status pipe, rich output; -1: none */
};

/* See the header. */
int keeper_receive_config(struct keeper *k, int fd)
{
        static char message[CONFIG_SIZE];
        long n = kernel(SYS_recvfrom, fd, message, sizeof(message) - 1, MSG_TRUNC, NULL, NULL);
        const char *strings = message + sizeof(k->config);
        const char *end = message + n, *more;

        if (n < 0)
                return (int)n;
        if (n >= (long)sizeof(message) || n < (long)sizeof(k->config) + 2 || end[-1] != '\0')
                return -EPROTO;
        k->config = *(struct keeper_config *)message;
        if (k->config.version != KEEPER_VERSION)
                return -EPROTO;
        k->shim = strings;
        k->leaf = strings + text_length(strings) + 1;
        if (k->leaf >= end)
                return -EPROTO;
        more = k->leaf + text_length(k->leaf) + 1;
        k->cpu_seconds = more < end ? text_number(more, NULL) : 0;
        return 0;
}

static int open_log(struct keeper *k, struct stream *s, const char *name)
{
        long fd = kernel(SYS_openat, k->dir_fd, name,
                         O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (fd < 0)
                return (int)fd;
        s->log_fd = (int)fd;
        return joblog_writer_init(&s->log, s->log_fd, k->config.capacity);
}

/* In the job's directory, which is ours: there its path is short. */
static int open_listener(struct keeper *k)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = KEEPER_CONTROL };
        long r = kernel(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (r < 0)
                return (int)r;
        k->listen_fd = (int)r;
        (void)kernel(SYS_unlinkat, AT_FDCWD, KEEPER_CONTROL, 0);
        r = kernel(SYS_bind, k->listen_fd, &address, sizeof(address));
        if (r == 0)
                r = kernel(SYS_listen, k->listen_fd, KEEPER_CONNECTIONS);
        return (int)r;
}

/* Takes the space that the status will need. */
static int open_end(struct keeper *k)
{
        static const char spaces[KEEPER_STATUS_MAX];
        long r = kernel(SYS_openat, k->dir_fd, KEEPER_STATUS ".tmp",
                        O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

        if (r < 0)
                return (int)r;
        k->end_fd = (int)r;
        r = kernel(SYS_pwrite64, k->end_fd, spaces, sizeof(spaces), 0);
        if (r == (long)sizeof(spaces))
                return 0;
        k->end_fd = keeper_close(k->end_fd);
        return r < 0 ? (int)r : -ENOSPC;
}

static void set_limit(const struct keeper *k, const char *file, uint64_t limit)
{
        char content[32];
        struct text t = TEXT_IN(content);

        text_add_number(&t, limit);
        if (limit)
                (void)keeper_write_file(k->leaf_fd, file, content);
}

/* As in cgroup_leaf.c: each file exists only with its controller. Who wants no limits does without a leaf as well. */
static int make_leaf(struct keeper *k)
{
        long r = kernel(SYS_mkdirat, AT_FDCWD, k->leaf, 0755);

        if (r == 0)
                r = kernel(SYS_openat, AT_FDCWD, k->leaf, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r < 0) {
                k->leaf = "";
                return k->config.max_memory || k->config.max_tasks ? (int)r : 0;
        }
        k->leaf_fd = (int)r;
        set_limit(k, "memory.max", k->config.max_memory);
        if (k->config.max_memory)
                (void)keeper_write_file(k->leaf_fd, "memory.swap.max", "0");
        set_limit(k, "memory.oom.group", k->config.max_memory ? 1 : 0);
        set_limit(k, "pids.max", k->config.max_tasks);
        return 0;
}

/* See the header. */
int keeper_prepare(struct keeper *k)
{
        int r;

        r = (int)kernel(SYS_fchdir, k->dir_fd);
        if (r == 0)
                r = open_end(k);
        if (r == 0)
                r = open_log(k, &k->streams[0], JOBLOG_STDOUT);
        if (r == 0)
                r = open_log(k, &k->streams[1], JOBLOG_STDERR);
        if (r == 0 && *k->leaf)
                r = make_leaf(k);
        if (r == 0)
                r = keeper_write_identity(k);
        /* Last: who can connect finds all files. */
        return r == 0 ? open_listener(k) : r;
}

static int set_nonblock(int fd)
{
        long flags = kernel(SYS_fcntl, fd, F_GETFL, 0);

        return flags < 0 ? (int)flags : (int)kernel(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

/* @ours is non-blocking, the program's end is not. */
static int open_pipe(int *ours, int *theirs, bool we_write)
{
        int fds[2];
        long r = kernel(SYS_pipe2, fds, O_CLOEXEC);

        if (r < 0)
                return (int)r;
        *ours = fds[we_write];
        *theirs = fds[!we_write];
        if (!we_write)
                (void)kernel(SYS_fcntl, fds[1], F_SETPIPE_SZ, PIPE_SIZE);
        return set_nonblock(*ours);
}

static long open_slave(int master)
{
        static const int unlocked;
        char path[64];
        struct text t = TEXT_IN(path);
        unsigned number;
        long fd, r;

        r = kernel(SYS_ioctl, master, TIOCSPTLCK, &unlocked);
        if (r < 0)
                return r;
        fd = kernel(SYS_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
                return fd;
        r = kernel(SYS_ioctl, master, TIOCGPTN, &number);
        if (r < 0)
                return r;
        text_add(&t, "/dev/pts/");
        text_add_number(&t, number);
        return kernel(SYS_openat, AT_FDCWD, path, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* As proc/pty.c. Two descriptors of the master: one to read from, one to write to. */
static int open_terminal(struct keeper *k, int *ret_slave)
{
        struct winsize size = { .ws_col = k->config.columns, .ws_row = k->config.rows };
        struct termios line;
        long r;

        r = kernel(SYS_openat, AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
        if (r < 0)
                return (int)r;
        k->streams[0].fd = (int)r;
        r = kernel(SYS_fcntl, k->streams[0].fd, F_DUPFD_CLOEXEC, 0);
        if (r < 0)
                return (int)r;
        k->input.fd = (int)r;
        r = open_slave(k->streams[0].fd);
        if (r < 0)
                return (int)r;
        *ret_slave = (int)r;
        /* Only root can, and only for others it matters. */
        (void)kernel(SYS_fchown, *ret_slave, k->config.terminal_user, (gid_t)-1);
        r = kernel(SYS_ioctl, *ret_slave, TCGETS, &line);
        if (r < 0)
                return (int)r;
        line.c_iflag |= IUTF8;
        r = kernel(SYS_ioctl, *ret_slave, TCSETS, &line);
        return r < 0 ? (int)r : (int)kernel(SYS_ioctl, k->streams[0].fd, TIOCSWINSZ, &size);
}

static int open_ends(struct keeper *k, struct ends *e)
{
        unsigned flags = k->config.flags;
        int r = 0;

        if (flags & KEEPER_HAS_TERMINAL) {
                r = open_terminal(k, &e->fds[0]);
                e->fds[1] = e->fds[2] = e->fds[0];
        } else {
                if (flags & KEEPER_HAS_INPUT)
                        r = open_pipe(&k->input.fd, &e->fds[0], true);
                if (r == 0)
                        r = open_pipe(&k->streams[0].fd, &e->fds[1], false);
                if (r == 0 && !(flags & KEEPER_MERGES))
                        r = open_pipe(&k->streams[1].fd, &e->fds[2], false);
                if (flags & KEEPER_MERGES)
                        e->fds[2] = e->fds[1];
                if (r == 0 && flags & KEEPER_HAS_RICH)
                        r = open_pipe(&k->rich.fd, &e->fds[4], false);
                if (!(flags & KEEPER_HAS_INPUT))
                        e->fds[0] = k->stdin_fd;
        }
        return r == 0 ? open_pipe(&k->status_fd, &e->fds[3], false) : r;
}

static void close_ends(struct keeper *k, struct ends *e)
{
        for (unsigned i = 0; i < 5; i++) {
                bool is_again = false;

                for (unsigned j = 0; j < i; j++)
                        is_again |= e->fds[i] == e->fds[j];
                if (!is_again && e->fds[i] != k->stdin_fd)
                        (void)keeper_close(e->fds[i]);
        }
        k->stdin_fd = keeper_close(k->stdin_fd);
}

/* Where clone3 is not to be had: it moves itself, which takes its time. */
static long join_leaf(const struct keeper *k)
{
        long fd = kernel(SYS_openat, k->leaf_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

        return fd < 0 ? fd : kernel(SYS_write, fd, "0", 1);
}

/* As fork. Inside the leaf, if there is one. */
static long clone_child(const struct keeper *k)
{
        struct clone_args args = { .exit_signal = SIGCHLD };
        long pid;

        if (k->leaf_fd >= 0) {
                args.flags = CLONE_INTO_CGROUP;
                args.cgroup = (uint64_t)k->leaf_fd;
                pid = kernel(SYS_clone3, &args, sizeof(args));
                if (pid >= 0)
                        return pid;
        }
        pid = kernel(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0 && k->leaf_fd >= 0 && join_leaf(k) < 0)
                keeper_leave(125); /* nothing would find it there */
        return pid;
}

/* The child: the rest is the shim's. */
__attribute__((noreturn)) static void become_shim(const struct keeper *k, const struct ends *e)
{
        struct spawn_failure failure = { .stage = KEEPER_STAGE };
        long r = 0;

        for (int i = 0; i < 5 && r >= 0; i++)
                if (e->fds[i] >= 0)
                        r = kernel(SYS_dup3, e->fds[i], i, 0);
        if (r >= 0)
                r = kernel(SYS_execve, k->shim, k->argv, k->envp);
        failure.error = (int32_t)-r;
        (void)kernel(SYS_write, e->fds[3], &failure, sizeof(failure));
        keeper_leave(126);
}

/* See the header. */
int keeper_start_program(struct keeper *k)
{
        struct ends e = { .fds = { -1, -1, -1, -1, -1 } };
        long pid;
        int r;

        r = open_ends(k, &e);
        if (r < 0)
                return r; /* the program's ends go with us */
        pid = clone_child(k);
        if (pid == 0)
                become_shim(k, &e);
        close_ends(k, &e);
        if (pid < 0) {
                k->status_fd = keeper_close(k->status_fd);
                return (int)pid;
        }
        k->leader = (pid_t)pid;
        k->leader_lives = k->has_children = true;
        if (k->config.timeout_ms)
                k->deadline_us = k->started_us + k->config.timeout_ms * 1000;
        (void)keeper_write_identity(k);
        return 0;
}
