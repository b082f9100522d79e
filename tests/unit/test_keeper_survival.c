/* SPDX-License-Identifier: Apache-2.0 */

/* Agents come and go, the job stays. And keepers that die. */

#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/keeper_fixture.h"

/* The agent's link is freed, nothing else; another finds everything. */
static void test_reconnect(void **state)
{
        enum { N = 20 };
        struct keeper_fixture *f = *state;
        struct job first, j;
        struct buf b;
        size_t n = 0;

        job_start(
                f, &first,
                (struct job_options){
                        .argv = SCRIPT("for ((i = 1; i <= 100000; i++)); do echo $i; done; read x; "
                                       "exit 8"),
                        .has_input = true,
                        .log_capacity = 4 * MIB });
        job_wait_output(&first, 1);
        buf_init(&b, 0);
        job_read(&first, JOBLOG_STDOUT, 0, &b);
        job_done(&first);
        j = first;
        for (unsigned i = 0; i < N; i++) {
                job_find(&first, &j);
                job_wait_started(&j);
                job_wait_output(&j, b.size + 1 < 580000 ? b.size + 1 : b.size);
                job_read(&j, JOBLOG_STDOUT, b.size, &b);
                if (i < N - 1)
                        job_done(&j);
        }
        assert_true(job_link_write(j.link, "go\n", 3) >= 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 8);
        job_read(&j, JOBLOG_STDOUT, b.size, &b);
        assert_int_equal(b.size, j.status.totals[0]);
        for (const char *s = b.data; *s; s = strchr(s, '\n') + 1)
                assert_int_equal(strtol(s, NULL, 10), ++n);
        assert_int_equal(n, 100000);
        buf_done(&b);
        job_done(&j);
}

static void expect_same(const struct job_status *a, const struct job_status *b)
{
        assert_int_equal(a->reason, b->reason);
        assert_int_equal(a->exit_code, b->exit_code);
        assert_int_equal(a->signal, b->signal);
        assert_int_equal(a->started_ms, b->started_ms);
        assert_int_equal(a->ended_ms, b->ended_ms);
        assert_int_equal(a->duration_us, b->duration_us);
        assert_memory_equal(&a->usage, &b->usage, sizeof(a->usage));
        assert_memory_equal(a->totals, b->totals, sizeof(a->totals));
        assert_memory_equal(a->dropped, b->dropped, sizeof(a->dropped));
}

/* The end is found by whoever comes after it, however often, and everything of it is there. */
static void test_after_the_end(void **state)
{
        struct job first, j;

        job_start(*state, &first,
                  (struct job_options){ .argv = SCRIPT("echo x; echo yy >&2; exit 4") });
        job_wait_gone(&first);
        job_done(&first);
        for (unsigned i = 0; i < 3; i++) {
                job_find(&first, &j);
                job_wait_gone(&j);
                assert_int_equal(job_link_state(j.link), JOB_ENDED);
                assert_int_equal(j.n_started, 0);
                expect_same(&j.status, &first.status);
                assert_int_equal(j.status.totals[1], 3);
                assert_int_equal(job_link_signal(j.link, SIGTERM), -ESRCH);
                job_link_kill(j.link, KEEPER_KILLED, 0);
                job_done(&j);
        }
}

