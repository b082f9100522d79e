/* SPDX-License-Identifier: Apache-2.0 */

/* Finding a tree in /proc. This test is the subreaper here. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc/tree.h"

/* Markers of this run alone: what an earlier one has left behind, if it was killed, is none of ours. */
static char mine[ID_SIZE];
static char longer[ID_SIZE]; /* and begins with the former */
static char others[ID_SIZE];

static int setup(void **state)
{
        (void)state;
        (void)snprintf(mine, sizeof(mine), "mine%d", (int)getpid());
        (void)snprintf(longer, sizeof(longer), "mine%d_2", (int)getpid());
        (void)snprintf(others, sizeof(others), "other%d", (int)getpid());
        return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* A leader in its own session, whose environment carries @marker. */
static pid_t start(const char *script, const char *marker)
{
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)setsid();
                (void)setenv(TREE_MARKER, marker, 1);
                (void)execl("/bin/bash", "bash", "-c", script, (char *)NULL);
                _exit(127);
        }
        return pid;
}

static void wait_for_members(const struct tree_target *t, unsigned n)
{
        const struct timespec pause = { .tv_nsec = 1000000 };
        unsigned found = 0;

        for (int i = 0; i < 10000 && found != n; i++) {
                found = tree_count(t);
                (void)nanosleep(&pause, NULL);
        }
        assert_int_equal(found, n);
}

static void reap_all(void)
{
        while (waitpid(-1, NULL, 0) > 0)
                ;
        assert_int_equal(errno, ECHILD);
}

static struct tree_target target(pid_t leader, const char *marker)
{
        struct tree_target t = { .leader = leader };

        memcpy(t.marker, marker, strlen(marker) + 1);
        return t;
}

static void test_members(void **state)
{
        static const struct {
                const char *script;
                unsigned n;
        } rows[] = {
                { "exec sleep 1000", 1 },
                { "sleep 1000 & sleep 1000 & wait", 3 },
                /* by parent: neither session nor environment */
                { "env -i setsid sleep 1000 & wait", 2 },
                /* by environment: neither session nor parent */
                { "(setsid sleep 1000 &); exec sleep 1000", 2 },
                /* by session: neither parent nor environment */
                { "(env -i sleep 1000 &); exec sleep 1000", 2 },
                { "kill -STOP $$", 1 },
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                pid_t stranger = start("exec sleep 1000", others);
                struct tree_target t = target(start(rows[i].script, mine), mine);
                struct tree_target other = target(stranger, others);

                wait_for_members(&t, rows[i].n);
                assert_int_equal(tree_kill(&t), 0);
                assert_int_equal(tree_count(&t), 0);
                wait_for_members(&other, 1);
                assert_int_equal(tree_kill(&other), 0);
                reap_all();
        }
}

/* One marker is not a part of another. */
static void test_marker_is_compared_as_a_whole(void **state)
{
        struct tree_target t = target(start("exec sleep 1000", longer), longer);
        struct tree_target similar = target(0x3fffffff, mine);

        (void)state;
        wait_for_members(&t, 1);
        similar.leader_is_gone = true;
        assert_int_equal(tree_count(&similar), 0);
        assert_int_equal(tree_kill(&t), 0);
        reap_all();
}

static void test_signal(void **state)
{
        struct tree_target t = target(start("sleep 1000 & kill -STOP $$", mine), mine);
        int status;

        (void)state;
        wait_for_members(&t, 2);
        tree_signal(&t, SIGTERM);
        assert_int_equal(waitpid(t.leader, &status, 0), t.leader);
        assert_int_equal(WTERMSIG(status), SIGTERM);
        reap_all();
}

/* Without a leader: all our descendants, but not us. */
static void test_everybody(void **state)
{
        struct tree_target everybody = { .kind = TREE_OF_THIS_AGENT };

        (void)state;
        (void)start("(env -i setsid sleep 1000 &)", "a");
        (void)start("sleep 1000 & wait", "b");
        wait_for_members(&everybody, 3);
        assert_int_equal(tree_kill(&everybody), 0);
        reap_all();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_marker_is_compared_as_a_whole),
                cmocka_unit_test(test_signal),
                cmocka_unit_test(test_everybody),
        };

        return cmocka_run_group_tests(tests, setup, NULL);
}
