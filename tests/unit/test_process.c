/* SPDX-License-Identifier: Apache-2.0 */

/* How executions end, with real children. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fd.h"
#include "tests/lib/skip.h"
#include "tests/lib/supervisor_fixture.h"

static void test_exit_codes(void **state)
{
        static const struct {
                const char *script;
                enum end_reason reason;
                int exit_code;
                int signal;
        } rows[] = {
                { "true", END_EXIT, 0, 0 },
                { "exit 1", END_EXIT, 1, 0 },
                { "exit 255", END_EXIT, 255, 0 },
                { "kill -KILL $$", END_SIGNAL, 137, SIGKILL },
                { "kill -SEGV $$", END_SIGNAL, 139, SIGSEGV },
                { "kill -TERM $$", END_SIGNAL, 143, SIGTERM },
                /* the agent ignores SIGPIPE, its children must not */
                { "kill -PIPE $$", END_SIGNAL, 141, SIGPIPE },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct run r;

                run_script(f, &r, rows[i].script);
                assert_int_equal(r.result.reason, rows[i].reason);
                assert_int_equal(r.result.exit_code, rows[i].exit_code);
                assert_int_equal(r.result.signal, rows[i].signal);
                run_done(&r);
        }
}

static void test_output(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "echo out; echo err >&2; printf tail");
        assert_string_equal(r.output, "out\ntail");
        assert_string_equal(r.errors, "err\n");
        assert_true(r.result.duration_us > 0);
        assert_true(r.result.usage.max_rss > 0);
        run_done(&r);
}

static void test_merged_output(void **state)
{
        struct fixture *f = *state;
        struct run r;

        (void)run_start(f, &r,
                        (struct process_options){ .argv = SCRIPT("echo 1; echo 2 >&2; echo 3"),
                                                  .input_fd = -1,
                                                  .merge_stderr = true });
        run_wait(f, &r);
        assert_string_equal(r.output, "1\n2\n3\n");
        assert_string_equal(r.errors, "");
        run_done(&r);
}

static void test_cpu_time_is_counted(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "for ((i = 0; i < 20000; i++)); do :; done");
        assert_in_range(r.result.usage.cpu_us, 1000, 60 * 1000000);
        run_done(&r);
}

static void test_closed_streams(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "echo before; exec >&- 2>&-; exit 3");
        assert_string_equal(r.output, "before\n");
        assert_int_equal(r.result.exit_code, 3);
        run_done(&r);
}

static void test_input(void **state)
{
        struct fixture *f = *state;
        int fd = fd_memfd("input", "a\0b\n", 4);
        struct run r;

        assert_true(fd >= 0);
        (void)run_start(f, &r,
                        (struct process_options){ .argv = SCRIPT("od -An -tx1"), .input_fd = fd });
        close(fd);
        run_wait(f, &r);
        assert_string_equal(r.output, " 61 00 62 0a\n");
        run_done(&r);

        run_script(f, &r, "cat; readlink /proc/self/fd/0");
        assert_string_equal(r.output, "/dev/null\n");
        run_done(&r);
}

static void test_no_inherited_descriptors(void **state)
{
        struct fixture *f = *state;
        int leak = open("/dev/zero",
                        O_RDONLY); /* not close-on-exec: what a careless library may do */
        struct run r;

        assert_true(leak >= 0);
        (void)run_start(f, &r,
                        (struct process_options){
                                .argv = (char *[]){ (char *)"ls", (char *)"/proc/self/fd", NULL },
                                .input_fd = -1 });
        run_wait(f, &r);
        close(leak);
        assert_string_equal(r.output, "0\n1\n2\n3\n"); /* 3 is the directory itself */
        run_done(&r);
}

static void test_clean_process_state(void **state)
{
        struct fixture *f = *state;
        struct run r;

        (void)signal(SIGPIPE, SIG_IGN);
        run_script(f, &r,
                   "grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2; umask; ulimit -c; "
                   "cat /proc/self/oom_score_adj; ps -o pid=,pgid=,sid= -p $$ | tr -s ' ' '\\n' | "
                   "sort -u | grep -c .");
        (void)signal(SIGPIPE, SIG_DFL);
        assert_string_equal(r.output, "0000000000000000\n0000000000000000\n0022\n0\n300\n1\n");
        run_done(&r);
}

static void test_marker(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "printf %s \"$" TREE_MARKER "\"");
        assert_string_equal(r.output, process_id(r.process));
        run_done(&r);
}