/* Freed in every state, and nobody is called any more. */
static void test_freed_in_any_state(void **state)
{
        struct keeper_fixture *f = *state;
        struct job first, j;

        job_start(f, &first, (struct job_options){ .argv = SCRIPT("sleep 0.1; exit 1") });
        job_done(&first);
        for (unsigned i = 0; i < 5; i++) {
                job_find(&first, &j);
                for (unsigned n = 0; n < i; n++)
                        (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
                job_done(&j);
        }
        job_find(&first, &j);
        job_wait_gone(&j);
        assert_int_equal(first.n_ends, 0);
        assert_int_equal(j.status.exit_code, 1);
        job_done(&j);
}

static void free_on_end(struct job_link *l, const struct job_status *status, void *arg)
{
        struct job *j = arg;

        j->status = *status;
        j->n_ends++;
        j->link = job_link_free(l);
}

static void free_on_start(struct job_link *l, pid_t pid, void *arg)
{
        struct job *j = arg;

        (void)pid;
        j->n_started++;
        j->link = job_link_free(l);
}

static void test_free_in_callbacks(void **state)
{
        const struct job_callbacks on_end = { .on_end = free_on_end };
        const struct job_callbacks on_start = { .on_started = free_on_start };
        struct job_options o = { .argv = SCRIPT("exit 1"),
                                 .envp = job_environment,
                                 .cwd = "/",
                                 .input_fd = -1,
                                 .log_capacity = 1000 };
        struct keeper_fixture *f = *state;
        struct error err = ERROR_INIT;
        struct job j;

        job_name(f, &j);
        o.dir = j.dir;
        o.id = j.id;
        assert_int_equal(job_link_start(&f->host, &o, &on_end, &j, &j.link, &err), 0);
        assert_true(keeper_run_until(f, job_has_ended_, &j, HANG_MS));
        assert_int_equal(j.status.exit_code, 1);
        job_done(&j);

        job_name(f, &j);
        o.dir = j.dir;
        o.id = j.id;
        assert_int_equal(job_link_start(&f->host, &o, &on_start, &j, &j.link, &err), 0);
        assert_true(keeper_run_until(f, job_has_started_, &j, HANG_MS));
        job_done(&j);
}

/* Plays an agent that starts @n jobs, says so, and waits for its death. In a child. */
static void play_agent(struct keeper_fixture *f, struct job *jobs, unsigned n, char *script,
                       int ready_fd)
{
        for (unsigned i = 0; i < n; i++) {
                struct error err = ERROR_INIT;
                struct job_options o = { .dir = jobs[i].dir,
                                         .id = jobs[i].id,
                                         .argv = SCRIPT(script),
                                         .envp = job_environment,
                                         .cwd = "/",
                                         .input_fd = -1,
                                         .has_input = true,
                                         .log_capacity = MIB };

                if (job_link_start(&f->host, &o, &job_callbacks_, &jobs[i], &jobs[i].link, &err) <
                    0)
                        _exit(3);
        }
        if (write(ready_fd, "x", 1) != 1)
                _exit(4);
        for (;;)
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
}

/* An agent is killed the moment it has started @n jobs, and another one comes. */
static void start_and_kill_agent(struct keeper_fixture *f, struct job *jobs, unsigned n,
                                 char *script)
{
        int ready[2];
        char c;
        pid_t pid;

        for (unsigned i = 0; i < n; i++)
                job_name(f, &jobs[i]);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct keeper_fixture *own;
                void *own_state;

                /* A loop does not survive a fork. */
                (void)keeper_setup(&own_state, f->host.cgroup != NULL);
                own = own_state;
                (void)rmdir(own->base);
                (void)setsid();
                play_agent(own, jobs, n, script, ready[1]);
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        close(ready[0]);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        if (f->host.cgroup) { /* the next one clears up after it */
                struct error err = ERROR_INIT;

                f->host.cgroup = cgroup_free(f->host.cgroup);
                assert_int_equal(cgroup_new(&f->host.cgroup, &err), 0);
        }
}

static void test_agent_is_killed(void **state)
{
        enum { N = 20 };
        struct keeper_fixture *f = *state;
        struct job started[N], jobs[N];
        struct buf b;

        start_and_kill_agent(f, started, N,
                             (char *)"echo begin; read x; echo $x; sleep 1000 & wait");
        for (unsigned i = 0; i < N; i++)
                job_find(&started[i], &jobs[i]);
        for (unsigned i = 0; i < N; i++) {
                job_wait_started(&jobs[i]);
                assert_int_equal(job_link_state(jobs[i].link), JOB_RUNNING);
                assert_true(job_is_alive(jobs[i].pid));
                assert_true(job_link_write(jobs[i].link, "new agent\n", 10) >= 0);
        }
        for (unsigned i = 0; i < N; i++) {
                job_wait_output(&jobs[i], 16);
                job_link_kill(jobs[i].link, KEEPER_KILLED, 0);
                job_wait_gone(&jobs[i]);
                assert_int_equal(jobs[i].status.reason, KEEPER_KILLED);
                buf_init(&b, 0);
                job_read(&jobs[i], JOBLOG_STDOUT, 0, &b);
                assert_string_equal(b.data, "begin\nnew agent\n");
                buf_done(&b);
                job_done(&jobs[i]);
        }
}

/* Nobody is there when it ends. */
static void test_end_without_agent(void **state)
{
        struct keeper_fixture *f = *state;
        struct job started, j;

        start_and_kill_agent(f, &started, 1, (char *)"echo out; sleep 0.1; exit 42");
        assert_true(keeper_reap_all()); /* all of it has become ours */
        job_find(&started, &j);
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 42);
        job_expect_output(&j, JOBLOG_STDOUT, "out\n");
        job_done(&j);
}

