/* SPDX-License-Identifier: Apache-2.0 */

/* Killing background jobs, in any phase; and what is said of what outlives them. */

#include "tests/unit/jobs_fixture.h"

static void test_kill_running(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "sleep 1000");
        pid_t pid;

        job_wait_running(r, job);
        pid = job_pid(job);
        assert_true(pid > 1);
        assert_ptr_equal(jobs_find_leader(r->jobs, pid), job);
        assert_true(jobs_has_keeper(r->jobs, job->keeper));
        assert_false(jobs_has_keeper(r->jobs, pid));
        assert_int_equal(job_signal(job, 0x7fff), -EINVAL);
        job_kill(job, 1000);
        assert_int_equal(job_phase(job), PHASE_RUNNING);
        job_wait_end(r, job, PHASE_KILLED);
        assert_int_equal(job_pid(job), pid);
        assert_null(jobs_find_leader(r->jobs, pid));
        assert_false(jobs_has_keeper(r->jobs, job->keeper));
        assert_int_equal(job_signal(job, SIGTERM), -ESRCH);
        job_kill(job, 0); /* late */
        job_unref(job);
}

static void test_kill_queued(void **state)
{
        struct registry *r = *state;
        struct job *first, *second, *third;

        registry_limit(r, 1);
        first = job_add(r, "sleep 1000");
        second = job_add(r, "true");
        third = job_add(r, "true");
        assert_int_equal(job_signal(second, SIGTERM), -ESRCH);
        assert_int_equal(job_write(second, "x", 1), -EPIPE);
        assert_int_equal(job_close_input(second), -EPIPE);
        job_kill(second, 1000);
        job_kill(second, 0);                               /* again */
        assert_int_equal(job_phase(second), PHASE_QUEUED); /* until it is on the disk */
        assert_null(job_result(second));
        assert_int_equal(jobs_n_queued(r->jobs), 1);
        WAIT_FOR(r, job_has_ended_, second);
        assert_int_equal(job_phase(second), PHASE_KILLED);
        assert_true(file_exists(job_dir(second), KEEPER_STATUS));
        assert_int_equal(job_result(second)->reason, KEEPER_KILLED);
        assert_int_equal(job_result(second)->exit_code, 143);
        assert_int_equal(job_result(second)->signal, 0);
        assert_int_equal(job_started_ms(second), 0);
        assert_true(job_ended_ms(second) > 0);
        WAIT_FOR(r, owner_has_heard_, &r->ends);
        assert_int_equal(r->ends.n, 1);
        assert_string_equal(r->ends.ids[0], job_process_id(second));
        assert_int_equal(jobs_n_queued(r->jobs), 1);
        job_kill(first, 0);
        job_wait_end(r, third, PHASE_COMPLETED);
        assert_int_equal(r->starts.n, 2);
        job_unref(first);
        job_unref(second);
        job_unref(third);
}

/* Its owner has it, and comes too late with what it has made. */
static void test_kill_starting(void **state)
{
        struct registry *r = *state;
        struct job *jobs[2];

        r->mode = OWNER_HOLDS;
        for (unsigned i = 0; i < 2; i++) {
                jobs[i] = job_add(r, "true");
                assert_true(job_is_starting(jobs[i]));
                assert_int_equal(registry_rooms(r), 1);
                job_kill(jobs[i], 0);
                assert_false(job_is_starting(jobs[i]));
                assert_int_equal(registry_rooms(r), 0);
                WAIT_FOR(r, job_has_ended_, jobs[i]);
                assert_int_equal(job_phase(jobs[i]), PHASE_KILLED);
                registry_settle(r);
                job_make_script(r, job_execution_id(jobs[i]));
                if (i == 0)
                        job_launch_script(jobs[i], "true");
                else
                        job_refuse(jobs[i], &(struct job_failure){ .message = "late" });
                registry_wait_files(r, "scripts", 0);
                assert_int_equal(job_phase(jobs[i]), PHASE_KILLED);
                assert_null(job_failure(jobs[i]));
                assert_int_equal(r->ends.n, i + 1);
                job_unref(jobs[i]);
        }
}

/* What its owner has made goes, even if it comes before the end is on the disk. */
static void test_kill_and_launch(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "true");
        job_make_script(r, job_execution_id(job));
        job_kill(job, 0);
        job_launch_script(job, "true");
        WAIT_FOR(r, job_has_ended_, job);
        assert_int_equal(job_phase(job), PHASE_KILLED);
        assert_int_equal(job_pid(job), 0);
        registry_wait_files(r, "scripts", 0);
        job_unref(job);
}

/* The keeper is on its way. */
static void test_kill_launched(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "");
        job_launch_script(job, "sleep 1000");
        assert_true(job_is_starting(job));
        job_launch_script(job, "sleep 1000"); /* once is enough */
        job_kill(job, 0);
        job_wait_end(r, job, PHASE_KILLED);
        assert_int_equal(r->ends.n, 1);
        job_unref(job);
}

static bool has_output(void *arg)
{
        return job_totals(arg)[0] > 0;
}

