/* SPDX-License-Identifier: Apache-2.0 */

/* What is kept of jobs that have ended, and for how long. */

#include "tests/unit/jobs_fixture.h"

struct known {
        struct registry *r;
        size_t n;
};

static bool knows_n(void *arg)
{
        struct known *k = arg;

        return jobs_n_known(k->r->jobs) == k->n;
}

static void wait_known(struct registry *r, size_t n)
{
        struct known k = { r, n };

        WAIT_FOR(r, knows_n, &k);
        registry_wait_files(r, "jobs", (unsigned)n);
}

static struct job *add_ended(struct registry *r, const char *script, const char *callback_url)
{
        struct job *job = job_add_as(r, script, (struct job_new){ .callback_url = callback_url });

        job_wait_end(r, job, PHASE_COMPLETED);
        return job;
}

static void unref_all(struct job **jobs, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                job_unref(jobs[i]);
}

static void test_count(void **state)
{
        enum { N = 6 };
        struct registry *r = *state;
        struct job *jobs[N];

        r->options.max_kept = 3;
        jobs_set_options(r->jobs, &r->options);
        for (unsigned i = 0; i < N; i++)
                jobs[i] = add_ended(r, "echo x", NULL);
        wait_known(r, 3);
        for (unsigned i = 0; i < N; i++) {
                assert_int_equal(job_is_gone(jobs[i]), i < 3);
                assert_int_equal(jobs_find(r->jobs, job_execution_id(jobs[i])) != NULL, i >= 3);
                /* The reference holds what is in memory. */
                assert_int_equal(job_phase(jobs[i]), PHASE_COMPLETED);
                assert_int_equal(job_totals(jobs[i])[0], 2);
        }
        assert_ptr_equal(jobs_newest(r->jobs), jobs[5]);
        assert_null(jobs_older(jobs[0]));
        assert_null(jobs_older(jobs[3]));
        job_set_callback(jobs[0], json_object(), true); /* has no place any more */
        r->options.max_kept = 1;                        /* at run time */
        jobs_set_options(r->jobs, &r->options);
        assert_int_equal(jobs_n_known(r->jobs), 3);
        wait_known(r, 1);
        unref_all(jobs, N);
}

/* In the order of the ends, not of the starts; what runs is not counted. */
static void test_oldest_end_goes_first(void **state)
{
        struct registry *r = *state;
        struct job *jobs[4];

        r->options.max_kept = 2;
        jobs_set_options(r->jobs, &r->options);
        jobs[0] = job_add(r, "read x");
        jobs[1] = job_add(r, "sleep 1000");
        job_wait_running(r, jobs[0]);
        jobs[2] = add_ended(r, "true", NULL);
        jobs[3] = add_ended(r, "true", NULL);
        assert_true(job_write(jobs[0], "x\n", 2) >= 0);
        job_wait_end(r, jobs[0], PHASE_COMPLETED);
        wait_known(r, 3);
        assert_true(job_is_gone(jobs[2]));
        assert_false(job_is_gone(jobs[0]));
        unref_all(jobs, 4);
}

static void test_bytes(void **state)
{
        struct registry *r = *state;
        struct job *jobs[4];

        r->options.max_kept_bytes = 150 * KIB;
        jobs_set_options(r->jobs, &r->options);
        jobs[0] = add_ended(r, "head -c 60K /dev/zero", NULL);
        jobs[1] = add_ended(r, "head -c 10M /dev/zero >&2", NULL); /* counts as 64 KiB */
        registry_settle(r);
        assert_int_equal(jobs_n_known(r->jobs), 2);
        jobs[2] = add_ended(r, "true", NULL);
        registry_settle(r);
        assert_int_equal(jobs_n_known(r->jobs), 3);
        jobs[3] = add_ended(r, "head -c 30K /dev/zero", NULL);
        wait_known(r, 3);
        assert_true(job_is_gone(jobs[0]));
        assert_int_equal(r->jobs->kept_bytes, 94 * KIB);
        unref_all(jobs, 4);
}

