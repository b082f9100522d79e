/* SPDX-License-Identifier: Apache-2.0 */

/* The registry of background jobs while one agent runs: the line, the phases, who is told. */

#include "tests/unit/jobs_fixture.h"

static void test_runs(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add_as(
                r, "echo out; echo error >&2",
                (struct job_new){ .name = "n", .language = "bash", .is_base64 = true });

        assert_string_equal(job_name(job), "n");
        assert_string_equal(job_language(job), "bash");
        assert_string_equal(job_command(job), "echo out; echo error >&2");
        assert_null(job_callback_url(job));
        assert_true(job_is_base64(job));
        assert_false(job_has_terminal(job));
        assert_int_equal(job_pid(job), 0);
        assert_null(job_result(job));
        assert_true(job_queued_ms(job) > 1600000000000);
        assert_ptr_equal(jobs_find(r->jobs, job_process_id(job)), job);
        assert_ptr_equal(jobs_find(r->jobs, job_execution_id(job)), job);
        assert_null(jobs_find(r->jobs, "proc_0"));

        job_wait_end(r, job, PHASE_COMPLETED);
        assert_int_equal(job_result(job)->reason, KEEPER_EXIT);
        assert_int_equal(job_totals(job)[0], 4);
        assert_int_equal(job_totals(job)[1], 6);
        assert_true(job_started_ms(job) >= job_queued_ms(job));
        assert_true(job_ended_ms(job) >= job_started_ms(job));
        assert_int_equal(r->starts.n, 1);
        assert_int_equal(r->ends.n, 1);
        assert_int_equal(jobs_n_known(r->jobs), 1);
        assert_int_equal(jobs_n_running(r->jobs), 0);
        assert_int_equal(registry_rooms(r), 0);
        job_unref(job);
}

static void test_ends(void **state)
{
        static const struct {
                const char *script;
                uint64_t timeout_ms;
                enum job_phase phase;
                enum keeper_reason reason;
                int exit_code;
        } cases[] = {
                { "exit 3", 0, PHASE_FAILED, KEEPER_EXIT, 3 },
                { "kill -9 $$", 0, PHASE_FAILED, KEEPER_SIGNAL, 137 },
                { "sleep 1000", 50, PHASE_TIMED_OUT, KEEPER_TIMEOUT, 124 },
                { "/no/such/program", 0, PHASE_FAILED, KEEPER_SPAWN, 127 },
        };
        struct registry *r = *state;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct job *job = job_add_as(r, cases[i].script,
                                             (struct job_new){ .timeout_ms = cases[i].timeout_ms });

                job_wait_end(r, job, cases[i].phase);
                assert_int_equal(job_result(job)->reason, cases[i].reason);
                if (cases[i].reason != KEEPER_TIMEOUT)
                        assert_int_equal(job_result(job)->exit_code, cases[i].exit_code);
                if (cases[i].reason == KEEPER_SPAWN)
                        assert_int_equal(job_failure(job)->problem, 8);
                else
                        assert_null(job_failure(job));
                assert_int_equal(r->ends.n, i + 1);
                job_unref(job);
        }
}

static void test_refused(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->mode = OWNER_REFUSES;
        job = job_add(r, "true");
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->reason, KEEPER_SPAWN);
        assert_int_equal(job_failure(job)->problem, 7);
        assert_string_equal(job_failure(job)->field, "/code");
        assert_string_equal(job_failure(job)->message, "it is too beautiful");
        WAIT_FOR(r, owner_has_heard_, &r->ends);
        assert_int_equal(registry_rooms(r), 0);
        job_unref(job);
}

/* The keeper itself cannot be started. */
static void test_no_keeper(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->options.keeper = "/no/such/keeper";
        registry_reopen(r);
        job = job_add(r, "true");
        job_wait_end(r, job, PHASE_FAILED);
        assert_non_null(strstr(job_failure(job)->message, "could not be started"));
        assert_int_equal(jobs_n_running(r->jobs), 0);
        job_unref(job);
}

