/* SPDX-License-Identifier: Apache-2.0 */

/* Background jobs from beginning to end: what the program gets, its output, ends of every kind. */

#include "tests/unit/keeper_fixture.h"

static void test_output_and_exit_code(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("echo out; echo err >&2; exit 3") });
        assert_int_equal(job_link_state(j.link), JOB_STARTING);
        job_wait_gone(&j);
        assert_int_equal(j.n_started, 1);
        assert_int_equal(job_link_state(j.link), JOB_ENDED);
        assert_int_equal(j.status.reason, KEEPER_EXIT);
        assert_int_equal(j.status.exit_code, 3);
        assert_int_equal(j.status.signal, 0);
        assert_int_equal(j.status.totals[0], 4);
        assert_int_equal(j.status.totals[1], 4);
        assert_int_equal(j.status.failure.stage, SPAWN_OK);
        assert_true(j.status.usage.cpu_us > 0);
        assert_true(j.status.usage.max_rss > 0);
        assert_true(j.status.duration_us > 0);
        assert_true(j.status.ended_ms >= j.status.started_ms);
        assert_true(j.status.started_ms > 1600000000000);
        job_expect_output(&j, JOBLOG_STDOUT, "out\n");
        job_expect_output(&j, JOBLOG_STDERR, "err\n");
        job_done(&j);
}

static void test_merged(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("echo 1; echo 2 >&2; echo 3"),
                                        .merge_stderr = true });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "1\n2\n3\n");
        job_expect_output(&j, JOBLOG_STDERR, "");
        job_done(&j);
}

/* Environment, directory, marker, descriptors and signals are what an execution gets; nothing of the keeper's. */
static void test_what_the_program_gets(void **state)
{
        struct job j;
        struct buf b;

        job_start(*state, &j,
                  (struct job_options){
                          .argv = SCRIPT("pwd; echo $X; echo $VM_AGENT_EXECUTION_ID; ls -1 "
                                         "/proc/self/fd | wc -l; grep -E 'Sig(Blk|Ign)' "
                                         "/proc/self/status; umask; cat; ulimit -c"),
                          .envp = (char *[]){ (char *)"PATH=/usr/bin:/bin", (char *)"X=a b", NULL },
                          .cwd = "/usr" });
        job_wait_gone(&j);
        buf_init(&b, 0);
        assert_int_equal(buf_appendf(&b,
                                     "/usr\na b\n%s\n4\nSigBlk:\t0000000000000000\n"
                                     "SigIgn:\t0000000000000000\n0022\n0\n",
                                     j.id),
                         0);
        job_expect_output(&j, JOBLOG_STDOUT, b.data);
        buf_done(&b);
        job_done(&j);
}

/* The job is somebody else; its keeper and its files are not. */
static void test_another_user(void **state)
{
        CLEANUP(credentials_free) struct credentials *user = NULL;
        struct keeper_fixture *f = *state;
        struct error err = ERROR_INIT;
        struct job j;
        char script[256];

        if (geteuid() != 0 || credentials_new("nobody", &user, &err) < 0)
                SKIP_TEST("only root can be somebody else");
        f->host.user = user;
        snprintf(script, sizeof(script),
                 "id -un; stat -Lc %%U /dev/stdin; ls %s >/dev/null 2>&1 || echo closed", f->base);
        job_start(f, &j,
                  (struct job_options){ .argv = SCRIPT(script),
                                        .has_terminal = true,
                                        .size = { .columns = 80, .rows = 24 } });
        job_wait_gone(&j);
        job_expect_output(&j, JOBLOG_STDOUT, "nobody\r\nnobody\r\nclosed\r\n");
        job_done(&j);
        f->host.user = NULL;
}

static void test_signal(void **state)
{
        struct job j;

        job_start(*state, &j, (struct job_options){ .argv = SCRIPT("kill -SEGV $$") });
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_SIGNAL);
        assert_int_equal(j.status.signal, SIGSEGV);
        assert_int_equal(j.status.exit_code, 128 + SIGSEGV);
        job_done(&j);
}

static void expect_spawn_failure(struct keeper_fixture *f, struct job_options o, int stage,
                                 int error, int exit_code)
{
        struct job j;

        job_start(f, &j, o);
        job_wait_gone(&j);
        assert_int_equal(j.n_started, 0);
        assert_int_equal(j.status.reason, KEEPER_SPAWN);
        assert_int_equal(j.status.failure.stage, stage);
        assert_int_equal(j.status.failure.error, error);
        assert_int_equal(j.status.exit_code, exit_code);
        job_done(&j);
}

