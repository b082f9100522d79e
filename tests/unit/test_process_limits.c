/* SPDX-License-Identifier: Apache-2.0 */

/* Who sees to the limits of an execution, what is told when they are reached, and what is told of its usage. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/base/macros.h"
#include "proc/process_limits.h"
#include "proc/process_private.h"
#include "tests/lib/fake_leaf.h"
#include "tests/lib/skip.h"
#include "tests/lib/supervisor_fixture.h"

/* --- who sees to it --- */

static void test_plan(void **state)
{
        enum { ALL = CGROUP_MEMORY | CGROUP_TASKS };
        static const struct credentials nobody = { .uid = 65534 }, root = { .uid = 0 };
        static const struct {
                struct process_limits asked, allowed;
                unsigned controllers;
                const struct credentials *user;
                struct process_limits_plan plan;
        } rows[] = {
                { .user = &nobody },
                /* the cgroup */
                { { 100, 2, 30 }, { 0 }, ALL, NULL, { .leaf = { 100, 30 }, .own = { 0, 2, 0 } } },
                { { 100, 2, 30 }, { 200, 0, 20 }, ALL, NULL, { { 100, 20 }, { 0, 2, 0 }, false } },
                { { 0 }, { 200, 0, 20 }, ALL, NULL, { .leaf = { 200, 20 } } },
                /* one by one */
                { { 9, 2, 3 }, { 0 }, CGROUP_TASKS, NULL, { { 0, 3 }, { 9, 2, 0 }, false } },
                { { 9, 2, 3 }, { 0 }, CGROUP_MEMORY, NULL, { { 9, 0 }, { 0, 2, 0 }, true } },
                /* resource limits: tasks are counted for a user */
                { { 9, 2, 3 }, { 5, 0, 0 }, 0, &nobody, { .own = { 5, 2, 3 } } },
                { { 9, 2, 3 }, { 0, 0, 1 }, CGROUP_IO, &nobody, { .own = { 9, 2, 1 } } },
                { { 9, 2, 3 }, { 0 }, 0, &root, { { 0 }, { 9, 2, 0 }, true } },
                { { 9, 2, 3 }, { 0 }, 0, NULL, { { 0 }, { 9, 2, 0 }, true } },
                /* what the operator alone wants is nobody's request */
                { { 0 }, { 7, 0, 8 }, 0, &nobody, { .own = { 7, 0, 0 } } },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const struct process_limits_plan *want = &rows[i].plan;
                struct process_limits_plan got;

                process_limits_plan(&rows[i].asked, &rows[i].allowed, rows[i].controllers,
                                    rows[i].user, &got);
                assert_int_equal(got.leaf.max_memory, want->leaf.max_memory);
                assert_int_equal(got.leaf.max_tasks, want->leaf.max_tasks);
                assert_int_equal(got.own.max_memory, want->own.max_memory);
                assert_int_equal(got.own.cpu_seconds, want->own.cpu_seconds);
                assert_int_equal(got.own.max_tasks, want->own.max_tasks);
                assert_int_equal(got.ignores_tasks, want->ignores_tasks);
        }
}