static void test_age(void **state)
{
        struct registry *r = *state;
        struct job *jobs[2];

        r->options.keep_ms = 300;
        jobs_set_options(r->jobs, &r->options);
        jobs[0] = add_ended(r, "true", NULL);
        assert_int_equal(jobs_n_known(r->jobs), 1);
        wait_known(r, 0);
        assert_true(jobs_now_ms() - job_ended_ms(jobs[0]) >= 300);
        jobs[1] = add_ended(r, "true", NULL); /* the timer goes on */
        wait_known(r, 0);
        unref_all(jobs, 2);
}

static bool is_old(void *job)
{
        return jobs_now_ms() - job_ended_ms(job) >= 5;
}

static void test_age_over_restart(void **state)
{
        struct registry *r = *state;
        struct job *jobs[2];

        jobs[0] = add_ended(r, "true", NULL);
        jobs[1] = add_ended(r, "true", NULL);
        registry_close(r);
        WAIT_FOR(r, is_old, jobs[0]);
        r->options.keep_ms = 5;
        registry_open(r);
        assert_int_equal(jobs_n_known(r->jobs), 2); /* not from in there */
        wait_known(r, 0);
        unref_all(jobs, 2);
}

/* While its callback is under way its files are needed. */
static void test_callback_blocks(void **state)
{
        struct registry *r = *state;
        struct job *jobs[3];

        r->options.max_kept = 0;
        jobs_set_options(r->jobs, &r->options);
        jobs[0] = add_ended(r, "true", "http://127.0.0.1/");
        jobs[1] = add_ended(r, "true", NULL);
        wait_known(r, 1);
        jobs[2] = add_ended(r, "true", "http://127.0.0.1/");
        job_set_callback(jobs[0], json_object(), false);
        registry_settle(r);
        assert_int_equal(jobs_n_known(r->jobs), 2);
        job_set_callback(jobs[2], json_object(), true);
        assert_false(job_is_gone(jobs[2])); /* the caller still uses it */
        wait_known(r, 1);
        assert_ptr_equal(jobs_newest(r->jobs), jobs[0]);
        job_set_callback(jobs[0], json_object(), true);
        wait_known(r, 0);
        unref_all(jobs, 3);
}

/* As does what lingers: its keeper still uses the directory. */
static void test_lingering_blocks(void **state)
{
        struct registry *r = *state;
        struct job *job;

        r->options.max_kept = 0;
        jobs_set_options(r->jobs, &r->options);
        job = job_add(r, "sleep 1000 & exit 0");
        WAIT_FOR(r, job_has_ended_, job);
        registry_settle(r);
        assert_true(job_is_lingering(job));
        assert_false(job_is_gone(job));
        job_kill(job, 0);
        wait_known(r, 0);
        assert_true(job_is_gone(job));
        job_unref(job);
}

