/* SPDX-License-Identifier: Apache-2.0 */

/* What is tried out, and what becomes of it: proc/trial.h, too. With a frozen clock, because nothing is tried twice
 * within seconds. */

#include "agent/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "agent/loop/job.h"
#include "agent/loop/lag.h"
#include "proc/trial.h"
#include "tests/lib/supervisor_fixture.h"

#define N_WORKERS 4

/* --- a program that is tried --- */

struct tried {
        struct trial trial;
        unsigned n_ends;
        bool has_failed;
        char error[256];
};

static void on_end(struct trial *t, const struct error *err)
{
        struct tried *tried = container_of(t, struct tried, trial);

        tried->n_ends++;
        tried->has_failed = err != NULL;
        (void)snprintf(tried->error, sizeof(tried->error), "%s", err ? err->message : "");
}

static int has_ended(void *arg)
{
        return ((struct tried *)arg)->n_ends > 0;
}

static void expect_trial(struct fixture *f, struct tried *t, const char *error)
{
        t->n_ends = 0;
        assert_true(loop_run_until(f->loop, has_ended, t, HANG_MS));
        assert_int_equal(t->n_ends, 1);
        assert_int_equal(t->has_failed, error != NULL);
        assert_string_equal(t->error, error ? error : "");
        assert_false(t->trial.is_running);
}

static void test_a_trial_counts_nowhere(void **state)
{
        struct fixture *f = *state;
        struct tried t = { .trial.on_end = on_end };
        struct supervisor_counts counts;
        struct error err = ERROR_INIT;

        trial_init(&t.trial, f->supervisor);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(trial_start(&t.trial, &err), 0);
                supervisor_count(f->supervisor, &counts);
                assert_int_equal(counts.running + counts.lingering + counts.jobs, 0);
                assert_int_equal(counts.started + counts.failed, 0);
                expect_trial(f, &t, NULL);
        }
        trial_close(&t.trial);
}

static void test_no_shim(void **state)
{
        struct fixture *f = *state;
        struct tried t = { .trial.on_end = on_end };
        struct error err = ERROR_INIT;

        fixture_close_supervisor(f);
        f->options.shim = "/nonexistent/shim";
        fixture_new_supervisor(f);
        trial_init(&t.trial, f->supervisor);
        assert_int_equal(trial_start(&t.trial, &err), -ENOENT);
        assert_non_null(strstr(err.message, "No such file"));
        assert_false(t.trial.is_running);
        trial_close(&t.trial);
        assert_int_equal(t.n_ends, 0);
}

static void test_a_program_that_does_not_end(void **state)
{
        struct fixture *f = *state;
        struct tried t = { .trial.on_end = on_end };
        struct error err = ERROR_INIT;

        trial_init(&t.trial, f->supervisor);
        assert_int_equal(trial_start(&t.trial, &err), 0);
        trial_kill(&t.trial);
        expect_trial(f, &t, "the program true did not end by itself");
        assert_int_equal(trial_start(&t.trial, &err), 0);
        expect_trial(f, &t, NULL);
        trial_close(&t.trial);
}

static void test_closing_while_a_program_runs(void **state)
{
        struct fixture *f = *state;
        struct tried t = { .trial.on_end = on_end };
        struct error err = ERROR_INIT;

        trial_init(&t.trial, f->supervisor);
        assert_int_equal(trial_start(&t.trial, &err), 0);
        trial_close(&t.trial);
        fixture_close_supervisor(f);
        assert_int_equal(t.n_ends, 1);
        assert_int_equal(t.trial.leaf.fd, -1);
}

/* --- health --- */

struct place {
        char dir[64];
        struct health *health;
};

