/* SPDX-License-Identifier: Apache-2.0 */

/* Jobs are found by what their requests said of themselves, also by the next registry. */

#include "tests/unit/jobs_fixture.h"

/* The same job, of the next registry. */
static struct job *again(struct registry *r, struct job *job)
{
        struct job *found = jobs_find(r->jobs, job_process_id(job));

        assert_non_null(found);
        assert_ptr_not_equal(found, job);
        job_unref(job);
        return job_ref(found);
}

static void expect_repeat(struct registry *r, const char *id, struct job *job, const char *body)
{
        assert_ptr_equal(jobs_find_repeat(r->jobs, id), job);
        if (job)
                assert_string_equal(job_repeat_body(job), body);
}

/* They are found by what their requests said, as long as they are known. */
static void test_repeats(void **state)
{
        struct registry *r = *state;
        struct job *one, *other, *none, *dropped;

        expect_repeat(r, "one", NULL, NULL);
        one = job_add_as(r, "read x", (struct job_new){ .repeat_id = "one", .repeat_body = "b1" });
        other = job_add_as(r, "true", (struct job_new){ .repeat_id = "two", .repeat_body = "b2" });
        none = job_add(r, "true");
        dropped = job_add_as(r, "true", (struct job_new){ .repeat_id = "3", .repeat_body = "b3" });
        assert_null(job_repeat_body(none));
        job_wait_running(r, one);
        job_wait_end(r, other, PHASE_COMPLETED);
        job_wait_end(r, none, PHASE_COMPLETED);
        job_wait_end(r, dropped, PHASE_COMPLETED);
        for (unsigned i = 0; i < 3; i++) {
                expect_repeat(r, "one", one, "b1");
                expect_repeat(r, "two", other, "b2");
                expect_repeat(r, "b1", NULL, NULL);
                expect_repeat(r, job_process_id(one), NULL, NULL);
                expect_repeat(r, "", NULL, NULL);
                assert_null(jobs_find(r->jobs, "one"));
                if (dropped) {
                        expect_repeat(r, "3", dropped, "b3");
                        job_drop(dropped);
                        dropped = job_unref(dropped);
                }
                expect_repeat(r, "3", NULL, NULL);
                registry_wait_files(r, "jobs", 3);
                registry_reopen(r);
                one = again(r, one);
                other = again(r, other);
        }
        job_drop(one); /* as of now, though it runs */
        expect_repeat(r, "one", NULL, NULL);
        job_kill(one, 0);
        job_wait_end(r, one, PHASE_KILLED);
        job_unref(one);
        job_unref(none);

        /* The next one takes the place of what was removed. */
        job_drop(other);
        job_unref(other);
        other = job_add_as(r, "true", (struct job_new){ .repeat_id = "two", .repeat_body = "b4" });
        expect_repeat(r, "two", other, "b4");
        job_wait_end(r, other, PHASE_COMPLETED);
        job_unref(other);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_repeats),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