/* The keeper has not even begun when its agent dies, or is in the middle of it. */
static void test_agent_is_killed_at_once(void **state)
{
        enum { ROUNDS = 20 };
        struct keeper_fixture *f = *state;

        for (unsigned i = 0; i < ROUNDS; i++) {
                struct job started, j;

                start_and_kill_agent(f, &started, 1, (char *)"echo out; exit 42");
                job_find(&started, &j);
                job_wait_gone(&j);
                assert_int_equal(j.status.reason, KEEPER_EXIT);
                assert_int_equal(j.status.exit_code, 42);
                job_expect_output(&j, JOBLOG_STDOUT, "out\n");
                job_done(&j);
        }
}

/* An agent dies after it has made the directory: there is no job, and that is said. */
static void test_never_started(void **state)
{
        struct keeper_fixture *f = *state;
        struct job first, j;

        job_name(f, &first);
        assert_int_equal(mkdir(first.dir, 0700), 0);
        job_find(&first, &j);
        job_wait_gone(&j);
        assert_int_equal(job_link_state(j.link), JOB_LOST);
        assert_int_equal(j.status.reason, KEEPER_LOST);
        job_done(&j);
        job_name(f, &first);
        job_find(&first, &j);
        job_wait_gone(&j);
        assert_int_equal(j.status.reason, KEEPER_LOST);
        job_done(&j);
}

/* What it kept is killed, the result says so, and says it again to the next agent. */
static void test_keeper_is_killed(void **state)
{
        struct job j, again;
        pid_t keeper, child;

        job_start(*state, &j,
                  (struct job_options){ .argv = SCRIPT("setsid sleep 1000 & echo $!; wait") });
        job_wait_output(&j, 2);
        keeper = job_link_keeper_pid(j.link);
        child = job_printed_pid(&j, 0);
        assert_true(keeper > 1);
        assert_int_equal(kill(keeper, SIGKILL), 0);
        job_wait_gone(&j);
        assert_int_equal(job_link_state(j.link), JOB_LOST);
        assert_int_equal(j.status.reason, KEEPER_LOST);
        assert_int_equal(j.status.totals[0], j.totals[0]);
        assert_true(j.status.started_ms > 1600000000000);
        assert_true(j.status.ended_ms >= j.status.started_ms);
        assert_true(job_poll_until(j.f, job_is_dead_, &j.pid));
        assert_true(job_poll_until(j.f, job_is_dead_, &child));
        job_find(&j, &again);
        job_wait_gone(&again);
        assert_int_equal(again.n_ends, 1);
        expect_same(&again.status, &j.status);
        job_done(&j);
        job_done(&again);
}

/* As after a crash of both. */
static void test_keeper_and_agent_are_killed(void **state)
{
        struct keeper_fixture *f = *state;
        struct job started, j;
        pid_t pid, keeper;

        start_and_kill_agent(f, &started, 1, (char *)"echo x; sleep 1000");
        job_find(&started, &j);
        job_wait_started(&j);
        pid = j.pid;
        keeper = job_link_keeper_pid(j.link);
        job_done(&j);
        assert_true(keeper > 1);
        assert_int_equal(kill(keeper, SIGKILL), 0);
        assert_true(job_poll_until(f, job_is_dead_, &keeper));
        job_find(&started, &j);
        job_wait_gone(&j);
        assert_int_equal(job_link_state(j.link), JOB_LOST);
        assert_true(job_poll_until(f, job_is_dead_, &pid));
        job_done(&j);
}

