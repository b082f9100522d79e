/* SPDX-License-Identifier: Apache-2.0 */

/* The registry after a restart: everything is found again, however the agent ended. */

#include "tests/unit/jobs_fixture.h"

static struct job *find(struct registry *r, const char *id)
{
        struct job *job = jobs_find(r->jobs, id);

        assert_non_null(job);
        return job_ref(job);
}

/* The same job, of the next registry. */
static struct job *again(struct registry *r, struct job *job)
{
        struct job *found = find(r, job_process_id(job));

        assert_ptr_not_equal(found, job);
        assert_string_equal(job_execution_id(found), job_execution_id(job));
        assert_int_equal(job_order(found), job_order(job));
        assert_int_equal(job_queued_ms(found), job_queued_ms(job));
        assert_string_equal(job_command(found), job_command(job));
        job_unref(job);
        return found;
}

static void test_ended(void **state)
{
        struct registry *r = *state;
        struct job_new spec = { .name = "n\xc3\xa4me",
                                .language = "bash",
                                .timeout_ms = 7000,
                                .has_terminal = true,
                                .is_base64 = true };
        struct job *job = job_add_as(r, "echo x; exit 4", spec);
        struct job_status status;
        pid_t pid;

        job_wait_end(r, job, PHASE_FAILED);
        status = *job_result(job);
        pid = job_pid(job);
        registry_reopen(r);
        assert_int_equal(job_phase(job), PHASE_FAILED); /* also the old one is valid */
        job_kill(job, 0);
        job_set_callback(job, json_object(), true);
        assert_null(jobs_older(job));
        job = again(r, job);
        assert_string_equal(job_name(job), "n\xc3\xa4me");
        assert_string_equal(job_language(job), "bash");
        assert_int_equal(job_timeout_ms(job), 7000);
        assert_true(job_has_terminal(job));
        assert_true(job_is_base64(job));
        assert_int_equal(job_phase(job), PHASE_FAILED);
        assert_int_equal(job_result(job)->reason, status.reason);
        assert_int_equal(job_result(job)->exit_code, 4);
        assert_int_equal(job_result(job)->duration_us, status.duration_us);
        assert_int_equal(job_started_ms(job), status.started_ms);
        assert_int_equal(job_ended_ms(job), status.ended_ms);
        assert_int_equal(job_totals(job)[0], 2);
        assert_int_equal(job_pid(job), pid);
        assert_false(job_is_lingering(job));
        registry_settle(r);
        assert_int_equal(r->ends.n + r->starts.n, 0);
        job_unref(job);
}

static void test_running(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "read x; echo $x; exit 5");
        int64_t started_ms;
        pid_t pid;

        job_wait_running(r, job);
        started_ms = job_started_ms(job);
        pid = job_pid(job);
        registry_reopen(r);
        job = again(r, job);
        assert_int_equal(job_phase(job), PHASE_RUNNING); /* at once */
        assert_int_equal(job_started_ms(job), started_ms);
        assert_ptr_equal(jobs_find_leader(r->jobs, pid), job);
        assert_true(jobs_has_keeper(r->jobs, job->keeper));
        assert_int_equal(registry_rooms(r), 1);
        registry_settle(r);
        assert_int_equal(job_pid(job), pid);
        assert_true(job_write(job, "hello\n", 6) >= 0);
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->exit_code, 5);
        assert_int_equal(job_started_ms(job), started_ms);
        assert_int_equal(job_totals(job)[0], 6);
        assert_int_equal(r->ends.n, 1);
        assert_int_equal(registry_rooms(r), 0);
        job_unref(job);
}

