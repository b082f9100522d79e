/* SPDX-License-Identifier: Apache-2.0 */

/* The spawn path by itself, in both of its ways, without a supervisor. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/cgroup.h"
#include "proc/spawn.h"
#include "tests/lib/skip.h"

/* What a child wrote to its stdout, and how it ended. */
struct child {
        char output[4096];
        int status;
        struct spawn_failure failure;
};

static char *const empty_environment[] = { (char *)"PATH=/usr/bin:/bin", NULL };

static void run(struct spawn_spec spec, struct child *c)
{
        struct error err = ERROR_INIT;
        int out[2], status_fd = -1;
        size_t size = 0;
        ssize_t n;
        pid_t pid;

        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        spec.shim = getenv("AGENT_SHIM");
        spec.envp = spec.envp ? spec.envp : empty_environment;
        spec.fds[0] = -1;
        spec.fds[1] = out[1];
        spec.fds[2] = -1;
        if (spawn(&spec, &pid, &status_fd, &err) < 0)
                fail_msg("%s", err.message);
        close(out[1]);
        while ((n = read(out[0], c->output + size, sizeof(c->output) - 1 - size)) > 0)
                size += (size_t)n;
        c->output[size] = '\0';
        close(out[0]);
        assert_int_equal(waitpid(pid, &c->status, 0), pid);
        spawn_read_failure(status_fd, &c->failure);
        close(status_fd);
}

static char *const echo_argv[] = { (char *)"echo", (char *)"a b", (char *)"--cwd",
                                   (char *)"",     (char *)"$x",  NULL };

static void test_arguments_are_not_touched(void **state)
{
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = echo_argv, .cwd = "/", .cgroup_fd = -1 }, &c);
        assert_string_equal(c.output, "a b --cwd  $x\n");
        assert_int_equal(c.status, 0);
        assert_int_equal(c.failure.stage, SPAWN_OK);
}

static void test_born_in_cgroup(void **state)
{
        CLEANUP(cgroup_free) struct cgroup *cg = NULL;
        struct cgroup_leaf leaf;
        struct error err = ERROR_INIT;
        struct child c;

        (void)state;
        if (cgroup_new(&cg, &err) < 0)
                SKIP_TEST("no cgroup v2 here");
        assert_int_equal(cgroup_leaf_init(&leaf, cg, "spawned", &(struct cgroup_limits){ 0 }, &err),
                         0);
        run((struct spawn_spec){ .argv = (char *[]){ (char *)"cat", (char *)"/proc/self/cgroup",
                                                     NULL },
                                 .cwd = "/",
                                 .cgroup_fd = leaf.fd },
            &c);
        assert_non_null(strstr(c.output, "/spawned\n"));
        run((struct spawn_spec){ .argv = (char *[]){ (char *)"grep", (char *)"Sig[BI]",
                                                     (char *)"/proc/self/status", NULL },
                                 .cwd = "/",
                                 .cgroup_fd = leaf.fd },
            &c);
        assert_string_equal(c.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
}

/* The signal mask of the caller is what it was. */
static void test_caller_is_not_disturbed(void **state)
{
        sigset_t before, after;
        struct child c;

        (void)state;
        sigemptyset(&before);
        sigaddset(&before, SIGUSR1);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
        test_born_in_cgroup(state);
        run((struct spawn_spec){ .argv = echo_argv, .cwd = "/", .cgroup_fd = -1 }, &c);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
        for (int n = 1; n < NSIG; n++)
                assert_int_equal(sigismember(&after, n), sigismember(&before, n));
        sigemptyset(&before);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void test_no_shim(void **state)
{
        CLEANUP(cgroup_free) struct cgroup *cg = NULL;
        struct spawn_spec spec = { .shim = "/no/such/shim",
                                   .argv = echo_argv,
                                   .envp = empty_environment };
        struct error err = ERROR_INIT;
        struct cgroup_leaf leaf;
        int status_fd = -1;
        pid_t pid;

        (void)state;
        spec.fds[0] = spec.fds[1] = spec.fds[2] = spec.cgroup_fd = -1;
        assert_int_equal(spawn(&spec, &pid, &status_fd, &err), -ENOENT);
        assert_int_equal(status_fd, -1);
        if (cgroup_new(&cg, &err) == 0) {
                assert_int_equal(
                        cgroup_leaf_init(&leaf, cg, "x", &(struct cgroup_limits){ 0 }, &err), 0);
                spec.cgroup_fd = leaf.fd;
                assert_int_equal(spawn(&spec, &pid, &status_fd, &err), -ENOENT);
                assert_int_equal(cgroup_leaf_remove(&leaf), 0);
        }
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
}

/* A daemon may have been started with its standard descriptors closed. */
static void test_low_descriptors(void **state)
{
        int saved[3];
        struct child c;

        (void)state;
        for (int i = 0; i < 3; i++) {
                saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
                close(i);
        }
        run((struct spawn_spec){ .argv = echo_argv, .cwd = "/", .cgroup_fd = -1 }, &c);
        for (int i = 0; i < 3; i++)
                if (saved[i] >= 0) {
                        dup2(saved[i], i);
                        close(saved[i]);
                }
        assert_string_equal(c.output, "a b --cwd  $x\n");
}

static char *const files_argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)"ulimit -n; ulimit -d",
                                    NULL };

static void test_limits(void **state)
{
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = files_argv,
                                 .cwd = "/",
                                 .cgroup_fd = -1,
                                 .max_files = 99,
                                 .limits.max_memory = 512 * MIB },
            &c);
        assert_string_equal(c.output, "99\n524288\n");
}