static void test_spawn_failures(void **state)
{
        static const struct {
                const char *program;
                const char *cwd;
                int stage;
                int error;
                int exit_code;
        } rows[] = {
                { "no-such-program", "/", SPAWN_EXEC, ENOENT, 127 },
                { "/no/such/program", "/", SPAWN_EXEC, ENOENT, 127 },
                { "/etc/passwd", "/", SPAWN_EXEC, EACCES, 126 },
                { "/etc", "/", SPAWN_EXEC, EACCES, 126 },
                { "true", "/no/such/directory", SPAWN_CWD, ENOENT, 127 },
                { "true", "/etc/passwd", SPAWN_CWD, ENOTDIR, 126 },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct run r;

                (void)run_start(f, &r,
                                (struct process_options){
                                        .argv = (char *[]){ (char *)rows[i].program, NULL },
                                        .cwd = rows[i].cwd,
                                        .input_fd = -1 });
                run_wait(f, &r);
                assert_int_equal(r.result.reason, END_SPAWN);
                assert_int_equal(r.result.failure.stage, rows[i].stage);
                assert_int_equal(r.result.failure.error, rows[i].error);
                assert_int_equal(r.result.exit_code, rows[i].exit_code);
                run_done(&r);
        }
}

/* The deadline battery. What each script starts must be dead when the answer comes, and what was written must
 * be in it. */
static void test_deadline(void **state)
{
        static const char *const rows[] = {
                "echo begun; exec sleep 1000",
                "echo begun; sleep 1000 & wait",
                "echo begun; sleep 1000 & sleep 1000",
                "echo begun; setsid sleep 1000 & sleep 1000",
                "echo begun; (setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000",
                "trap '' TERM INT HUP; echo begun; while :; do sleep 1000; done",
                "echo begun; kill -STOP $$; sleep 1000",
                "echo begun; for i in {1..200}; do sleep 1000 & done; wait",
                "echo begun; sleep 1000 > /dev/null 2>&1 < /dev/null & exec >&- 2>&-; sleep 1000",
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct run r;
                uint64_t start = clock_now_ms();

                (void)run_start(f, &r,
                                (struct process_options){ .argv = SCRIPT(rows[i]),
                                                          .input_fd = -1,
                                                          .timeout_ms = 300 });
                run_wait(f, &r);
                /* An answer that was not forced by its own deadline has waited for the last of the tree. A walk may
                 * see somebody off who takes a moment longer to die. */
                if (f->options.use_cgroups && r.result.duration_us < 338000)
                        assert_int_equal(run_count_survivors(&r), 0);
                assert_in_range(clock_now_ms() - start, 300, 2000);
                assert_int_equal(r.result.reason, END_TIMEOUT);
                assert_int_equal(r.result.exit_code, 124);
                assert_string_equal(r.output, "begun\n");
                assert_true(fixture_wait_idle(f));
                assert_int_equal(run_count_survivors(&r), 0);
                run_done(&r);
        }
}

/* With a grace period a program may tidy up, and one that will not is killed all the same. */
static void test_grace(void **state)
{
        struct fixture *f = *state;
        struct run r;

        (void)run_start(f, &r,
                        (struct process_options){
                                .argv = SCRIPT("trap 'echo tidy; exit 7' TERM; echo begun; "
                                               "while :; do sleep 0.01; done"),
                                .input_fd = -1,
                                .timeout_ms = 200,
                                .grace_ms = HANG_MS });
        run_wait(f, &r);
        assert_string_equal(r.output, "begun\ntidy\n");
        assert_int_equal(r.result.reason, END_TIMEOUT);
        assert_int_equal(r.result.exit_code, 124);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(run_count_survivors(&r), 0);
        run_done(&r);

        (void)run_start(
                f, &r,
                (struct process_options){ .argv = SCRIPT("trap '' TERM; echo begun; sleep 1000 & "
                                                         "while :; do sleep 1000; done"),
                                          .input_fd = -1,
                                          .timeout_ms = 100,
                                          .grace_ms = 100 });
        run_wait(f, &r);
        assert_int_equal(r.result.reason, END_TIMEOUT);
        assert_int_equal(r.result.signal, SIGKILL);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(run_count_survivors(&r), 0);
        run_done(&r);
}

static void test_cancel(void **state)
{
        struct fixture *f = *state;
        struct process *p;
        struct run r;

        p = run_start(f, &r,
                      (struct process_options){ .argv = SCRIPT("sleep 1000"), .input_fd = -1 });
        process_kill(p, END_CANCELLED);
        process_kill(p, END_CANCELLED);
        assert_int_equal(r.n_ends, 0);
        run_wait(f, &r);
        assert_int_equal(r.result.reason, END_CANCELLED);
        assert_int_equal(r.result.exit_code, 137);
        process_kill(r.process, END_CANCELLED);
        assert_true(fixture_wait_idle(f));
        process_kill(r.process, END_CANCELLED);
        assert_int_equal(r.n_ends, 1);
        run_done(&r);
}

