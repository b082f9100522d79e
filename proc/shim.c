/* SPDX-License-Identifier: Apache-2.0 */

/* agent-shim [--cwd DIR] [--groups N,N…] [--gid N] [--uid N] [--files N] [--data N] [--cpu N] [--nproc N] [--keep N]
 *            [--first FILE] [--tty] -- PROGRAM [ARG…]
 *
 * The last few steps of a new process before it becomes PROGRAM: those that the agent's own process must not
 * do, because between its clone and exec it runs in the agent's memory. A tiny program of its own, without even
 * a C library (shim_system.h says why), that can be read in one sitting.
 *
 * It is given 0, 1, 2, and as 3 the write end of a status pipe. That becomes close-on-exec: if PROGRAM runs,
 * the agent reads end-of-file; if anything fails, a struct spawn_failure that says at which stage and why.
 *
 * Order matters: what needs the agent's privileges comes before the user changes; the directory is entered
 * after that, as a user may enter only what they may. PR_SET_NO_NEW_PRIVS is not set: sudo works in a sandbox
 * whose image allows it. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "proc/shim_system.h"
#include "proc/spawn.h"

#define STATUS_FD      3
#define MAX_GROUPS     65536 /* the kernel's NGROUPS_MAX */
#define KERNEL_SIGNALS 64
#define SIGSET_SIZE    (KERNEL_SIGNALS / 8)
#define SETMASK        2 /* SIG_SETMASK */
#define DEFAULT_PATH   "/usr/local/bin:/usr/bin:/bin"

/* Children are what the kernel should kill before the agent when memory runs out. */
#define OOM_SCORE "300"

struct options {
        const char *cwd;
        const char *groups;
        const char *gid;
        const char *uid;
        const char *files;
        const char *data;
        const char *cpu;
        const char *nproc;
        const char *keep;
        const char *first;
        bool tty;
        char **argv;
};

__attribute__((noreturn)) static void leave(int status)
{
        for (;;)
                sys(SYS_exit_group, status);
}

/* @error is a negative errno. */
__attribute__((noreturn)) static void fail(enum spawn_stage stage, long error)
{
        struct spawn_failure failure = { .stage = (int32_t)stage, .error = (int32_t)-error };

        /* When not even this works the agent sees the exit status below. */
        if (sys(SYS_write, STATUS_FD, &failure, sizeof(failure)) < 0)
                leave(125);
        leave(error == -ENOENT ? 127 : 126); /* what a shell would say */
}

/* A decimal number, up to its end or a comma; *ret_end is where it stopped. */
static unsigned long parse(enum spawn_stage stage, const char *s, const char **ret_end)
{
        unsigned long n = 0;

        if (!*s)
                fail(stage, -EINVAL);
        for (; *s && *s != ','; s++) {
                if (*s < '0' || *s > '9' || n > (ULONG_MAX - 9) / 10)
                        fail(stage, -EINVAL);
                n = 10 * n + (unsigned long)(*s - '0');
        }
        if (ret_end)
                *ret_end = s;
        return n;
}

static const char **find_option(struct options *o, const char *name)
{
        if (text_equal(name, "--cwd"))
                return &o->cwd;
        if (text_equal(name, "--groups"))
                return &o->groups;
        if (text_equal(name, "--gid"))
                return &o->gid;
        if (text_equal(name, "--uid"))
                return &o->uid;
        if (text_equal(name, "--files"))
                return &o->files;
        if (text_equal(name, "--data"))
                return &o->data;
        if (text_equal(name, "--cpu"))
                return &o->cpu;
        if (text_equal(name, "--nproc"))
                return &o->nproc;
        if (text_equal(name, "--keep"))
                return &o->keep;
        if (text_equal(name, "--first"))
                return &o->first;
        return NULL;
}

static void parse_options(char **argv, struct options *o)
{
        for (argv++; *argv && !text_equal(*argv, "--"); argv++) {
                const char **value;

                if (text_equal(*argv, "--tty")) {
                        o->tty = true;
                        continue;
                }
                value = find_option(o, *argv);
                if (!value || !argv[1])
                        fail(SPAWN_EXEC, -EINVAL);
                *value = *++argv;
        }
        if (!*argv || !argv[1])
                fail(SPAWN_EXEC, -EINVAL);
        o->argv = argv + 1;
}