static void test_spawn_failures(void **state)
{
        char *const nowhere[] = { (char *)"no-such-program-at-all", NULL };
        char *const directory[] = { (char *)"/tmp", NULL };
        struct keeper_fixture *f = *state;

        expect_spawn_failure(f, (struct job_options){ .argv = nowhere }, SPAWN_EXEC, ENOENT, 127);
        expect_spawn_failure(f, (struct job_options){ .argv = directory }, SPAWN_EXEC, EACCES, 126);
        expect_spawn_failure(f,
                             (struct job_options){ .argv = SCRIPT(":"), .cwd = "/no/such/place" },
                             SPAWN_CWD, ENOENT, 127);
        f->host.shim = "/no/such/shim";
        expect_spawn_failure(f, (struct job_options){ .argv = SCRIPT(":") }, KEEPER_STAGE, ENOENT,
                             127);
}

static void test_no_keeper(void **state)
{
        struct keeper_fixture *f = *state;
        struct error err = ERROR_INIT;
        struct job_options o = { .argv = SCRIPT(":"), .envp = job_environment, .input_fd = -1 };
        struct job j;

        f->host.keeper = "/no/such/keeper";
        job_name(f, &j);
        o.dir = j.dir;
        o.id = j.id;
        o.log_capacity = 1000;
        assert_int_equal(job_link_start(&f->host, &o, &job_callbacks_, &j, &j.link, &err), -ENOENT);
        assert_null(j.link);
        job_done(&j);
}

/* One job in a directory, even when the other is nobody's. */
static void test_busy_directory(void **state)
{
        struct keeper_fixture *f = *state;
        struct error err = ERROR_INIT;
        struct job_options o = { .argv = SCRIPT(":"), .envp = job_environment, .input_fd = -1 };
        struct job_link *other = NULL;
        struct job j;

        job_start(f, &j, (struct job_options){ .argv = SCRIPT("sleep 1000") });
        o.dir = j.dir;
        o.id = "other";
        o.log_capacity = 1000;
        assert_int_equal(job_link_start(&f->host, &o, &job_callbacks_, &j, &other, &err), -EBUSY);
        job_wait_started(&j);
        job_link_kill(j.link, KEEPER_KILLED, 0);
        job_wait_gone(&j);
        job_done(&j);
}

static void test_timeout(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("echo x; sleep 1000 & sleep 1000"),
                                        .timeout_ms = 200 });
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_TIMEOUT);
        assert_int_equal(j.status.exit_code, 124);
        assert_true(j.status.duration_us >= 200000);
        job_expect_output(&j, JOBLOG_STDOUT, "x\n");
        job_done(&j);
}

/* The leader's own end within the grace does not change why it had to end. */
static void test_timeout_with_grace(void **state)
{
        struct job j;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("trap 'echo bye; exit 7' USR1; echo x; "
                                                       "while :; do sleep 0.01; done"),
                                        .timeout_ms = 300,
                                        .grace_ms = HANG_MS,
                                        .term_signal = SIGUSR1 });
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_TIMEOUT);
        assert_int_equal(j.status.exit_code, 124);
        job_expect_output(&j, JOBLOG_STDOUT, "x\nbye\n");
        job_done(&j);
}

/* Read from offset to offset while it is written, in a ring that is large enough. */
static void test_output_while_it_runs(void **state)
{
        struct job j;
        struct buf b;
        size_t n = 0;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("seq 1 200000"), .log_capacity = 4 * MIB });
        buf_init(&b, 0);
        while (j.n_ends == 0) {
                (void)uv_run(&j.f->loop->uv, UV_RUN_ONCE);
                if (j.n_started)
                        job_read(&j, JOBLOG_STDOUT, b.size, &b);
        }
        job_read(&j, JOBLOG_STDOUT, b.size, &b);
        assert_int_equal(b.size, j.status.totals[0]);
        for (const char *s = b.data; *s; s = strchr(s, '\n') + 1)
                assert_int_equal(strtol(s, NULL, 10), ++n);
        assert_int_equal(n, 200000);
        buf_done(&b);
        job_wait_gone(&j);
        job_done(&j);
}

/* Files cannot be made: a clear end, which nobody can write down. */
static void test_no_place(void **state)
{
        struct keeper_fixture *f = *state;
        struct job j;

        job_start(f, &j,
                  (struct job_options){ .argv = SCRIPT("echo x"), .log_capacity = UINT64_MAX });
        job_wait_gone(&j);
        assert_int_equal(j.n_started, 0);
        assert_int_equal(j.status.reason, KEEPER_SPAWN);
        assert_int_equal(j.status.failure.stage, KEEPER_STAGE);
        assert_int_equal(j.status.failure.error, EINVAL);
        job_done(&j);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                KEPT(test_output_and_exit_code),
                KEPT(test_merged),
                KEPT(test_what_the_program_gets),
                KEPT(test_another_user),
                KEPT(test_signal),
                KEPT(test_spawn_failures),
                KEPT(test_no_keeper),
                KEPT(test_busy_directory),
                KEPT(test_timeout),
                KEPT(test_timeout_with_grace),
                KEPT(test_output_while_it_runs),
                KEPT(test_no_place),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