/* Those that run count, and the others wait as they did. */
static void test_queued(void **state)
{
        enum { N = 5 };
        struct registry *r = *state;
        struct job *first, *jobs[N], *later;

        registry_limit(r, 1);
        first = job_add(r, "sleep 1000");
        for (unsigned i = 0; i < N; i++)
                jobs[i] = job_add(r, "true");
        job_wait_running(r, first);
        registry_reopen(r);
        first = again(r, first);
        assert_int_equal(jobs_n_queued(r->jobs), N);
        assert_int_equal(jobs_n_running(r->jobs), 1);
        later = job_add(r, "true");
        for (unsigned i = 0; i < N; i++) {
                jobs[i] = again(r, jobs[i]);
                assert_int_equal(job_phase(jobs[i]), PHASE_QUEUED);
                assert_true(job_order(jobs[i]) < job_order(later));
        }
        job_kill(first, 0);
        job_wait_end(r, later, PHASE_COMPLETED);
        assert_int_equal(r->starts.n, N + 1);
        for (unsigned i = 0; i < N; i++) {
                assert_string_equal(r->starts.ids[i], job_process_id(jobs[i]));
                assert_int_equal(job_phase(jobs[i]), PHASE_COMPLETED);
                job_unref(jobs[i]);
        }
        job_unref(first);
        job_unref(later);
}

/* Its owner had it, and had half made its script. */
static void test_starting(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "true");
        job_make_script(r, job_execution_id(job));
        job_make_script(r, "exec_of_nobody");
        registry_close(r);
        job_launch_script(job, "true"); /* too late: does nothing */
        job_refuse(job, &(struct job_failure){ .message = "late" });
        assert_int_equal(job_phase(job), PHASE_QUEUED);
        assert_int_equal(registry_count_files(r, "scripts"), 2);
        registry_open(r);
        job = again(r, job);
        WAIT_FOR(r, owner_has_heard_, &r->starts);
        registry_wait_files(r, "scripts", 0);
        job_launch_script(job, "true");
        job_wait_end(r, job, PHASE_COMPLETED);
        job_unref(job);
}

/* The clock was set back. */
static void test_order_ascends(void **state)
{
        struct registry *r = *state;
        struct job *old = job_add(r, "true"), *new;
        CLEANUP(mem_free) char *facts = NULL;

        job_wait_end(r, old, PHASE_COMPLETED);
        registry_close(r);
        old->order += (uint64_t)1000000 * 86400;
        facts = job_facts_text(old);
        file_write(job_dir(old), JOB_FACTS, facts);
        registry_open(r);
        new = job_add(r, "true");
        assert_true(job_order(new) > job_order(old));
        assert_ptr_equal(jobs_newest(r->jobs), new);
        job_wait_end(r, new, PHASE_COMPLETED);
        job_unref(old);
        job_unref(new);
}

static void test_unborn_ends(void **state)
{
        struct registry *r = *state;
        struct job *blocker, *killed, *refused, *missing;

        missing = job_add(r, "/no/such/program");
        job_wait_end(r, missing, PHASE_FAILED);
        r->mode = OWNER_REFUSES;
        refused = job_add(r, "true");
        job_wait_end(r, refused, PHASE_FAILED);
        r->mode = OWNER_LAUNCHES;
        registry_limit(r, 1);
        blocker = job_add(r, "sleep 1000");
        killed = job_add(r, "true");
        job_kill(killed, 0);
        registry_reopen(r); /* what is to be written for it is written */
        killed = again(r, killed);
        refused = again(r, refused);
        missing = again(r, missing);
        assert_int_equal(job_phase(killed), PHASE_KILLED);
        assert_int_equal(job_result(killed)->exit_code, 143);
        assert_int_equal(job_started_ms(killed), 0);
        assert_int_equal(job_phase(refused), PHASE_FAILED);
        assert_int_equal(job_failure(refused)->problem, 7);
        assert_string_equal(job_failure(refused)->field, "/code");
        assert_string_equal(job_failure(refused)->message, "it is too beautiful");
        assert_int_equal(job_failure(missing)->problem, 8);
        assert_null(job_failure(missing)->field);
        assert_int_equal(job_result(missing)->exit_code, 127);
        registry_settle(r);
        assert_int_equal(r->starts.n + r->ends.n, 0);
        job_unref(blocker);
        job_unref(killed);
        job_unref(refused);
        job_unref(missing);
}