/* Everything of the agent's is close-on-exec; this holds even if somebody forgets one day. Up to --keep the descriptors
 * are the program's. */
static void close_inherited(const struct options *o)
{
        unsigned long last = o->keep ? parse(SPAWN_LIMITS, o->keep, NULL) : STATUS_FD;

        sys(SYS_fcntl, STATUS_FD, F_SETFD, FD_CLOEXEC);
        sys(SYS_close_range, last + 1, UINT_MAX, 0); /* not before Linux 5.9 */
}

/* The agent ignores SIGPIPE and starts children with all signals blocked: both would survive exec. Also the two
 * signals that C libraries keep to themselves: glibc's posix_spawn leaves just those ignored. */
static void reset_signals(void)
{
        static const char default_action[64]; /* larger than the kernel's struct; SIG_DFL is 0 */
        static const char no_signals[SIGSET_SIZE];

        for (int n = 1; n <= KERNEL_SIGNALS; n++)
                sys(SYS_rt_sigaction, n, default_action, NULL, SIGSET_SIZE);
        sys(SYS_rt_sigprocmask, SETMASK, no_signals, NULL, SIGSET_SIZE);
}

static long set_limit(int resource, const unsigned long *soft, const unsigned long *hard)
{
        struct rlimit limit;
        long r = sys(SYS_prlimit64, 0, resource, NULL, &limit);

        if (r < 0)
                return r;
        limit.rlim_cur = soft ? *soft : limit.rlim_cur;
        limit.rlim_max = hard ? *hard : limit.rlim_max;
        return sys(SYS_prlimit64, 0, resource, &limit, NULL);
}

/* Never raises what we have ourselves: who set that had a reason. */
static void lower_limit(int resource, unsigned long soft, unsigned long hard)
{
        struct rlimit limit;
        long r = sys(SYS_prlimit64, 0, resource, NULL, &limit);

        if (r == 0) {
                if (limit.rlim_max > hard)
                        limit.rlim_max = hard;
                if (limit.rlim_cur > soft)
                        limit.rlim_cur = soft;
                r = sys(SYS_prlimit64, 0, resource, &limit, NULL);
        }
        if (r < 0)
                fail(SPAWN_LIMITS, r);
}

static void set_limits(const struct options *o)
{
        unsigned long n = 0;
        long r, fd;

        /* No core dumps unless a program asks for them: the hard limit stays. */
        set_limit(RLIMIT_CORE, &n, NULL);
        /* The agent needs more descriptors than programs expect: select() breaks above 1024. */
        if (o->files) {
                n = parse(SPAWN_LIMITS, o->files, NULL);
                r = set_limit(RLIMIT_NOFILE, &n, NULL);
                if (r < 0)
                        fail(SPAWN_LIMITS, r);
        }
        if (o->data) {
                n = parse(SPAWN_LIMITS, o->data, NULL);
                lower_limit(RLIMIT_DATA, n, n);
        }
        if (o->cpu) {
                n = parse(SPAWN_LIMITS, o->cpu, NULL);
                lower_limit(RLIMIT_CPU, n, n + 1); /* a second to say goodbye */
        }

        /* A preference, nothing to fail for. */
        fd = sys(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
                sys(SYS_write, fd, OOM_SCORE, sizeof(OOM_SCORE) - 1);
                sys(SYS_close, fd);
        }
}