static void place_new(struct place *p, struct fixture *f)
{
        (void)snprintf(p->dir, sizeof(p->dir), "/tmp/vm-agent-health-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        clock_set_fake(1000000, 1000);
        p->health = health_new(f->loop, f->supervisor, p->dir);
}

static void place_done(struct place *p, struct fixture *f)
{
        health_close(p->health);
        fixture_close_supervisor(f);
        while (uv_loop_alive(&f->loop->uv)) /* the disk's job */
                (void)uv_run(&f->loop->uv, UV_RUN_ONCE);
        p->health = health_free(p->health);
        assert_int_equal(rmdir(p->dir), 0); /* nothing is left in it */
        clock_set_fake(0, -1);
}

static enum health_status status_of(struct place *p, enum health_check which, char error[256])
{
        struct health_verdict v;

        health_verdict(p->health, which, &v);
        if (error)
                (void)memcpy(error, v.error, sizeof(v.error));
        return v.status;
}

static int is_all_tried(void *arg)
{
        return status_of(arg, HEALTH_STATE_DIR, NULL) != HEALTH_PENDING &&
               status_of(arg, HEALTH_SPAWN, NULL) != HEALTH_PENDING;
}

static int is_disk_bad(void *arg)
{
        return status_of(arg, HEALTH_STATE_DIR, NULL) == HEALTH_FAILED;
}

static int is_disk_good(void *arg)
{
        return status_of(arg, HEALTH_STATE_DIR, NULL) == HEALTH_OK;
}

/* Milliseconds since the start. */
static void set_time(unsigned ms)
{
        clock_set_fake(1000000 + (uint64_t)ms * 1000, 1000 + ms / 1000);
}

static void test_what_was_never_tried_counts_as_well(void **state)
{
        struct fixture *f = *state;
        struct place p;

        place_new(&p, f);
        assert_int_equal(status_of(&p, HEALTH_STATE_DIR, NULL), HEALTH_PENDING);
        assert_int_equal(status_of(&p, HEALTH_SPAWN, NULL), HEALTH_PENDING);
        assert_true(health_ask(p.health));
        assert_true(loop_run_until(f->loop, is_all_tried, &p, HANG_MS));
        assert_true(health_ask(p.health));
        assert_string_equal(health_problem(p.health), "");
        place_done(&p, f);
}

static void test_a_directory_that_is_gone_and_comes_back(void **state)
{
        struct fixture *f = *state;
        struct place p;
        char error[256];

        place_new(&p, f);
        assert_true(loop_run_until(f->loop, is_all_tried, &p, HANG_MS));
        assert_int_equal(rmdir(p.dir), 0);
        set_time(100);
        assert_true(health_ask(p.health)); /* too early for another look */
        (void)uv_run(&f->loop->uv, UV_RUN_NOWAIT);
        assert_false(is_disk_bad(&p));
        set_time(4000);
        assert_true(health_ask(p.health)); /* does not wait for what it begins */
        assert_true(loop_run_until(f->loop, is_disk_bad, &p, HANG_MS));
        assert_false(health_ask(p.health));
        (void)status_of(&p, HEALTH_STATE_DIR, error);
        assert_string_equal(error, "cannot write there: No such file or directory");
        assert_string_equal(health_problem(p.health),
                            "state_dir: cannot write there: No such file or directory");

        assert_int_equal(mkdir(p.dir, 0700), 0);
        set_time(4600);
        assert_false(health_ask(p.health));
        assert_true(loop_run_until(f->loop, is_disk_good, &p, HANG_MS));
        assert_true(health_ask(p.health));
        place_done(&p, f);
}

static void wait_for_byte(void *arg)
{
        char byte;

        assert_int_equal(read(*(int *)arg, &byte, 1), 1);
}

static void forget(void *arg)
{
        (void)arg;
}

/* All workers stand still, as they do on a disk that hangs. */
static void test_a_disk_that_hangs(void **state)
{
        struct fixture *f = *state;
        struct place p;
        char error[256];
        int pipes[2];

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        for (int i = 0; i < N_WORKERS; i++)
                assert_int_equal(job_run(f->loop, &pipes[0], wait_for_byte, forget), 0);
        place_new(&p, f);
        set_time(LIMIT_HEALTH_SILENCE_MS - 1);
        assert_true(health_ask(p.health));
        set_time(LIMIT_HEALTH_SILENCE_MS + 2000);
        assert_false(health_ask(p.health));
        assert_int_equal(status_of(&p, HEALTH_STATE_DIR, error), HEALTH_FAILED);
        assert_string_equal(error, "no answer for 12 s");

        assert_int_equal(write(pipes[1], "....", N_WORKERS), N_WORKERS);
        assert_true(loop_run_until(f->loop, is_disk_good, &p, HANG_MS));
        place_done(&p, f);
        (void)close(pipes[0]);
        (void)close(pipes[1]);
}

/* Nobody listens to the death of children: the loop does not run, which is the next best thing. */
static void test_children_that_die_unheard(void **state)
{
        struct fixture *f = *state;
        struct place p;
        siginfo_t info;

        place_new(&p, f);
        assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
        assert_false(health_is_wedged(p.health)); /* it may have been a moment ago */
        set_time(LIMIT_HEALTH_SILENCE_MS);
        assert_true(health_is_wedged(p.health));
        assert_true(loop_run_until(f->loop, is_all_tried, &p, HANG_MS));
        assert_false(health_is_wedged(p.health));
        place_done(&p, f);
}

static void test_a_program_that_hangs(void **state)
{
        struct fixture *f = *state;
        struct place p;
        siginfo_t info;
        pid_t pid = 0;
        char path[64];
        FILE *file;

        place_new(&p, f);
        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
        file = fopen(path, "re");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%d", &pid), 1);
        (void)fclose(file);
        assert_int_equal(kill(pid, SIGSTOP), 0);
        /* It may have been over already: then there is nothing to see. */
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOWAIT), 0);
        if (info.si_code == CLD_STOPPED) {
                set_time(LIMIT_HEALTH_SILENCE_MS);
                assert_false(health_is_wedged(p.health)); /* no new process would help */
                assert_false(health_ask(p.health));       /* and kills it */
        }
        assert_true(loop_run_until(f->loop, is_all_tried, &p, HANG_MS));
        place_done(&p, f);
}

static void test_a_loop_that_lags(void **state)
{
        struct fixture *f = *state;
        struct place p;
        char error[256];

        place_new(&p, f);
        f->loop->lags_ms[1] = 60000; /* once is over */
        assert_true(health_ask(p.health));
        f->loop->lags_ms[3] = LIMIT_HEALTH_LAG_MS;
        assert_true(health_ask(p.health));
        f->loop->lags_ms[3] = LIMIT_HEALTH_LAG_MS + 1;
        assert_int_equal(loop_lag_repeated_ms(f->loop), LIMIT_HEALTH_LAG_MS + 1);
        assert_false(health_ask(p.health));
        assert_int_equal(status_of(&p, HEALTH_LOOP, error), HEALTH_FAILED);
        assert_non_null(strstr(error, "again and again"));
        f->loop->lags_ms[1] = 0;
        assert_true(health_ask(p.health));
        place_done(&p, f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                SUPERVISED(test_a_trial_counts_nowhere),
                SUPERVISED(test_no_shim),
                SUPERVISED(test_a_program_that_does_not_end),
                SUPERVISED(test_closing_while_a_program_runs),
                SUPERVISED(test_what_was_never_tried_counts_as_well),
                SUPERVISED(test_a_directory_that_is_gone_and_comes_back),
                SUPERVISED(test_a_disk_that_hangs),
                SUPERVISED(test_children_that_die_unheard),
                SUPERVISED(test_a_program_that_hangs),
                SUPERVISED(test_a_loop_that_lags),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