static char *const limits_argv[] = { (char *)"/bin/bash", (char *)"-c",
                                     (char *)"ulimit -St; ulimit -Ht; ulimit -Su; ulimit -Hu",
                                     NULL };

/* What we have less of ourselves is not raised. */
static void test_limits_are_lowered(void **state)
{
        CLEANUP(mem_free)
        char *again = xasprintf("exec '%s' --data %llu -- /bin/sh -c 'ulimit -Hd' 3>/dev/null",
                                getenv("AGENT_SHIM"), 1024ULL * MIB);
        struct rlimit before, lower;
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = limits_argv,
                                 .cwd = "/",
                                 .cgroup_fd = -1,
                                 .limits = { .cpu_seconds = 50, .max_tasks = 2000 } },
            &c);
        assert_string_equal(c.output, "50\n51\n2000\n2000\n");

        assert_int_equal(getrlimit(RLIMIT_CPU, &before), 0);
        lower = (struct rlimit){ 4000, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_CPU, &lower), 0);
        run((struct spawn_spec){ .argv = limits_argv,
                                 .cwd = "/",
                                 .cgroup_fd = -1,
                                 .limits = { .cpu_seconds = 5000 } },
            &c);
        assert_int_equal(strncmp(c.output, "4000\n5001\n", 10), 0);
        assert_int_equal(setrlimit(RLIMIT_CPU, &before), 0);

        run((struct spawn_spec){ .argv = (char *[]){ (char *)"/bin/sh", (char *)"-c", again, NULL },
                                 .cwd = "/",
                                 .cgroup_fd = -1,
                                 .limits.max_memory = 512 * MIB },
            &c);
        assert_string_equal(c.output, "524288\n");
}

static void write_program(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

/* What is to be executed first need not be there, nor be a program. */
static void test_first(void **state)
{
        char dir[] = "/tmp/test-spawn-XXXXXX", path[64];
        struct spawn_spec spec = { .argv = echo_argv, .first = path, .cwd = "/", .cgroup_fd = -1 };
        struct child c;

        (void)state;
        assert_non_null(mkdtemp(dir));
        (void)snprintf(path, sizeof(path), "%s/program", dir);
        run(spec, &c);
        assert_string_equal(c.output, "a b --cwd  $x\n");
        assert_int_equal(c.failure.stage, SPAWN_OK);

        write_program(path, "#!/bin/sh\necho first $#\nexit 3\n");
        run(spec, &c);
        assert_string_equal(c.output, "first 0\n");
        assert_int_equal(WEXITSTATUS(c.status), 3);

        write_program(path, "echo no program\n");
        run(spec, &c);
        assert_string_equal(c.output, "a b --cwd  $x\n");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(dir), 0);
}

static void test_relative_program(void **state)
{
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = (char *[]){ (char *)"bin/echo", (char *)"x", NULL },
                                 .cwd = "/usr",
                                 .cgroup_fd = -1 },
            &c);
        assert_string_equal(c.output, "x\n");
}

static void test_script_without_shebang(void **state)
{
        char path[] = "/tmp/test-spawn-XXXXXX";
        int fd = mkstemp(path);
        struct child c;

        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(fd_write_all(fd, "echo script\n", 12), 0);
        assert_int_equal(fchmod(fd, 0700), 0);
        close(fd);
        run((struct spawn_spec){ .argv = (char *[]){ path, NULL }, .cwd = "/", .cgroup_fd = -1 },
            &c);
        unlink(path);
        assert_string_equal(c.output, "script\n");
}

static void test_tty_needs_one(void **state)
{
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = echo_argv, .cwd = "/", .cgroup_fd = -1, .set_tty = true },
            &c);
        assert_int_equal(c.failure.stage, SPAWN_TTY);
        assert_int_equal(c.failure.error, ENOTTY);
}

static void test_user_must_be_allowed(void **state)
{
        struct credentials bad = { .uid = (uid_t)-1, .gid = 0 };
        struct child c;

        (void)state;
        run((struct spawn_spec){ .argv = echo_argv, .cwd = "/", .cgroup_fd = -1, .user = &bad },
            &c);
        assert_int_equal(c.failure.stage, SPAWN_USER);
        assert_int_equal(WEXITSTATUS(c.status), 126);
}

static void test_credentials(void **state)
{
        CLEANUP(credentials_free) struct credentials *own = NULL, *root = NULL;
        struct credentials *none = NULL;
        struct error err = ERROR_INIT;

        (void)state;
        assert_int_equal(credentials_new(NULL, &own, &err), 0);
        assert_int_equal(own->uid, geteuid());
        assert_int_equal(credentials_new("root", &root, &err), 0);
        assert_int_equal(root->uid, 0);
        assert_string_equal(root->home, "/root");
        assert_true(root->n_groups >= 1);
        assert_int_equal(credentials_new("no-such-user", &none, &err), -ENOENT);
        assert_null(none);
        assert_non_null(strstr(err.message, "no-such-user"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_arguments_are_not_touched),
                cmocka_unit_test(test_born_in_cgroup),
                cmocka_unit_test(test_caller_is_not_disturbed),
                cmocka_unit_test(test_no_shim),
                cmocka_unit_test(test_low_descriptors),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_limits_are_lowered),
                cmocka_unit_test(test_first),
                cmocka_unit_test(test_relative_program),
                cmocka_unit_test(test_script_without_shebang),
                cmocka_unit_test(test_tty_needs_one),
                cmocka_unit_test(test_user_must_be_allowed),
                cmocka_unit_test(test_credentials),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
