/* SPDX-License-Identifier: Apache-2.0 */

/* The cgroup tree, where this machine has one. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/base/alloc.h"
#include "agent/base/fd.h"
#include "proc/cgroup.h"
#include "proc/cgroup_file.h"
#include "proc/vfork.h"
#include "tests/lib/skip.h"

static const struct cgroup_limits no_limits;

static int setup(void **state)
{
        struct cgroup *c = NULL;
        struct error err = ERROR_INIT;

        (void)cgroup_new(&c, &err);
        *state = c;
        return 0;
}

static int teardown(void **state)
{
        struct cgroup *c = *state;
        char *path = c ? xstrdup(cgroup_path(c)) : NULL;
        int is_gone;

        cgroup_free(c);
        is_gone = !path || access(path, F_OK) < 0;
        free(path);
        return is_gone ? 0 : -1;
}

static void make_leaf(void **state, struct cgroup_leaf *leaf)
{
        struct error err = ERROR_INIT;

        assert_int_equal(cgroup_leaf_init(leaf, *state, "leaf", &no_limits, &err), 0);
}

static void run_sleep(void *arg)
{
        static char *const argv[] = { (char *)"sleep", (char *)"1000", NULL };

        (void)arg;
        execv("/bin/sleep", argv);
        _exit(127);
}

/* The new process has all signals blocked; SIGKILL does not mind. */
static pid_t start_sleep(const struct cgroup_leaf *leaf)
{
        pid_t pid = -1;

        assert_int_equal(vfork_into_cgroup(leaf->fd, run_sleep, NULL, &pid), 0);
        return pid;
}

static void test_leaf(void **state)
{
        struct cgroup_leaf leaf, other;
        struct error err = ERROR_INIT;
        struct cgroup_usage usage;
        int status;
        pid_t pid;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        make_leaf(state, &leaf);
        assert_int_equal(cgroup_leaf_init(&other, *state, "leaf", &no_limits, &err), -EEXIST);
        assert_int_equal(other.fd, -1);

        pid = start_sleep(&leaf);
        assert_int_equal(cgroup_leaf_remove(&leaf), -EBUSY);
        assert_int_equal(cgroup_leaf_kill(&leaf), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        cgroup_leaf_usage(&leaf, &usage);
        assert_true(usage.cpu_us > 0);
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
        assert_int_equal(leaf.fd, -1);
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
}

static void test_signal(void **state)
{
        struct cgroup_leaf leaf;
        pid_t a, b;
        int status;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        make_leaf(state, &leaf);
        a = start_sleep(&leaf);
        b = start_sleep(&leaf);
        assert_true(cgroup_leaf_signal(&leaf, SIGKILL, b));
        assert_false(cgroup_leaf_signal(&leaf, 0, getpid()));
        assert_int_equal(waitpid(a, &status, 0), a);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        assert_int_equal(waitpid(b, &status, 0), b);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
}

static void test_events(void **state)
{
        struct cgroup_leaf leaf;
        struct pollfd p = { .events = POLLPRI };
        pid_t pid;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        make_leaf(state, &leaf);
        pid = start_sleep(&leaf);
        p.fd = cgroup_leaf_open_events(&leaf);
        assert_true(p.fd >= 0);
        assert_true(cgroup_events_populated(p.fd));

        assert_int_equal(cgroup_leaf_kill(&leaf), 0);
        while (cgroup_events_populated(p.fd))
                assert_int_equal(poll(&p, 1, 20000), 1);
        assert_int_equal(cgroup_leaf_remove(&leaf), 0); /* a zombie does not hold it */
        close(p.fd);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Programs may build a tree of their own below. */
static void test_nested(void **state)
{
        struct cgroup_leaf leaf;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        make_leaf(state, &leaf);
        assert_int_equal(mkdirat(leaf.fd, "a", 0755), 0);
        assert_int_equal(mkdirat(leaf.fd, "a/b", 0755), 0);
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
}

/* Deeper than anything that recurses would like. */
static void test_deep_cgroups(void **state)
{
        struct cgroup_leaf leaf;
        char path[256];
        char *end = path;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        make_leaf(state, &leaf);
        for (unsigned i = 0; i < 40; i++) {
                end = stpcpy(end, i ? "/d" : "d");
                assert_int_equal(mkdirat(leaf.fd, path, 0755), 0);
        }
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
        make_leaf(state, &leaf); /* the name is free again */
        assert_int_equal(cgroup_leaf_remove(&leaf), 0);
}

static int end_of(pid_t pid)
{
        int status;

        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A leaf serves again, and nothing of its last user shows. */
static void test_pool(void **state)
{
        const struct cgroup_limits limits = { .max_tasks = 10 };
        struct cgroup_leaf leaf, other;
        struct cgroup_usage usage;
        struct error err = ERROR_INIT;
        char name[sizeof(leaf.name)];
        pid_t pid;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        assert_int_equal(cgroup_leaf_take(&leaf, *state, "first", &no_limits, &err), 0);
        pid = start_sleep(&leaf);
        assert_int_equal(cgroup_leaf_give_back(&leaf), -EBUSY);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(end_of(pid), SIGKILL);
        memcpy(name, leaf.name, sizeof(name));
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);
        assert_int_equal(leaf.fd, -1);
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);

        assert_int_equal(cgroup_leaf_take(&leaf, *state, "second", &no_limits, &err), 0);
        if (!cgroup_has_memory(*state))
                assert_string_equal(leaf.name, name);
        cgroup_leaf_usage(&leaf, &usage);
        assert_int_equal(usage.cpu_us, 0);

        /* Frozen, or with cgroups below: put right or not used again. */
        assert_int_equal(cgroup_file_write(leaf.fd, "cgroup.freeze", "1"), 0);
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);
        assert_int_equal(cgroup_leaf_take(&leaf, *state, "third", &no_limits, &err), 0);
        pid = start_sleep(&leaf); /* would hang */
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(end_of(pid), SIGKILL);
        assert_int_equal(mkdirat(leaf.fd, "below", 0755), 0);
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);
        assert_int_equal(cgroup_leaf_take(&leaf, *state, "fourth", &no_limits, &err), 0);
        assert_string_equal(leaf.name, "fourth");

        /* A killed leaf would kill whoever is born in it. */
        assert_int_equal(cgroup_leaf_kill(&leaf), 0);
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);
        assert_int_equal(cgroup_leaf_take(&leaf, *state, "fifth", &no_limits, &err), 0);
        assert_string_equal(leaf.name, "fifth");

        /* Neither with limits nor for limits. */
        assert_int_equal(cgroup_leaf_give_back(&leaf), 0);
        assert_int_equal(cgroup_leaf_take(&other, *state, "sixth", &limits, &err), 0);
        assert_string_equal(other.name, "sixth");
        assert_int_equal(cgroup_leaf_give_back(&other), 0);
        assert_int_equal(cgroup_leaf_take(&other, *state, "seventh", &no_limits, &err), 0);
        assert_string_not_equal(other.name, "sixth");
        assert_int_equal(cgroup_leaf_remove(&other), 0);
}