/* The exit code says whether SIGTERM was enough. */
static void test_kill_codes(void **state)
{
        static const struct {
                const char *script;
                uint32_t grace_ms;
                int exit_code;
                int signal;
        } rows[] = {
                { "echo x; exec sleep 1000", HANG_MS, 128 + SIGTERM, SIGTERM },
                { "echo x; exec sleep 1000", 0, 128 + SIGKILL, SIGKILL },
                { "trap '' TERM; echo x; while :; do sleep 1; done", 50, 128 + SIGKILL, SIGKILL },
                { "trap 'exit 7' TERM; echo x; while :; do sleep 0.01; done", HANG_MS, 7, 0 },
        };
        struct registry *r = *state;

        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct job *job = job_add(r, rows[i].script);

                WAIT_FOR(r, has_output, job);
                job_kill(job, rows[i].grace_ms);
                job_wait_end(r, job, PHASE_KILLED);
                assert_int_equal(job_result(job)->reason, KEEPER_KILLED);
                assert_int_equal(job_result(job)->exit_code, rows[i].exit_code);
                assert_int_equal(job_result(job)->signal, rows[i].signal);
                job_unref(job);
        }
}

static int ready[2];

/* In a child: an agent that kills a job that waits, one that is being started, and says so. */
static void play_killer(void **state)
{
        struct registry *r = registry_in_child(*state);
        struct job *jobs[3];

        registry_limit(r, 2);
        registry_open(r);
        jobs[0] = job_add(r, "sleep 1000");
        job_wait_running(r, jobs[0]);
        r->mode = OWNER_HOLDS;
        jobs[1] = job_add(r, "true");
        jobs[2] = job_add(r, "true");
        assert_true(job_is_starting(jobs[1]));
        assert_false(job_is_starting(jobs[2]));
        for (unsigned i = 1; i < 3; i++)
                job_kill(jobs[i], 0);
        for (unsigned i = 0; i < 3; i++) {
                if (i > 0)
                        WAIT_FOR(r, job_has_ended_, jobs[i]);
                assert_int_equal(write(ready[1], job_process_id(jobs[i]), ID_SIZE), ID_SIZE);
        }
        for (;;)
                pause();
}

/* What a client knows to be dead does not run after all. */
static void test_killed_stay_killed(void **state)
{
        struct registry *r = *state;
        char ids[3][ID_SIZE];
        pid_t pid;

        registry_close(r);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = registry_fork(play_killer, r);
        close(ready[1]);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(read(ready[0], ids[i], ID_SIZE), ID_SIZE);
        close(ready[0]);
        assert_int_equal(kill(pid, SIGKILL), 0);
        registry_open(r);
        for (unsigned i = 1; i < 3; i++) {
                struct job *job = jobs_find(r->jobs, ids[i]);

                assert_non_null(job);
                assert_int_equal(job_phase(job), PHASE_KILLED);
                assert_int_equal(job_result(job)->reason, KEEPER_KILLED);
                assert_int_equal(job_result(job)->exit_code, 143);
                assert_int_equal(job_started_ms(job), 0);
        }
        registry_settle(r);
        assert_int_equal(r->starts.n, 0);
        assert_int_equal(jobs_n_queued(r->jobs), 0);
}

struct linger_watch {
        struct job_watch watch;
        unsigned n_ends;
        unsigned n_lingering;
};

static void note_lingering(struct job_watch *w, struct job *job)
{
        struct linger_watch *l = container_of(w, struct linger_watch, watch);

        if (!job_phase_is_final(job_phase(job)))
                return;
        l->n_ends++;
        l->n_lingering += job_is_lingering(job);
}

/* The moment that a keeper needs to go is not said to be something of the job's. */
static void test_ordinary_ends_do_not_linger(void **state)
{
        struct registry *r = *state;
        struct linger_watch l = { .watch = { .on_change = note_lingering } };

        for (unsigned i = 0; i < 50; i++) {
                struct job *job = job_add(r, "true");

                job_watch_add(job, &l.watch);
                WAIT_FOR(r, job_has_ended_, job);
                assert_false(job_is_lingering(job));
                job_wait_end(r, job, PHASE_COMPLETED);
                registry_settle(r);
                job_watch_remove(&l.watch);
                job_unref(job);
        }
        assert_int_equal(l.n_ends, 50);
        assert_int_equal(l.n_lingering, 0);
}

static void test_what_lingers_is_said(void **state)
{
        static const char *const scripts[] = { "sleep 1000 & true", "setsid -f sleep 1000",
                                               "nohup sleep 1000 >/dev/null 2>&1 & true" };
        struct registry *r = *state;

        for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
                struct linger_watch l = { .watch = { .on_change = note_lingering } };
                struct job *job = job_add(r, scripts[i]);

                job_watch_add(job, &l.watch);
                WAIT_FOR(r, job_has_ended_, job);
                assert_true(job_is_lingering(job));
                registry_settle(r);
                assert_true(job_is_lingering(job));
                assert_int_equal(l.n_lingering, l.n_ends);
                job_watch_remove(&l.watch);
                job_kill(job, 0);
                job_wait_end(r, job, PHASE_COMPLETED);
                assert_false(job_is_lingering(job));
                job_unref(job);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_kill_running),         REGISTERED(test_kill_queued),
                REGISTERED(test_kill_starting),        REGISTERED(test_kill_and_launch),
                REGISTERED(test_kill_launched),        REGISTERED(test_kill_codes),
                REGISTERED(test_killed_stay_killed),   REGISTERED(test_ordinary_ends_do_not_linger),
                REGISTERED(test_what_lingers_is_said),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