/* An agent died between the end and the words. */
static void test_words_are_missing(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "/no/such/program");
        CLEANUP(mem_free) char *path = xasprintf("%s/" JOB_ERROR, job_dir(job));

        job_wait_end(r, job, PHASE_FAILED);
        registry_close(r);
        assert_int_equal(unlink(path), 0);
        registry_open(r);
        job = again(r, job);
        WAIT_FOR(r, owner_has_heard_, &r->ends);
        assert_int_equal(job_failure(job)->problem, 8);
        registry_settle(r);
        assert_int_equal(r->ends.n, 1);
        job_unref(job);
}

/* What it started lives on, as does its room. */
static void test_lingering(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "sleep 1000 & exit 3");

        WAIT_FOR(r, job_has_ended_, job);
        registry_reopen(r);
        job = again(r, job);
        assert_int_equal(job_phase(job), PHASE_FAILED);
        assert_true(job_is_lingering(job));
        assert_int_equal(registry_rooms(r), 1);
        registry_settle(r);
        assert_true(job_is_lingering(job));
        assert_int_equal(r->ends.n, 0);
        job_kill(job, 0);
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->exit_code, 3);
        assert_int_equal(r->ends.n, 0);
        assert_int_equal(registry_rooms(r), 0);
        job_unref(job);
}

/* Of those with a callback, the ones that are not through are told of again. */
static void test_callbacks(void **state)
{
        struct registry *r = *state;
        struct job_new spec = { .callback_url = "http://127.0.0.1/" };
        struct job *done = job_add_as(r, "true", spec), *open = job_add_as(r, "true", spec);

        job_wait_end(r, done, PHASE_COMPLETED);
        job_wait_end(r, open, PHASE_COMPLETED);
        assert_null(job_callback(done));
        job_set_callback(done, json_pack("{s:s}", "status", "sending"), false);
        job_set_callback(open, json_pack("{s:s}", "status", "sending"), false);
        job_set_callback(done, json_pack("{s:s}", "status", "delivered"), true);
        assert_true(job_callback_is_final(done));
        registry_reopen(r);
        done = again(r, done);
        open = again(r, open);
        assert_true(job_callback_is_final(done));
        assert_string_equal(json_string_value(json_object_get(job_callback(done), "status")),
                            "delivered");
        assert_string_equal(job_callback_url(open), "http://127.0.0.1/");
        assert_null(job_callback(open));
        registry_settle(r);
        assert_int_equal(r->ends.n, 1);
        assert_string_equal(r->ends.ids[0], job_process_id(open));
        job_unref(done);
        job_unref(open);
}

/* --- kill -9 --- */

static int ready[2];

/* In a child: an agent with jobs that run, lingering ones, and more than it may run. */
static void play_agent(void **state)
{
        struct registry *r = registry_in_child(*state);
        struct job *jobs[6];

        registry_limit(r, 4);
        registry_open(r);
        jobs[0] = job_add(r, "echo $$; read x; exit 11");
        jobs[1] = job_add(r, "exit 12");
        job_wait_end(r, jobs[1], PHASE_FAILED);
        jobs[2] = job_add(r, "sleep 1000 & exit 13");
        WAIT_FOR(r, job_has_ended_, jobs[2]);
        jobs[3] = job_add(r, "sleep 0.2; exit 14");
        job_wait_running(r, jobs[3]);
        jobs[4] = job_add(r, "sleep 1000");
        job_wait_running(r, jobs[4]);
        jobs[5] = job_add(r, "exit 15");
        job_wait_running(r, jobs[0]);
        for (unsigned i = 0; i < 6; i++)
                assert_int_equal(write(ready[1], job_process_id(jobs[i]), ID_SIZE), ID_SIZE);
        for (;;)
                (void)uv_run(&r->base->loop->uv, UV_RUN_ONCE);
}