static void set_user(const struct options *o)
{
        static gid_t groups[MAX_GROUPS];
        size_t n = 0;
        long r = 0;

        if (o->groups) {
                for (const char *s = o->groups; *s; s += *s == ',') {
                        if (n == MAX_GROUPS)
                                fail(SPAWN_USER, -EINVAL);
                        groups[n++] = (gid_t)parse(SPAWN_USER, s, &s);
                }
                r = sys(SYS_setgroups, n, groups);
        }
        if (r == 0 && o->gid)
                r = sys(SYS_setgid, (gid_t)parse(SPAWN_USER, o->gid, NULL));
        if (r == 0 && o->uid)
                r = sys(SYS_setuid, (uid_t)parse(SPAWN_USER, o->uid, NULL));
        if (r < 0)
                fail(SPAWN_USER, r);
        /* Not before the user: one who has as many processes already could not even execute the program. */
        if (o->nproc) {
                unsigned long max = parse(SPAWN_LIMITS, o->nproc, NULL);

                lower_limit(RLIMIT_NPROC, max, max);
        }
}

/* A text file without "#!" is a script of /bin/sh, as for every shell. Returns why it could not be started. */
static long run_file(const char *path, char **argv, char **envp)
{
        long r = sys(SYS_execve, path, argv, envp);

        if (r == -ENOEXEC) {
                /* The options in front of argv have been used up: there is room for one more word. */
                argv[-1] = (char *)"/bin/sh";
                argv[0] = (char *)path;
                r = sys(SYS_execve, "/bin/sh", argv - 1, envp);
        }
        return r;
}

/* Tries @name in one directory of the path, which ends at @end. */
static long run_in(const char *dir, const char *end, char *name, char **argv, char **envp)
{
        static char path[PATH_MAX];
        size_t dir_size = (size_t)(end - dir);
        size_t name_size = text_size(name);

        if (dir_size + name_size + 2 > sizeof(path))
                return -ENAMETOOLONG;
        memcpy(path, dir, dir_size);
        path[dir_size] = '/';
        memcpy(path + dir_size + (dir_size > 0), name, name_size + 1); /* an empty one means here */
        return run_file(path, argv, envp);
}

static const char *find_path(char **envp)
{
        for (; *envp; envp++) {
                const char *s = *envp;

                if (s[0] == 'P' && s[1] == 'A' && s[2] == 'T' && s[3] == 'H' && s[4] == '=')
                        return s + 5;
        }
        return DEFAULT_PATH;
}

static bool has_slash(const char *s)
{
        for (; *s; s++)
                if (*s == '/')
                        return true;
        return false;
}

/* As execvp: a directory that does not have the program, or may not be searched, is no reason to give up. */
static long run(char **argv, char **envp)
{
        const char *dir = find_path(envp);
        long result = -ENOENT;
        char *name = argv[0];

        if (!*name)
                return -ENOENT;
        if (has_slash(name))
                return run_file(name, argv, envp);
        for (;;) {
                const char *end = dir;
                long r;

                while (*end && *end != ':')
                        end++;
                r = run_in(dir, end, name, argv, envp);
                if (r == -EACCES)
                        result = r;
                else if (r != -ENOENT && r != -ENOTDIR && r != -ENAMETOOLONG)
                        return r;
                if (!*end)
                        return result;
                dir = end + 1;
        }
}

/* What can do without arguments what PROGRAM would do at length, if it is (still) there and can be executed. */
static void try_first(const char *file, char **envp)
{
        char *argv[] = { (char *)file, NULL };

        sys(SYS_execve, file, argv, envp);
}

/* Called by _start with what the kernel left on the stack: argc, argv, NULL, envp, NULL. */
__attribute__((noreturn, used)) void shim_start(long *stack);

void shim_start(long *stack)
{
        char **argv = (char **)(stack + 1);
        char **envp = argv + *stack + 1;
        struct options o = { 0 };
        long r;

        parse_options(argv, &o);
        close_inherited(&o);
        sys(SYS_setsid); /* cannot fail: a new process leads no group */
        if (o.tty) {
                r = sys(SYS_ioctl, 0, TIOCSCTTY, 0);
                if (r < 0)
                        fail(SPAWN_TTY, r);
        }
        reset_signals();
        sys(SYS_umask, 022);
        set_limits(&o);
        set_user(&o);
        if (o.cwd) {
                r = sys(SYS_chdir, o.cwd);
                if (r < 0)
                        fail(SPAWN_CWD, r);
        }
        if (o.first)
                try_first(o.first, envp);
        fail(SPAWN_EXEC, run(o.argv, envp));
}
