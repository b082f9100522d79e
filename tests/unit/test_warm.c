/* SPDX-License-Identifier: Apache-2.0 */

/* Pools of waiting processes, with the real fork server. */

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "tests/lib/warm_fixture.h"

/* What a server's children have until they know better. */
#define NO_ID_YET TREE_MARKER "=exec_0000000000"

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
        warm_request_lost(p->warm, &w.request);
        assert_int_equal(pool->hits, 1);
        assert_int_equal(pool->lost, 1); /* that hit, which is a miss, too */
        assert_int_equal(pool->misses[WARM_MISS_FAILED], 1);
        assert_int_equal(pool->n_failures, 1);
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

static int is_asking(void *arg)
{
        return ((struct warm_pool *)arg)->n_children[CHILD_ASKED] > 0;
}

static int has_had_a_turn(void *arg)
{
        return (*(int *)arg)++ > 1;
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

static void test_a_cloned_machine_while_one_is_asked_for(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **envp = NULL;
        struct warm_pool *pool;
        char path[64], expected[64], environ[4096] = "";
        struct wish w;
        ssize_t n;
        pid_t server;
        int fd;

        p->options.at_boot = true;
        p->options.wait_ms = HANG_MS;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        server = pool->server->ward.pid;
        stop(server);
        warm_child_end(list_entry(pool->children[CHILD_READY].next, struct warm_child, link));
        assert_int_equal(take_fitting(p, &w, &envp), WARM_E_WAIT);
        WAIT(p, is_asking, pool);
        pool->asleep_us -= 5000000;
        assert_true(warm_pool_is_fresh(pool));
        assert_int_equal(kill(server, SIGCONT), 0);
        WAIT(p, is_answered, &w);
        assert_non_null(w.child);
        assert_int_equal(pool->restarts, 0);

        /* It is who it is taken for. */
        (void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)w.child->ward.pid);
        (void)snprintf(expected, sizeof(expected), TREE_MARKER "=%s", w.child->id);
        do {
                fd = open(path, O_RDONLY | O_CLOEXEC);
                n = read(fd, environ, sizeof(environ));
                (void)fd_close(fd);
        } while (n > 0 && memmem(environ, (size_t)n, NO_ID_YET, strlen(NO_ID_YET)));
        assert_true(n > 0);
        assert_non_null(memmem(environ, (size_t)n, expected, strlen(expected)));
        assert_false(warm_child_done(w.child));
}

static void test_births_are_bounded(void **state)
{
        struct pools *p = *state;
        CLEANUP(strv_free) char **first = NULL, **second = NULL;
        struct warm_pool *pool;
        struct wish taken, late;

        p->options.at_boot = true;
        p->options.wait_ms = 100;
        pool = begin(p);
        WAIT(p, is_ready, pool);
        assert_in_range(pool->n_births, 1, 2);
        assert_int_equal(take_fitting(p, &taken, &first), 0);
        pool->births_since_ms = clock_now_ms();
        pool->n_births = LIMIT_WARM_BIRTHS;
        assert_int_equal(take_fitting(p, &late, &second), WARM_E_WAIT);
        WAIT(p, is_answered, &late);
        assert_null(late.child);
        assert_int_equal(pool->misses[WARM_MISS_EMPTY], 1);
        WAIT(p, is_ready, pool); /* it goes on a second later */
        assert_in_range(clock_now_ms(), pool->births_since_ms, UINT64_MAX);
        assert_in_range(pool->n_births, 1, 8);
        assert_false(warm_child_done(taken.child));
}

static void test_servers_are_not_born_without_pause(void **state)
{
        struct pools *p = *state;
        uint64_t until = clock_now_ms() + 1000, born_ms = 0;
        unsigned n_births = 0;
        struct warm_pool *pool;

        p->options.at_boot = true;
        pool = begin(p);
        while (clock_now_ms() < until) {
                warm_set_options(p->warm, &p->options);
                WAIT(p, has_had_a_turn, &(int){ 0 });
                n_births += pool->last_birth_ms != born_ms;
                born_ms = pool->last_birth_ms;
        }
        assert_in_range(n_births, 1, 11);
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
                POOLED(test_a_cloned_machine_while_one_is_asked_for),
                ONCE(test_births_are_bounded),
                ONCE(test_servers_are_not_born_without_pause),
                POOLED(test_the_end_answers_who_waits),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