/* In order, one at a time, and no more than may wait. */
static void test_line(void **state)
{
        enum { N = 10 };
        struct registry *r = *state;
        struct adding more;
        struct adding a[N];

        registry_limit(r, 1);
        r->options.max_queued = N - 1;
        jobs_set_options(r->jobs, &r->options);
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(adding_begin(r, &a[i], "true", (struct job_new){ 0 }), 0);
        assert_int_equal(jobs_n_queued(r->jobs), N - 1);
        assert_int_equal(adding_begin(r, &more, "true", (struct job_new){ 0 }), -ENOBUFS);
        assert_non_null(strstr(more.err.message, "9 background jobs are queued"));
        for (unsigned i = 0; i < N; i++) {
                WAIT_FOR(r, adding_is_done_, &a[i]);
                assert_int_equal(a[i].was_starting, i == 0);
        }
        for (unsigned i = 0; i < N; i++) {
                job_wait_end(r, a[i].job, PHASE_COMPLETED);
                assert_true(i == 0 || job_order(a[i].job) > job_order(a[i - 1].job));
                assert_true(i == 0 || job_started_ms(a[i].job) >= job_ended_ms(a[i - 1].job));
                assert_string_equal(r->starts.ids[i], job_process_id(a[i].job));
        }
        assert_int_equal(r->starts.n, N);
        assert_int_equal(jobs_n_queued(r->jobs), 0);
        for (unsigned i = 0; i < N; i++)
                job_unref(a[i].job);
}

/* Without a queue there is still room. */
static void test_no_queue(void **state)
{
        struct registry *r = *state;
        struct adding a[3];

        registry_limit(r, 2);
        r->options.max_queued = 0;
        jobs_set_options(r->jobs, &r->options);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(adding_begin(r, &a[i], "sleep 1000", (struct job_new){ 0 }),
                                 i < 2 ? 0 : -ENOBUFS);
        for (unsigned i = 0; i < 2; i++) {
                WAIT_FOR(r, adding_is_done_, &a[i]);
                assert_true(a[i].was_starting);
                job_wait_running(r, a[i].job);
                job_unref(a[i].job);
        }
}

/* What lingers has its room, and killing its job ends it. */
static void test_lingering(void **state)
{
        struct registry *r = *state;
        struct job *first, *second;

        registry_limit(r, 1);
        first = job_add(r, "sleep 1000 & exit 0");
        WAIT_FOR(r, job_has_ended_, first);
        assert_true(job_is_lingering(first));
        second = job_add(r, "true");
        registry_settle(r);
        assert_int_equal(job_phase(second), PHASE_QUEUED);
        assert_false(job_is_starting(second));
        assert_int_equal(jobs_n_running(r->jobs), 1);
        job_kill(first, 0);
        job_wait_end(r, second, PHASE_COMPLETED);
        assert_int_equal(job_phase(first), PHASE_COMPLETED);
        assert_int_equal(r->ends.n, 2);
        job_unref(first);
        job_unref(second);
}

static void test_input(void **state)
{
        struct registry *r = *state;
        struct job *job = job_add(r, "read x; test \"$x\" = hello");

        job_wait_running(r, job);
        assert_true(job_write(job, "hello\n", 6) >= 0);
        assert_int_equal(job_resize(job, &(struct pty_size){ 80, 24 }), -ENOTTY);
        job_wait_end(r, job, PHASE_COMPLETED);
        assert_int_equal(job_write(job, "x", 1), -EPIPE);
        job_unref(job);
}

/* The script's directory goes with the end. */
static void test_script_is_removed(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "");
        job_make_script(r, job_execution_id(job));
        job_launch_script(job, "sleep 1000");
        job_wait_running(r, job);
        assert_int_equal(registry_count_files(r, "scripts"), 1);
        job_kill(job, 0);
        registry_wait_files(r, "scripts", 0);
        job_unref(job);
}

struct spy {
        struct job_watch watch;
        struct spy *victim; /* removed when this one is told of a change */
        enum job_phase phases[8];
        unsigned n_changes;
        unsigned n_grown;
};

static void on_change(struct job_watch *w, struct job *job)
{
        struct spy *s = container_of(w, struct spy, watch);

        assert_true(s->n_changes < 8);
        s->phases[s->n_changes++] = job_phase(job);
        if (s->victim)
                job_watch_remove(&s->victim->watch);
}

static void on_grown(struct job_watch *w, struct job *job)
{
        (void)job;
        container_of(w, struct spy, watch)->n_grown++;
}

static bool has_grown(void *arg)
{
        return ((struct spy *)arg)->n_grown > 0;
}

static bool knows_end(void *arg)
{
        struct spy *s = arg;

        return s->n_changes > 0 && job_phase_is_final(s->phases[s->n_changes - 1]);
}