/* --- out of descriptors, and keepers that do not talk --- */

/* Only @n more can be opened. Returns the limit before. */
static struct rlimit leave_descriptors(unsigned n)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct rlimit before, now;

        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = (rlim_t)fd +
                       n; /* the lowest free one; those behind it are free, or it is tighter */
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        return before;
}

/* It is tried again, and the job neither ends nor loses anything. */
static void test_no_descriptors(void **state)
{
        struct keeper_fixture *f = *state;
        struct job first, j;

        job_start(f, &first,
                  (struct job_options){ .argv = SCRIPT("echo x; read x; exit 8"),
                                        .has_input = true });
        job_wait_output(&first, 2);
        job_done(&first);
        for (unsigned i = 0; i < 6; i++) {
                struct rlimit before;

                job_find(&first, &j);
                before = leave_descriptors(i);
                (void)keeper_run_until(f, job_is_never_, NULL, 30);
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
                assert_int_equal(j.n_ends, 0);
                job_wait_started(&j);
                assert_true(job_is_alive(j.pid));
                if (i < 5)
                        job_done(&j);
        }
        assert_true(job_link_write(j.link, "x\n", 2) >= 0);
        job_wait_gone(&j);
        assert_int_equal(j.status.exit_code, 8);
        job_done(&j);
}

/* Nor is an end forgotten that cannot be read at the moment. */
static void test_no_descriptors_after_the_end(void **state)
{
        struct keeper_fixture *f = *state;
        struct job first, j;

        job_start(f, &first, (struct job_options){ .argv = SCRIPT("exit 9") });
        job_wait_gone(&first);
        job_done(&first);
        for (unsigned i = 0; i < 3; i++) {
                struct rlimit before;

                job_find(&first, &j);
                before = leave_descriptors(i);
                (void)keeper_run_until(f, job_is_never_, NULL, 30);
                assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
                job_wait_gone(&j);
                assert_int_equal(j.status.reason, KEEPER_EXIT);
                assert_int_equal(j.status.exit_code, 9);
                job_done(&j);
        }
}

struct rude {
        int fd;
        unsigned n;
};

static int hang_up_on_all(void *arg)
{
        struct rude *r = arg;
        int fd;

        while ((fd = accept4(r->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                close(fd);
                r->n++;
        }
        return 0;
}

/* One that takes connections and says nothing is asked ever more rarely. */
static void test_rude_keeper(void **state)
{
        struct keeper_fixture *f = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct rude r = { .fd = -1 };
        struct job named, j;
        int dir_fd;

        job_name(f, &named);
        assert_int_equal(mkdir(named.dir, 0700), 0);
        dir_fd = open(named.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(flock(dir_fd, LOCK_EX | LOCK_NB), 0);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/" KEEPER_CONTROL,
                       named.dir);
        r.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(r.fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(r.fd, 8), 0);
        job_find(&named, &j);
        (void)keeper_run_until(f, hang_up_on_all, &r, 500);
        assert_in_range(r.n, 2, 20);
        assert_int_equal(j.n_ends, 0);
        job_done(&j);
        close(r.fd);
        close(dir_fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                KEPT(test_reconnect),
                KEPT(test_after_the_end),
                KEPT(test_freed_in_any_state),
                KEPT(test_free_in_callbacks),
                KEPT(test_agent_is_killed),
                KEPT(test_end_without_agent),
                KEPT(test_agent_is_killed_at_once),
                KEPT(test_never_started),
                KEPT(test_keeper_is_killed),
                KEPT(test_keeper_and_agent_are_killed),
                KEPT(test_no_descriptors),
                KEPT(test_no_descriptors_after_the_end),
                KEPT(test_rude_keeper),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