static void test_what_ended_it(void **state)
{
        static const struct {
                uint64_t cpu_seconds;
                int status;
                uint64_t cpu_us;
                bool is_limit;
        } rows[] = {
                { 2, SIGXCPU, 0, true },
                { 0, SIGXCPU, 9000000, false },
                { 2, SIGKILL, 3000000, true },
                { 2, SIGKILL, 900000, false },
                { 2, SIGTERM, 3000000, false },
                { 2, W_EXITCODE(152, 0), 2000000, true },
                { 2, W_EXITCODE(152, 0), 900000, false },
                { 0, W_EXITCODE(152, 0), 2000000, false },
                { 2, W_EXITCODE(137, 0), 9000000, false },
                { 2, 0, 9000000, false },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                assert_int_equal(
                        process_limits_ended(rows[i].cpu_seconds, rows[i].status, rows[i].cpu_us),
                        rows[i].is_limit);
}

static struct rlimit limit_of(pid_t pid, int resource)
{
        struct rlimit limit;

        assert_int_equal(prlimit(pid, (__rlimit_resource_t)resource, NULL, &limit), 0);
        return limit;
}

static void test_apply(void **state)
{
        const struct process_limits some = { .max_memory = 64 * MIB, .cpu_seconds = 5 };
        const struct process_limits all = { 128 * MIB, 3, 17 };
        pid_t pid = fork();

        (void)state;
        if (pid == 0)
                for (;;)
                        pause();
        assert_int_equal(process_limits_apply(pid, &some), 0);
        assert_int_equal(limit_of(pid, RLIMIT_DATA).rlim_max, 64 * MIB);
        assert_int_equal(limit_of(pid, RLIMIT_CPU).rlim_cur, 5);
        assert_int_equal(limit_of(pid, RLIMIT_CPU).rlim_max, 6);
        assert_int_equal(limit_of(pid, RLIMIT_NPROC).rlim_cur, limit_of(0, RLIMIT_NPROC).rlim_cur);

        assert_int_equal(process_limits_apply(pid, &all), 0); /* what is lower stays */
        assert_int_equal(limit_of(pid, RLIMIT_DATA).rlim_cur, 64 * MIB);
        assert_int_equal(limit_of(pid, RLIMIT_CPU).rlim_cur, 3);
        assert_int_equal(limit_of(pid, RLIMIT_CPU).rlim_max, 4);
        assert_int_equal(limit_of(pid, RLIMIT_NPROC).rlim_cur, 17);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_true(process_limits_apply(pid, &all) < 0);
        assert_int_equal(process_limits_apply(pid, &(struct process_limits){ 0 }), 0);
}

/* --- executions --- */

static void run_limited(struct fixture *f, struct run *r, const char *script,
                        struct process_limits limits)
{
        (void)run_start(f, r,
                        (struct process_options){
                                .argv = SCRIPT(script), .input_fd = -1, .limits = limits });
        run_wait(f, r);
}

/* Processor time is limited in any case; the rest as this machine can. */
static void test_program_has_them(void **state)
{
        struct fixture *f = *state;
        struct process_limits_plan plan;
        const struct process_limits limits = { 256 * MIB, 7, 99 };
        struct run r;

        supervisor_plan_limits(f->supervisor, &limits, &plan);
        run_limited(f, &r, "ulimit -St; ulimit -Ht; ulimit -d", limits);
        assert_string_equal(r.output, plan.own.max_memory ? "7\n8\n262144\n" : "7\n8\nunlimited\n");
        assert_int_equal(r.result.ignores_tasks, plan.ignores_tasks);
        run_done(&r);
}

static void test_cpu_limit(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_limited(f, &r, "while :; do :; done", (struct process_limits){ .cpu_seconds = 1 });
        assert_int_equal(r.result.reason, END_CPU_LIMIT);
        assert_int_equal(r.result.exit_code, 152);
        assert_int_equal(r.result.signal, SIGXCPU);
        assert_int_equal(r.result.cpu_seconds, 1);
        run_done(&r);

        /* Without that limit it is a signal as any other. */
        run_script(f, &r, "kill -XCPU $$");
        assert_int_equal(r.result.reason, END_SIGNAL);
        assert_int_equal(r.result.exit_code, 152);
        run_done(&r);
}

/* Who does not want to hear of it. */
static void test_cpu_limit_of_the_stubborn(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_limited(f, &r, "trap '' XCPU; while :; do :; done",
                    (struct process_limits){ .cpu_seconds = 1 });
        assert_int_equal(r.result.reason, END_CPU_LIMIT);
        assert_int_equal(r.result.exit_code, 152);
        assert_int_equal(r.result.signal, SIGKILL);
        run_done(&r);
}

/* A number for a user: those of his that run already count. */
static void test_tasks_of_another_user(void **state)
{
        struct fixture *f = *state;
        struct process_limits_plan plan;
        struct run r;

        if (geteuid() != 0)
                SKIP_TEST("needs root");
        fixture_close_supervisor(f);
        f->options.run_as = "nobody";
        fixture_new_supervisor(f);
        supervisor_plan_limits(f->supervisor, &(struct process_limits){ .max_tasks = 1 }, &plan);
        assert_false(plan.ignores_tasks);
        /* Not bash, which tries to fork for 15 s. */
        (void)run_start(f, &r,
                        (struct process_options){
                                .argv = (char *[]){ (char *)"/bin/sh", (char *)"-c",
                                                    (char *)"ulimit -p; (:); echo forked", NULL },
                                .input_fd = -1,
                                .limits = { .max_tasks = 1 } });
        run_wait(f, &r);
        if (plan.own.max_tasks)
                assert_string_equal(r.output, "1\n");
        else
                assert_true(r.result.usage.refused_tasks > 0);
        assert_int_equal(r.result.exit_code, 2);
        assert_int_equal(r.result.reason, END_EXIT);
        run_done(&r);
}

/* Something is done by each, and most of it by the one that is meant: enough of it that the ticks of the clock tell. */
static void test_user_and_system_time(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "for ((i = 0; i < 100000; i++)); do :; done");
        assert_true(r.result.usage.user_us > 2 * r.result.usage.system_us);
        assert_int_equal(r.result.usage.cpu_us, r.result.usage.user_us + r.result.usage.system_us);
        assert_true(r.result.usage.has_io);
        run_done(&r);
        run_script(f, &r, "dd if=/dev/zero of=/dev/null bs=512k count=16000 2>/dev/null");
        assert_true(r.result.usage.system_us > 2 * r.result.usage.user_us);
        run_done(&r);
}