static void test_detach(void **state)
{
        struct fixture *f = *state;
        struct run r;

        process_detach(run_start(
                f, &r, (struct process_options){ .argv = SCRIPT("true"), .input_fd = -1 }));
        assert_true(fixture_wait_idle(f));
        assert_int_equal(r.n_ends, 0);
}

static int has_lingering(void *arg)
{
        struct fixture *f = arg;
        struct supervisor_counts c;

        supervisor_count(f->supervisor, &c);
        return c.lingering == 1;
}

/* What was left running lives on, writes on, and dies with its execution's kill. */
static void test_lingering(void **state)
{
        struct fixture *f = *state;
        uint64_t start = clock_now_ms();
        struct run r;

        run_script(f, &r, "(while sleep 0.01; do echo noise || exit; done) & echo started");
        assert_in_range(clock_now_ms() - start, 0, 2000);
        assert_int_equal(r.result.reason, END_EXIT);
        assert_int_equal(r.result.exit_code, 0);
        assert_memory_equal(r.output, "started\n", 8);
        assert_true(loop_run_until(f->loop, has_lingering, f, HANG_MS));
        assert_true(run_count_survivors(&r) > 0);

        process_kill(r.process, END_CANCELLED);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(run_count_survivors(&r), 0);
        assert_int_equal(process_result(r.process)->reason, END_EXIT);
        run_done(&r);
}

static void test_lingering_ends_by_itself(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "sleep 0.3 & echo started");
        assert_string_equal(r.output, "started\n");
        assert_true(loop_run_until(f->loop, has_lingering, f, HANG_MS));
        assert_true(fixture_wait_idle(f));
        run_done(&r);
}

static void test_flood(void **state)
{
        struct fixture *f = *state;
        struct run r;

        run_script(f, &r, "head -c 20000000 /dev/zero | tr '\\0' x; echo end");
        assert_int_equal(r.result.exit_code, 0);
        assert_int_equal(output_total(process_stdout(r.process)), 20000004);
        assert_in_range(strlen(r.output), 1 * MIB, 1 * MIB + 64);
        assert_string_equal(r.output + strlen(r.output) - 5, "xend\n");
        run_done(&r);
}

static void test_output_limit(void **state)
{
        struct fixture *f = *state;
        struct run r;

        f->options.max_discard = 2 * MIB;
        supervisor_set_limits(f->supervisor, &f->options);
        run_script(f, &r, "yes & yes");
        assert_int_equal(r.result.reason, END_OUTPUT_LIMIT);
        assert_int_equal(r.result.exit_code, 137);
        assert_true(fixture_wait_idle(f));
        assert_int_equal(run_count_survivors(&r), 0);
        run_done(&r);
}

static void test_run_as(void **state)
{
        struct fixture *f = *state;
        struct run r;

        if (geteuid() != 0)
                SKIP_TEST("needs root");
        fixture_close_supervisor(f);
        f->options.run_as = "nobody";
        fixture_new_supervisor(f);
        run_script(f, &r, "id -un; id -Gn; grep -c 'CapEff:.0000000000000000' /proc/self/status");
        assert_string_equal(r.output, "nobody\nnogroup\n1\n");
        run_done(&r);

        /* The directory is entered as that user. */
        (void)run_start(
                f, &r,
                (struct process_options){ .argv = SCRIPT("true"), .cwd = "/root", .input_fd = -1 });
        run_wait(f, &r);
        assert_int_equal(r.result.failure.stage, SPAWN_CWD);
        assert_int_equal(r.result.failure.error, EACCES);
        run_done(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_exit_codes),
                SUPERVISED(test_output),
                SUPERVISED(test_merged_output),
                SUPERVISED(test_cpu_time_is_counted),
                SUPERVISED(test_closed_streams),
                SUPERVISED(test_input),
                SUPERVISED(test_no_inherited_descriptors),
                SUPERVISED(test_clean_process_state),
                SUPERVISED(test_marker),
                SUPERVISED(test_spawn_failures),
                SUPERVISED(test_deadline),
                SUPERVISED(test_grace),
                SUPERVISED(test_cancel),
                SUPERVISED(test_detach),
                SUPERVISED(test_lingering),
                SUPERVISED(test_lingering_ends_by_itself),
                SUPERVISED(test_flood),
                SUPERVISED(test_output_limit),
                SUPERVISED(test_run_as),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