/* What cannot go is no reason for others to go: it does not count. */
static void test_protected_do_not_count(void **state)
{
        struct registry *r = *state;
        struct job *jobs[5];

        r->options.max_kept = 1;
        r->options.max_kept_bytes = 100;
        jobs_set_options(r->jobs, &r->options);
        jobs[0] = add_ended(r, "head -c 90 /dev/zero", "http://127.0.0.1/");
        jobs[1] = job_add(r, "head -c 90 /dev/zero; sleep 1000 & exit 0");
        WAIT_FOR(r, job_has_ended_, jobs[1]);
        assert_true(job_is_lingering(jobs[1]));
        jobs[2] = add_ended(r, "head -c 90 /dev/zero", NULL);
        registry_settle(r);
        assert_int_equal(jobs_n_known(r->jobs), 3);
        assert_ptr_equal(jobs_find(r->jobs, job_process_id(jobs[2])), jobs[2]);
        assert_int_equal(r->jobs->kept_bytes, 90);
        jobs[3] = add_ended(r, "true", NULL); /* the next one is what one more is */
        wait_known(r, 3);
        assert_true(job_is_gone(jobs[2]));

        /* Once they can go they are older than others, though they have come into the list after them. */
        job_set_callback(jobs[0], json_object(), true);
        wait_known(r, 2);
        assert_true(job_is_gone(jobs[0]));
        job_kill(jobs[1], 0);
        wait_known(r, 1);
        assert_true(job_is_gone(jobs[1]));
        assert_false(job_is_gone(jobs[3]));

        /* The same after a restart. */
        r->options.max_kept = 100;
        jobs_set_options(r->jobs, &r->options);
        jobs[4] = add_ended(r, "head -c 90 /dev/zero", "http://127.0.0.1/");
        r->options.max_kept = 1;
        registry_reopen(r);
        registry_settle(r);
        assert_int_equal(jobs_n_known(r->jobs), 2);
        assert_int_equal(r->jobs->n_ended, 1);
        unref_all(jobs, 5);
}

struct spy {
        struct job_watch watch;
        unsigned n_gone;
};

static void on_change(struct job_watch *w, struct job *job)
{
        struct spy *s = container_of(w, struct spy, watch);

        if (!job_is_gone(job))
                return;
        s->n_gone++;
        job_watch_remove(w);
        job_unref(job); /* perhaps the last reference */
}

static bool has_gone(void *arg)
{
        return ((struct spy *)arg)->n_gone > 0;
}

static void test_watchers_are_told(void **state)
{
        struct registry *r = *state;
        struct spy s = { .watch = { .on_change = on_change } };
        struct job *job = add_ended(r, "true", NULL);

        job_watch_add(job, &s.watch);
        r->options.max_kept = 0;
        jobs_set_options(r->jobs, &r->options);
        WAIT_FOR(r, has_gone, &s);
        wait_known(r, 0);
        assert_int_equal(s.n_gone, 1);
}

/* An agent that is killed while it removes a directory must not have made a job that waits. */
static void test_interrupted_removal(void **state)
{
        struct registry *r = *state;
        struct job *job = add_ended(r, "true", NULL);
        CLEANUP(mem_free) char *path = xasprintf("%s/" JOB_FACTS, job_dir(job));

        registry_close(r);
        assert_int_equal(unlink(path), 0);
        registry_open(r);
        assert_int_equal(jobs_n_known(r->jobs), 0);
        wait_known(r, 0);
        assert_int_equal(r->starts.n, 0);
        job_unref(job);
}

/* More than go in one turn of the loop: nothing is left of them. */
static void test_crowd(void **state)
{
        enum { N = 100 };
        struct registry *r = *state;
        struct adding a[N];

        registry_limit(r, 8);
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(adding_begin(r, &a[i], "true", (struct job_new){ 0 }), 0);
        for (unsigned i = 0; i < N; i++) {
                WAIT_FOR(r, adding_is_done_, &a[i]);
                job_wait_end(r, a[i].job, PHASE_COMPLETED);
                assert_string_equal(r->starts.ids[i], job_process_id(a[i].job));
        }
        r->options.max_kept = 10;
        jobs_set_options(r->jobs, &r->options);
        wait_known(r, 10);
        assert_int_equal(r->ends.n, N);
        registry_wait_files(r, "scripts", 0);
        for (unsigned i = 0; i < N; i++)
                job_unref(a[i].job);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_count),
                REGISTERED(test_oldest_end_goes_first),
                REGISTERED(test_bytes),
                REGISTERED(test_age),
                REGISTERED(test_age_over_restart),
                REGISTERED(test_callback_blocks),
                REGISTERED(test_lingering_blocks),
                REGISTERED(test_protected_do_not_count),
                REGISTERED(test_watchers_are_told),
                REGISTERED(test_interrupted_removal),
                REGISTERED(test_crowd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