/* --- a cgroup with all controllers --- */

static void test_usage_of_a_leaf(void **state)
{
        struct cgroup_leaf leaf = { .controllers = FAKE_CONTROLLERS };
        struct cgroup_usage u;
        struct fake_leaf fake;

        (void)state;
        fake_leaf_make(&fake);
        leaf.fd = fake.fd;
        cgroup_leaf_usage(&leaf, &u);
        assert_int_equal(u.user_us, 3000000);
        assert_int_equal(u.system_us, 2000000);
        assert_int_equal(u.cpu_us, 5000000);
        assert_int_equal(u.memory_peak, 123456789);
        assert_int_equal(u.oom_kills, 0);
        assert_true(u.has_io);
        assert_int_equal(u.read_bytes, 5096);
        assert_int_equal(u.written_bytes, 8193);
        assert_int_equal(u.peak_tasks, 12);
        assert_int_equal(u.refused_tasks, 3);

        /* What those before have used is not counted. */
        leaf.before = (struct cgroup_usage){
                .user_us = 2999999, .system_us = 2000001, .read_bytes = 96, .written_bytes = 8193
        };
        cgroup_leaf_usage(&leaf, &u);
        assert_int_equal(u.user_us, 1);
        assert_int_equal(u.system_us, 0);
        assert_int_equal(u.cpu_us, 1);
        assert_int_equal(u.read_bytes, 5000);
        assert_int_equal(u.written_bytes, 0);

        leaf.controllers = 0;
        cgroup_leaf_usage(&leaf, &u);
        assert_int_equal(u.user_us, 1);
        assert_int_equal(u.memory_peak + u.peak_tasks + u.refused_tasks, 0);
        assert_false(u.has_io);
        fake_leaf_done(&fake);
}

static void test_limits_of_a_leaf(void **state)
{
        struct cgroup_leaf leaf = { .controllers = FAKE_CONTROLLERS };
        struct fake_leaf fake;

        (void)state;
        fake_leaf_make(&fake);
        leaf.fd = fake.fd;
        cgroup_leaf_limit(&leaf, &(struct cgroup_limits){ 0 });
        assert_false(leaf.has_limits);
        fake_leaf_expect(&fake, "memory.max", "");
        fake_leaf_expect(&fake, "pids.max", "");
        cgroup_leaf_limit(&leaf, &(struct cgroup_limits){ .max_memory = 5 * MIB });
        assert_true(leaf.has_limits);
        fake_leaf_expect(&fake, "memory.max", "5242880");
        fake_leaf_expect(&fake, "memory.swap.max", "0");
        fake_leaf_expect(&fake, "memory.oom.group", "1");
        fake_leaf_expect(&fake, "pids.max", "");
        cgroup_leaf_limit(&leaf, &(struct cgroup_limits){ .max_tasks = 33 });
        fake_leaf_expect(&fake, "pids.max", "33");
        fake_leaf_done(&fake);
}