static void test_watches(void **state)
{
        struct registry *r = *state;
        struct spy a = { .watch = { .on_change = on_change, .on_grown = on_grown } };
        struct spy b = a, c = { .watch = { .on_change = NULL } };
        struct job *job;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "");
        a.victim = &b;
        job_watch_remove(&a.watch); /* harmless */
        job_watch_add(job, &a.watch);
        job_watch_add(job, &b.watch);
        job_watch_add(job, &c.watch);
        job_launch_script(job, "echo x; read x");
        WAIT_FOR(r, has_grown, &a);
        assert_int_equal(a.n_changes, 1);
        assert_int_equal(a.phases[0], PHASE_RUNNING);
        assert_int_equal(b.n_changes, 0);
        job_watch_remove(&b.watch);
        job_kill(job, 0);
        WAIT_FOR(r, knows_end, &a);
        assert_int_equal(a.phases[a.n_changes - 1], PHASE_KILLED);
        assert_int_equal(r->ends.n, 1);
        assert_int_equal(b.n_changes, 0);
        job_watch_remove(&a.watch);
        job_watch_remove(&c.watch);
        job_unref(job);
}

/* Newest first, whatever was written first. */
static void test_list(void **state)
{
        enum { N = 40 };
        struct registry *r = *state;
        struct adding a[N];
        unsigned n = 0;
        uint64_t last = UINT64_MAX;

        r->mode = OWNER_HOLDS;
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(adding_begin(r, &a[i], "true", (struct job_new){ 0 }), 0);
        assert_null(jobs_newest(r->jobs)); /* nothing is written */
        for (unsigned i = 0; i < N; i++)
                WAIT_FOR(r, adding_is_done_, &a[i]);
        for (struct job *job = jobs_newest(r->jobs); job; job = jobs_older(job)) {
                assert_true(job_order(job) < last);
                last = job_order(job);
                assert_ptr_equal(job, a[N - 1 - n].job);
                n++;
        }
        assert_int_equal(n, N);
        assert_int_equal(r->starts.n, N);
        for (unsigned i = 0; i < N; i++) {
                assert_string_equal(r->starts.ids[i], job_process_id(a[i].job));
                job_unref(a[i].job);
        }
}

/* A label of any length, cut between characters. */
static void test_long_command(void **state)
{
        struct registry *r = *state;
        CLEANUP(mem_free) char *script = xcalloc(1, 4001);
        struct job *job;

        script[0] = '#';
        for (unsigned i = 1; i < 3999; i += 2)
                memcpy(script + i, "\xc3\xa4", 2);
        job = job_add(r, script);
        assert_int_equal(strlen(job_command(job)), 1023);
        job_wait_end(r, job, PHASE_COMPLETED);
        job_unref(job);
}

static void test_drop(void **state)
{
        struct registry *r = *state;
        struct job *jobs[3];
        struct spy a = { .watch = { .on_change = on_change } };

        jobs[0] = job_add(r, "true");
        jobs[1] = job_add(r, "sleep 1000 & exit 0");
        jobs[2] = job_add(r, "sleep 1000");
        job_wait_end(r, jobs[0], PHASE_COMPLETED);
        WAIT_FOR(r, job_has_ended_, jobs[1]);
        job_wait_running(r, jobs[2]);
        registry_settle(r);
        job_watch_add(jobs[0], &a.watch);
        for (unsigned i = 0; i < 3; i++) {
                job_drop(jobs[i]);
                assert_true(job_is_gone(jobs[i]));
                assert_null(jobs_find(r->jobs, job_process_id(jobs[i])));
        }
        assert_int_equal(jobs_n_known(r->jobs), 0);
        assert_null(jobs_newest(r->jobs));
        assert_null(jobs_older(jobs[0]));
        assert_int_equal(a.n_changes, 0);
        registry_wait_files(r, "jobs", 2);
        assert_int_equal(a.n_changes, 1);
        job_kill(jobs[1], 0);
        registry_wait_files(r, "jobs", 1);
        assert_int_equal(r->ends.n, 2);
        job_kill(jobs[2], 0);
        registry_wait_files(r, "jobs", 0);
        assert_int_equal(r->ends.n, 2); /* nobody wants to know */
        job_drop(jobs[0]);
        for (unsigned i = 0; i < 3; i++)
                job_unref(jobs[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_runs),
                REGISTERED(test_ends),
                REGISTERED(test_refused),
                REGISTERED(test_no_keeper),
                REGISTERED(test_line),
                REGISTERED(test_no_queue),
                REGISTERED(test_lingering),
                REGISTERED(test_input),
                REGISTERED(test_script_is_removed),
                REGISTERED(test_watches),
                REGISTERED(test_list),
                REGISTERED(test_long_command),
                REGISTERED(test_drop),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
