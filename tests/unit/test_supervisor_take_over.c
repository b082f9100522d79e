/* SPDX-License-Identifier: Apache-2.0 */

/* What outlives an agent and what does not: keepers are left alone by its end, and what a killed one has left of its
 * executions is found by the next. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fd.h"
#include "agent/base/path.h"
#include "proc/process_private.h"
#include "tests/lib/supervisor_fixture.h"

static char state_dir[] = "/tmp/take-over.XXXXXX";

/* Directories of our own, for a supervisor that uses them. */
static void begin(struct fixture *f)
{
        (void)snprintf(state_dir, sizeof(state_dir), "/tmp/take-over.XXXXXX");
        assert_non_null(mkdtemp(state_dir));
        fixture_close_supervisor(f);
        f->options.runtime_dir = state_dir;
        fixture_new_supervisor(f);
}

static void end(void)
{
        assert_int_equal(path_remove_tree(state_dir), 0);
}

/* A child in a session of its own. When this returns, @script has written a line. */
static pid_t start(const char *script, const char *variable, const char *value)
{
        int fds[2];
        char c = '\0';
        pid_t pid;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)setsid();
                if (variable)
                        (void)setenv(variable, value, 1);
                (void)dup2(fds[1], STDOUT_FILENO);
                (void)execl("/bin/bash", "bash", "-c", script, (char *)NULL);
                _exit(127);
        }
        (void)close(fds[1]);
        while (c != '\n')
                assert_int_equal(read(fds[0], &c, 1), 1);
        (void)close(fds[0]);
        return pid;
}

static void read_instance(char *dst, size_t size)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/instance", state_dir);
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, dst, size - 1);

        assert_true(n > 0);
        dst[n] = '\0';
}

static void close_supervisor(struct fixture *f)
{
        f->is_closed = 0;
        supervisor_close(f->supervisor, fixture_on_closed_, f);
        assert_true(loop_run_until(f->loop, fixture_is_closed_, f, HANG_MS));
        f->supervisor = NULL;
}

static void end_child(pid_t pid)
{
        int status;

        assert_int_equal(kill(pid, SIGKILL), 0); /* so it was alive */
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* What a child has in a file that it was told to write a pid to. */
static pid_t read_pid(void)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/pid", state_dir);
        char text[32] = "";
        CLEANUP(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);

        assert_true(read(fd, text, sizeof(text) - 1) > 0);
        return (pid_t)strtol(text, NULL, 10);
}

static void test_spared_live_on(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *script = NULL;
        struct supervisor_counts counts;
        pid_t keeper, stranger;
        struct run r;

        begin(f);
        script = xasprintf("setsid sleep 1000 & echo $! >%s/pid; echo; wait", state_dir);
        keeper = start(script, NULL, NULL);
        supervisor_spare(f->supervisor, keeper);
        supervisor_spare(f->supervisor, keeper); /* once is enough */
        assert_int_equal(f->supervisor->n_spared, 1);
        assert_false(supervisor_has_orphans(f->supervisor));

        /* So an execution that leaves nothing is over at its end, without a look at the whole machine. */
        run_script(f, &r, "true");
        run_done(&r);
        supervisor_count(f->supervisor, &counts);
        assert_int_equal(counts.lingering, 0);

        /* Who only runs the same program is nobody. */
        stranger = start("sleep 1000 & echo; wait", NULL, NULL);
        assert_true(supervisor_has_orphans(f->supervisor));

        close_supervisor(f);
        assert_int_equal(kill(stranger, 0), -1);
        assert_int_equal(kill(read_pid(), SIGKILL), 0);
        end_child(keeper);
        while (waitpid(-1, NULL, 0) > 0) /* what was handed to us by their ends */
                ;
        end();
}

static int is_nobody_spared(void *arg)
{
        return ((struct fixture *)arg)->supervisor->n_spared == 0;
}

static void test_dead_are_not_spared(void **state)
{
        struct fixture *f = *state;
        pid_t keeper = start("echo; exec sleep 1000", NULL, NULL);

        supervisor_spare(f->supervisor, keeper);
        assert_int_equal(kill(keeper, SIGKILL), 0);
        assert_true(loop_run_until(f->loop, is_nobody_spared, f, HANG_MS));
        assert_int_equal(waitpid(keeper, NULL, WNOHANG), -1);
}