static void test_both_sources(void **state)
{
        const struct cgroup_usage none = { 0 };
        const struct cgroup_usage leaf = { .cpu_us = 7, .user_us = 3, .system_us = 4 };
        const struct rusage r = { .ru_utime = { 1, 2 },
                                  .ru_stime = { 3, 4 },
                                  .ru_maxrss = 5,
                                  .ru_inblock = 2,
                                  .ru_oublock = 3 };
        struct usage u;

        (void)state;
        usage_compute(&none, &r, &u);
        assert_int_equal(u.user_us, 1000002);
        assert_int_equal(u.system_us, 3000004);
        assert_int_equal(u.cpu_us, 4000006);
        assert_int_equal(u.max_rss, 5 * KIB);
        assert_true(u.has_io);
        assert_int_equal(u.read_bytes, 1024);
        assert_int_equal(u.written_bytes, 1536);
        usage_compute(&leaf, &r, &u);
        assert_int_equal(u.cpu_us, 7);
        assert_int_equal(u.max_rss, 5 * KIB);
        usage_compute(&leaf, NULL, &u); /* not reaped */
        assert_int_equal(u.cpu_us, 7);
        assert_int_equal(u.max_rss, 0);
        assert_false(u.has_io);
}

/* The end of an execution in a leaf that tells all this. */
static void run_in_fake_leaf(struct fixture *f, struct run *r, const char *script,
                             const char *events)
{
        struct fake_leaf fake;
        struct process *p;

        p = run_start(f, r,
                      (struct process_options){
                              .argv = SCRIPT(script), .input_fd = -1, .has_input = true });
        fake_leaf_make(&fake);
        fake_leaf_write(&fake, "memory.events", events);
        assert_true(dup3(fake.fd, p->leaf.fd, O_CLOEXEC) >= 0);
        p->leaf.controllers = FAKE_CONTROLLERS;
        assert_int_equal(process_write(p, "go\n", 3), 0);
        run_wait(f, r);
        assert_true(fixture_wait_idle(f));
        fake_leaf_done(&fake);
}

static void test_oom(void **state)
{
        struct fixture *f = *state;
        struct run r;

        if (strcmp(supervisor_tracking(f->supervisor), "cgroup") != 0)
                SKIP_TEST("no cgroup v2 here");
        run_in_fake_leaf(f, &r, "read x; kill -KILL $$", "oom 1\noom_kill 2\n");
        assert_int_equal(r.result.reason, END_OOM);
        assert_int_equal(r.result.exit_code, 137);
        assert_int_equal(r.result.usage.max_rss, 123456789);
        assert_int_equal(r.result.usage.peak_tasks, 12);
        assert_int_equal(r.result.usage.refused_tasks, 3);
        assert_int_equal(r.result.usage.written_bytes, 8193);
        run_done(&r);
        /* A shell tells that of its only child. */
        run_in_fake_leaf(f, &r, "read x; exit 137", "oom 1\noom_kill 1\n");
        assert_int_equal(r.result.reason, END_OOM);
        run_done(&r);
        /* Nothing was killed for that; or something else was, and the program went on. */
        run_in_fake_leaf(f, &r, "read x; kill -KILL $$", "oom 1\noom_kill 0\n");
        assert_int_equal(r.result.reason, END_SIGNAL);
        run_done(&r);
        run_in_fake_leaf(f, &r, "read x; exit 3", "oom 1\noom_kill 1\n");
        assert_int_equal(r.result.reason, END_EXIT);
        run_done(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plan),
                cmocka_unit_test(test_what_ended_it),
                cmocka_unit_test(test_apply),
                SUPERVISED(test_program_has_them),
                cmocka_unit_test_setup_teardown(test_cpu_limit, fixture_setup_cgroup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(test_cpu_limit_of_the_stubborn, fixture_setup_walk,
                                                fixture_teardown),
                SUPERVISED(test_tasks_of_another_user),
                SUPERVISED(test_user_and_system_time),
                cmocka_unit_test(test_usage_of_a_leaf),
                cmocka_unit_test(test_limits_of_a_leaf),
                cmocka_unit_test(test_both_sources),
                cmocka_unit_test_setup_teardown(test_oom, fixture_setup_cgroup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