/* A pid that is surely dead: of a child that was just reaped. */
static pid_t dead_pid(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        return pid;
}

static void test_stale_trees_are_removed(void **state)
{
        CLEANUP(mem_free) char *mount = NULL, *own = NULL, *dir = NULL;
        CLEANUP(mem_free) char *dead = NULL, *alive = NULL, *inner = NULL, *undead = NULL;
        struct error err = ERROR_INIT;
        struct cgroup_leaf leaf = { .fd = -1 };
        struct cgroup *c = NULL;
        pid_t pid, zombie;

        if (!*state)
                SKIP_TEST("no cgroup v2 here");
        /* A place of our own: other agents clean up where they live. */
        mount = xstrdup(cgroup_path(*state));
        *strrchr(mount, '/') = '\0';
        own = xasprintf("/test-cgroup-%d", (int)getpid());
        dir = xasprintf("%s%s", mount, own);
        dead = xasprintf("%s/vm-agent-%d", dir, (int)dead_pid());
        inner = xasprintf("%s/exec_1", dead);
        alive = xasprintf("%s/vm-agent-%d", dir, (int)getppid());
        assert_int_equal(mkdir(dir, 0755), 0);
        assert_int_equal(mkdir(dead, 0755), 0);
        assert_int_equal(mkdir(inner, 0755), 0);
        assert_int_equal(mkdir(alive, 0755), 0);
        zombie = fork();
        if (zombie == 0)
                _exit(0);
        assert_int_equal(waitid(P_PID, (id_t)zombie, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
        undead = xasprintf("%s/vm-agent-%d", dir, (int)zombie);
        assert_int_equal(mkdir(undead, 0755), 0);
        leaf.fd = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        pid = start_sleep(&leaf);

        assert_int_equal(cgroup_new_at(mount, own, &c, &err), 0);
        assert_int_equal(access(dead, F_OK), -1);
        assert_int_equal(access(alive, F_OK), 0);
        assert_int_equal(access(undead, F_OK), -1); /* nobody may ever wait for it */
        assert_int_equal(waitpid(zombie, NULL, 0), zombie);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(leaf.fd);
        cgroup_free(c);
        assert_int_equal(rmdir(alive), 0);
        assert_int_equal(rmdir(dir), 0);
}

static void test_no_cgroup(void **state)
{
        struct cgroup *c = NULL;
        struct error err = ERROR_INIT;
        char dir[] = "/tmp/test-cgroup-XXXXXX";

        (void)state;
        assert_int_equal(cgroup_new_at("/no/such/mount", "/", &c, &err), -ENOENT);
        assert_int_equal(cgroup_new_at("/sys/fs/cgroup", "/../..", &c, &err), -EOPNOTSUPP);
        /* A plain directory is not taken for one, and nothing stays in it. */
        assert_non_null(mkdtemp(dir));
        assert_true(cgroup_new_at(dir, "/", &c, &err) < 0);
        assert_null(c);
        assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_leaf, setup, teardown),
                cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
                cmocka_unit_test_setup_teardown(test_events, setup, teardown),
                cmocka_unit_test_setup_teardown(test_nested, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deep_cgroups, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pool, setup, teardown),
                cmocka_unit_test_setup_teardown(test_stale_trees_are_removed, setup, teardown),
                cmocka_unit_test(test_no_cgroup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