/* A job that cannot be read now keeps what it needs later. */
static void test_unreadable_job(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "read x; exit 5");
        CLEANUP(mem_free) char *facts = xasprintf("%s/" JOB_FACTS, job_dir(job));
        CLEANUP(mem_free) char *aside = xasprintf("%s/facts", r->state_dir);
        char id[ID_SIZE];

        job_wait_running(r, job);
        job_make_script(r, job_execution_id(job));
        memcpy(id, job_process_id(job), sizeof(id));
        registry_close(r);
        assert_int_equal(rename(facts, aside), 0);
        file_write(job_dir(job), JOB_FACTS, "{"); /* it runs, and is left alone */
        registry_open(r);
        assert_int_equal(jobs_n_known(r->jobs), 0);
        registry_settle(r);
        registry_close(r);
        assert_int_equal(registry_count_files(r, "jobs"), 1);
        assert_int_equal(registry_count_files(r, "scripts"), 1);
        assert_int_equal(rename(aside, facts), 0);
        job_unref(job);
        registry_open(r);
        job = find(r, id);
        registry_settle(r);
        assert_true(job_write(job, "x\n", 2) >= 0);
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->exit_code, 5);
        registry_wait_files(r, "scripts", 0);
        job_unref(job);
}

static void test_agent_is_killed(void **state)
{
        struct registry *r = *state;
        struct job *jobs[6];
        char ids[6][ID_SIZE];
        pid_t pid;

        registry_close(r);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = registry_fork(play_agent, r);
        close(ready[1]);
        for (unsigned i = 0; i < 6; i++)
                assert_int_equal(read(ready[0], ids[i], ID_SIZE), ID_SIZE);
        close(ready[0]);
        assert_int_equal(kill(pid, SIGKILL), 0);
        registry_open(r); /* may have to wait for the lock */
        for (unsigned i = 0; i < 6; i++)
                jobs[i] = find(r, ids[i]);
        assert_int_equal(job_phase(jobs[0]), PHASE_RUNNING);
        assert_int_equal(job_result(jobs[1])->exit_code, 12);
        assert_int_equal(job_result(jobs[2])->exit_code, 13);
        assert_true(job_is_lingering(jobs[2]));
        assert_int_equal(job_phase(jobs[4]), PHASE_RUNNING);
        job_wait_end(r, jobs[3], PHASE_FAILED);
        assert_int_equal(job_result(jobs[3])->exit_code, 14);
        job_wait_end(r, jobs[5], PHASE_FAILED);
        assert_int_equal(job_result(jobs[5])->exit_code, 15);
        assert_true(job_write(jobs[0], "x\n", 2) >= 0);
        job_wait_end(r, jobs[0], PHASE_FAILED);
        assert_int_equal(job_result(jobs[0])->exit_code, 11);
        job_kill(jobs[4], 0);
        job_wait_end(r, jobs[4], PHASE_KILLED);
        assert_int_equal(jobs_n_known(r->jobs), 6);
        for (unsigned i = 0; i < 6; i++)
                job_unref(jobs[i]);
}

/* The keeper died together with its agent. */
static void test_lost(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "sleep 1000");
        pid_t keeper;

        job_wait_running(r, job);
        keeper = job->keeper;
        registry_close(r);
        assert_int_equal(kill(keeper, SIGKILL), 0);
        registry_open(r);
        job = again(r, job);
        assert_int_equal(job_phase(job), PHASE_RUNNING);
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->reason, KEEPER_LOST);
        assert_int_equal(r->ends.n, 1);
        assert_int_equal(registry_rooms(r), 0);
        registry_reopen(r);
        job = again(r, job);
        assert_int_equal(job_result(job)->reason, KEEPER_LOST);
        job_unref(job);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_ended),
                REGISTERED(test_running),
                REGISTERED(test_queued),
                REGISTERED(test_starting),
                REGISTERED(test_order_ascends),
                REGISTERED(test_unborn_ends),
                REGISTERED(test_words_are_missing),
                REGISTERED(test_lingering),
                REGISTERED(test_callbacks),
                REGISTERED(test_agent_is_killed),
                REGISTERED(test_unreadable_job),
                REGISTERED(test_lost),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