/* An execution knows the instance; who starts a job with its own environment does not pass it on. */
static void test_environment(void **state)
{
        struct fixture *f = *state;
        char *const own[] = { (char *)"A=1", (char *)TREE_INSTANCE "=x", (char *)TREE_MARKER "=y",
                              (char *)"B=2", NULL };
        char *const markers[] = { (char *)TREE_MARKER "=z", NULL };
        CLEANUP(mem_free) char **marked = tree_mark(own, markers);
        char name[ID_SIZE];
        struct run r;

        assert_string_equal(marked[0], TREE_MARKER "=z");
        assert_string_equal(marked[1], "A=1");
        assert_string_equal(marked[2], "B=2");
        assert_null(marked[3]);

        begin(f);
        supervisor_take_over(f->supervisor, state_dir);
        read_instance(name, sizeof(name));
        (void)run_start(
                f, &r,
                (struct process_options){ .argv = SCRIPT("printf %s \"$" TREE_INSTANCE
                                                         "\"; env | grep -c ^" TREE_INSTANCE),
                                          .envp = own,
                                          .input_fd = -1 });
        run_wait(f, &r);
        assert_int_equal(strncmp(r.output, name, strlen(name)), 0);
        assert_string_equal(r.output + strlen(name), "1\n");
        run_done(&r);
        end();
}

static void test_leftovers_end(void **state)
{
        struct fixture *f = *state;
        char name[ID_SIZE], again[ID_SIZE];
        pid_t left, wiped, other, job;
        CLEANUP(mem_free) char *script = NULL;
        int status;

        begin(f);
        supervisor_take_over(f->supervisor, state_dir);
        read_instance(name, sizeof(name));
        fixture_close_supervisor(f);

        /* One of its session has wiped its environment and lost its parent. */
        script = xasprintf("(env -i sleep 1000 & echo $! >%s/pid); echo; exec sleep 1000",
                           state_dir);
        left = start(script, TREE_INSTANCE, name);
        wiped = read_pid();
        other = start("echo; exec sleep 1000", TREE_INSTANCE, "inst_0123");
        job = start("echo; exec sleep 1000", TREE_MARKER, name);

        fixture_new_supervisor(f);
        supervisor_take_over(f->supervisor, state_dir);
        assert_int_equal(waitpid(left, &status, 0), left);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        while (waitpid(wiped, NULL, 0) < 0 && errno == EINTR)
                ;
        assert_int_equal(kill(wiped, 0), -1);
        end_child(other);
        end_child(job);
        read_instance(again, sizeof(again));
        assert_string_equal(again, name);
        end();
}

/* A file that makes no sense is replaced: it must not become part of anybody's environment. */
static void test_bad_instance(void **state)
{
        static const char *const bad[] = { "", "inst_", "inst_xyz", "inst_12\n", "other" };
        struct fixture *f = *state;
        char name[ID_SIZE];

        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                CLEANUP(mem_free) char *path = NULL;
                FILE *file;

                begin(f);
                path = xasprintf("%s/instance", state_dir);
                file = fopen(path, "we");
                assert_non_null(file);
                (void)fputs(bad[i], file);
                (void)fclose(file);
                supervisor_take_over(f->supervisor, state_dir);
                read_instance(name, sizeof(name));
                assert_int_equal(strncmp(name, "inst_", 5), 0);
                assert_int_equal(strlen(name), 29);
                end();
        }
}

static void test_no_state_dir(void **state)
{
        struct fixture *f = *state;
        struct run r;

        begin(f);
        supervisor_take_over(f->supervisor, "/no/such/directory");
        run_script(f, &r, "printf %s \"$" TREE_INSTANCE "\"");
        assert_int_equal(strlen(r.output), 29);
        run_done(&r);
        end();
}

struct script_left {
        char path[64];
};

static int is_removed(void *arg)
{
        return access(((struct script_left *)arg)->path, F_OK) < 0;
}

static void leave_script(struct script_left *s)
{
        CLEANUP(mem_free) char *below = NULL;

        (void)snprintf(s->path, sizeof(s->path), "%s/code_1", state_dir);
        below = xasprintf("%s/below", s->path);
        assert_int_equal(mkdir(s->path, 0700), 0);
        assert_int_equal(mkdir(below, 0700), 0);
}

static void test_scripts(void **state)
{
        struct fixture *f = *state;
        struct script_left left;
        CLEANUP(mem_free) char *kept = NULL;
        int user;

        begin(f);
        leave_script(&left);
        kept = xasprintf("%s/state", state_dir);
        assert_int_equal(mkdir(kept, 0700), 0);

        /* Somebody else is there: it may be theirs. */
        user = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(flock(user, LOCK_SH), 0);
        supervisor_take_over(f->supervisor, state_dir);
        fixture_close_supervisor(f);
        assert_false(is_removed(&left));

        (void)close(user);
        fixture_new_supervisor(f);
        supervisor_take_over(f->supervisor, state_dir);
        assert_true(loop_run_until(f->loop, is_removed, &left, HANG_MS));
        assert_int_equal(access(kept, F_OK), 0);

        /* From here on it is we who are there, but not alone. */
        user = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(flock(user, LOCK_EX | LOCK_NB), -1);
        assert_int_equal(flock(user, LOCK_SH | LOCK_NB), 0);
        (void)close(user);
        end();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_spared_live_on), SUPERVISED(test_dead_are_not_spared),
                SUPERVISED(test_environment),    SUPERVISED(test_leftovers_end),
                SUPERVISED(test_bad_instance),   SUPERVISED(test_no_state_dir),
                SUPERVISED(test_scripts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
