/* SPDX-License-Identifier: Apache-2.0 */

/* Killing a job takes all that it has started, and its end waits for no more than it has to. */

#include "tests/unit/keeper_fixture.h"

/* Two that leave: one in a session of its own, one that is nobody's child and wipes its environment. Prints pids. */
#define SCATTER                                                                       \
        "sleep 1000 & echo $!; "                                                      \
        "setsid -f bash -c 'echo $$; exec sleep 1000'; "                              \
        "(setsid -f env -i bash -c '(trap \"\" TERM HUP; echo $BASHPID; while :; do " \
        "/bin/sleep 1; done) &'); "

static int has_three_lines(void *arg)
{
        struct job *j = arg;
        unsigned n = 0;
        struct buf b;

        if (!j->n_started)
                return 0;
        buf_init(&b, 0);
        job_read(j, JOBLOG_STDOUT, 0, &b);
        for (size_t i = 0; i < b.size; i++)
                n += b.data[i] == '\n';
        buf_done(&b);
        return n >= 3;
}

static void start_scattered(struct keeper_fixture *f, struct job *j, const char *rest,
                            pid_t pids[3])
{
        char script[1024];

        snprintf(script, sizeof(script), SCATTER "%s", rest);
        job_start(f, j, (struct job_options){ .argv = SCRIPT(script) });
        assert_true(keeper_run_until(f, has_three_lines, j, HANG_MS));
        for (unsigned i = 0; i < 3; i++) {
                pids[i] = job_printed_pid(j, i);
                assert_true(job_is_alive(pids[i]));
        }
}

static void expect_dead(const pid_t pids[3])
{
        for (unsigned i = 0; i < 3; i++)
                assert_false(job_is_alive(pids[i]));
}

static void test_kill(void **state)
{
        pid_t pids[3];
        struct job j;

        start_scattered(*state, &j, "trap '' TERM; while :; do sleep 1; done", pids);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait(&j);
        expect_dead(pids);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        assert_int_equal(j.status.exit_code, 137);
        assert_int_equal(j.status.signal, SIGKILL);
        job_wait_gone(&j);
        job_done(&j);
}

/* SIGTERM for everybody; whoever does not want to hear of it gets SIGKILL. */
static void test_kill_with_grace(void **state)
{
        pid_t pids[3];
        struct job j;

        start_scattered(*state, &j, "trap 'exit 3' TERM; while :; do sleep 0.01; done", pids);
        job_link_kill(j.link, KEEPER_KILLED, 200);
        job_wait(&j);
        expect_dead(pids);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        assert_int_equal(j.status.exit_code, 3);
        job_wait_gone(&j);
        job_done(&j);
}

/* The second kill is in more of a hurry than the first. */
static void test_impatience(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("trap '' TERM; echo x; while :; do sleep 1; done") });
        job_wait_output(&j, 2);
        job_link_kill(j.link, KEEPER_KILLED, 3600 * 1000);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        job_done(&j);
}

/* Stopped programs die, too, also of SIGTERM. */
static void test_stopped(void **state)
{
        struct job j;

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("echo x; kill -STOP $$") });
        job_wait_output(&j, 2);
        job_link_kill(j.link, KEEPER_KILLED, HANG_MS);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        assert_true(j.status.duration_us < HANG_MS * 1000);
        job_done(&j);
}

/* It forks all the time, and so does what it forks. */
static void test_fork_bomb(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("f() { sleep 0.005; (f) & (f) & wait; }; "
                                                       "ulimit -u 20000; echo x; "
                                                       "for i in {1..20}; do (f) & done; wait") });
        job_wait_output(&j, 2);
        (void)keeper_run_until(j.f, job_is_never_, NULL, 30);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        job_done(&j);
}

/* What a normal exit leaves running lives on, and holds neither the end nor the output; its own is dropped. */
static void test_lingering(void **state)
{
        pid_t pids[3];
        struct job j;

        start_scattered(*state, &j, "exit 5", pids);
        job_wait(&j);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        assert_int_equal(j.status.exit_code, 5);
        assert_true(job_link_is_lingering(j.link));
        assert_int_equal(j.n_gone, 0);
        for (unsigned i = 0; i < 3; i++)
                assert_true(job_is_alive(pids[i]));
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        expect_dead(pids);
        assert_false(job_link_is_lingering(j.link));
        assert_int_equal(j.n_ends, 1);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        job_done(&j);
}

/* A writer that is left behind neither blocks nor dies, and does not get into the log. */
static void test_lingering_writer(void **state)
{
        struct job j;
        pid_t pid;

        job_start(
                *state, &j,
                (struct job_options){ .argv = SCRIPT("(sleep 0.05; exec yes) & echo $!; exit 0") });
        job_wait(&j);
        pid = job_printed_pid(&j, 0);
        (void)keeper_run_until(j.f, job_is_never_, NULL, 100);
        assert_true(job_is_alive(pid));
        assert_int_equal(j.n_gone, 0);
        assert_int_equal(j.totals[0], j.status.totals[0]);
        assert_int_equal(kill(pid, SIGTERM), 0);
        job_wait_gone(&j);
        job_done(&j);
}

/* Once the last of the tree is gone, so is the keeper. */
static void test_keeper_goes(void **state)
{
        struct job j;
        pid_t keeper;

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("sleep 0.2 & exit 0") });
        keeper = job_link_keeper_pid(j.link);
        job_wait(&j);
        assert_true(j.status.duration_us < 190000);
        assert_true(job_is_alive(keeper));
        job_wait_gone(&j);
        assert_true(job_poll_until(j.f, job_is_dead_, &keeper));
        job_done(&j);
}

/* From systemd, or whoever wants the keeper to leave: an orderly end. */
static void test_sigterm_for_the_keeper(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("trap 'echo bye; exit 2' TERM; echo x; while :; do sleep "
                                         "0.01; done") });
        job_wait_output(&j, 2);
        assert_true(job_link_keeper_pid(j.link) > 1);
        assert_int_equal(kill(job_link_keeper_pid(j.link), SIGHUP), 0);
        assert_int_equal(kill(job_link_keeper_pid(j.link), SIGTERM), 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_KILLED);
        assert_int_equal(j.status.exit_code, 2);
        job_expect_output(&j, JOBLOG_STDOUT, "x\nbye\n");
        job_done(&j);
}

/* Cgroups that programs have made below theirs are removed with it. */
static void test_cgroups_below(void **state)
{
        struct keeper_fixture *f = *state;
        struct job j;

        if (!f->host.cgroup)
                SKIP_TEST("no cgroup v2 here");
        job_start(
                f, &j,
                (struct job_options){ .argv = SCRIPT("d=$(find /sys/fs/cgroup -type d -name "
                                                     "$VM_AGENT_EXECUTION_ID | head -1); mkdir -p "
                                                     "$d/a/b $d/c && echo yes") });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "yes\n");
        job_done(&j); /* the teardown looks for what is left */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                KEPT(test_kill),
                KEPT(test_kill_with_grace),
                KEPT(test_impatience),
                KEPT(test_stopped),
                KEPT(test_fork_bomb),
                KEPT(test_lingering),
                KEPT(test_lingering_writer),
                KEPT(test_keeper_goes),
                KEPT(test_sigterm_for_the_keeper),
                KEPT(test_cgroups_below),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
