/* SPDX-License-Identifier: Apache-2.0 */

/* Pools of waiting processes, with the real fork server. */

#include "tests/lib/warm_fixture.h"

static void run_one(struct pools *p, const char *code, const char *output, int exit_code)
{
        CLEANUP(mem_free) char *script = xasprintf("%s/main.py", p->dir);
        CLEANUP(fd_close) int fd = open(script, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        CLEANUP(strv_free) char **envp = NULL;
        struct wish w;
        struct run r;

        assert_int_equal(fd_write_all(fd, code, strlen(code)), 0);
        WAIT(p, is_ready, &p->warm->pools[POOL_PYTHON]);
        assert_int_equal(take_fitting(p, &w, &envp), 0);
        w.request.script = script;
        (void)run_start(p->f, &r,
                        (struct process_options){
                                .warm = w.child, .envp = envp, .cwd = "/tmp", .input_fd = -1 });
        assert_true(warm_child_done(w.child));
        run_wait(p->f, &r);
        assert_string_equal(r.errors, "");
        assert_string_equal(r.output, output);
        assert_int_equal(r.result.exit_code, exit_code);
        assert_int_equal(r.result.reason, END_EXIT);
        run_done(&r);
        assert_true(fixture_wait_idle(p->f));
}

static void test_executions(void **state)
{
        struct pools *p = *state;
        struct warm_pool *pool;
        CLEANUP(mem_free) char *expected = NULL;

        p->options.at_boot = true;
        pool = begin(p);
        run_one(p, "import os\nprint(os.getcwd())\n", "/tmp\n", 0);
        run_one(p, "import sys\nsys.exit(5)\n", "", 5);
        expected = xasprintf("%d True\n", (int)getpid()); /* our own child */
        run_one(p, "import os\nprint(os.getppid(), os.getsid(0) == os.getpid())\n", expected, 0);
        assert_int_equal(pool->hits, 3);
}

static void test_nobody_waits_unasked(void **state)
{
        struct pools *p = *state;
        struct warm_pool *pool = begin(p);
        CLEANUP(strv_free) char **envp = NULL;
        struct wish w;

        assert_null(pool->server);
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_COLD);
        assert_int_equal(pool->misses[WARM_MISS_EMPTY], 1);
        WAIT(p, is_ready, pool);
        assert_int_equal(pool->target, 1);
        assert_false(supervisor_has_orphans(p->f->supervisor));
}

static void test_a_child_that_is_not_used_waits_again(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        struct wish w;

        p->options.at_boot = true;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        assert_int_equal(take_fitting(p, &w, &envp), 0);
        assert_int_equal(pool->n_children[CHILD_TAKEN], 1);
        assert_false(warm_child_done(w.child));
        assert_int_equal(pool->n_children[CHILD_TAKEN], 0);
        assert_int_equal(pool->n_children[CHILD_READY], 1);
        assert_int_equal(pool->hits, 0);
}

/* Returns when it has stopped. */
static void stop(pid_t pid)
{
        siginfo_t info;

        assert_int_equal(kill(pid, SIGSTOP), 0);
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

static void test_dies_before_it_reads(void **state)
{
        struct pools *p = *state;
        struct process *process;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        struct wish w;
        struct run r;

        p->options.at_boot = true;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        assert_int_equal(take_fitting(p, &w, &envp), 0);
        stop(w.child->ward.pid); /* so that it does not */
        process = run_start(p->f, &r,
                            (struct process_options){
                                    .warm = w.child, .envp = envp, .cwd = "/tmp", .input_fd = -1 });
        assert_true(warm_child_done(w.child));
        assert_int_equal(kill(process_pid(process), SIGKILL), 0);
        run_wait(p->f, &r);
        assert_int_equal(r.result.reason, END_SPAWN);
        assert_int_equal(r.result.failure.stage, SPAWN_LOST);
        run_done(&r);
        assert_true(fixture_wait_idle(p->f));
}

static void test_is_killed_before_it_reads(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        struct wish w;
        struct run r;

        p->options.at_boot = true;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        assert_int_equal(take_fitting(p, &w, &envp), 0);
        stop(w.child->ward.pid);
        (void)run_start(p->f, &r,
                        (struct process_options){ .warm = w.child,
                                                  .envp = envp,
                                                  .cwd = "/tmp",
                                                  .input_fd = -1,
                                                  .timeout_ms = 50 });
        assert_true(warm_child_done(w.child));
        run_wait(p->f, &r);
        assert_int_equal(r.result.reason, END_TIMEOUT);
        run_done(&r);
        assert_true(fixture_wait_idle(p->f));
}

static void test_a_cloned_machine(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        pid_t before;
        struct wish w;

        p->options.at_boot = true;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        before = list_entry(pool->children[CHILD_READY].next, struct warm_child, link)->ward.pid;
        pool->asleep_us -= 5000000; /* as if it had slept since */
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_WAIT);
        WAIT(p, is_answered, &w);
        assert_non_null(w.child);
        assert_int_not_equal(w.child->ward.pid, before);
        assert_false(warm_child_done(w.child));
}

static void test_the_end_answers_who_waits(void **state)
{
        struct pools *p = *state;
        struct wish w[3];
        char **envp[3];
        struct warm_pool *pool = begin_with(p, "ready()\nforever()\n");

        WAIT(p, has_server, pool);
        for (size_t i = 0; i < ARRAY_LEN(w); i++)
                assert_int_equal(take_fitting(p, &w[i], &envp[i]), WARM_E_WAIT);
        assert_int_equal(pool->n_waiting, 3);
        supervisor_close(p->f->supervisor, fixture_on_closed_, p->f);
        warm_close(p->warm, on_closed, p);
        for (size_t i = 0; i < ARRAY_LEN(w); i++) {
                assert_int_equal(w[i].n_answers, 1);
                assert_null(w[i].child);
                strv_free(envp[i]);
        }
        p->warm = NULL;
        assert_true(loop_run_until(p->f->loop, is_closed, p, HANG_MS));
        assert_true(loop_run_until(p->f->loop, fixture_is_closed_, p->f, HANG_MS));
        p->f->supervisor = NULL;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                POOLED(test_executions),
                POOLED(test_nobody_waits_unasked),
                ONCE(test_a_child_that_is_not_used_waits_again),
                POOLED(test_dies_before_it_reads),
                POOLED(test_is_killed_before_it_reads),
                ONCE(test_a_cloned_machine),
                POOLED(test_the_end_answers_who_waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
