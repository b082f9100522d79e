/* SPDX-License-Identifier: Apache-2.0 */

/* The registry and its directory: whose it is, damaged files, a full disk, and the end while workers write. */

#include "tests/unit/jobs_fixture.h"
#include "tests/unit/keeper_mount.h"

static mode_t mode_of(const char *path)
{
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        return st.st_mode & 07777;
}

static void test_modes(void **state)
{
        struct registry *r = *state;
        CLEANUP(mem_free) char *base = xasprintf("%s/new/state", r->state_dir);
        CLEANUP(mem_free) char *jobs = xasprintf("%s/jobs", base);
        CLEANUP(mem_free) char *scripts = xasprintf("%s/scripts", base);
        mode_t mask = umask(077);
        struct job *job;

        r->options.state_dir = base;
        registry_reopen(r);
        (void)umask(mask);
        assert_int_equal(mode_of(base), 0711);
        assert_int_equal(mode_of(jobs), 0700);
        assert_int_equal(mode_of(scripts), 0711);
        assert_string_equal(jobs_script_root(r->jobs), scripts);
        job = job_add(r, "true");
        assert_int_equal(mode_of(job_dir(job)), 0700);
        job_wait_end(r, job, PHASE_COMPLETED);
        job_unref(job);
}

static void test_lock(void **state)
{
        struct registry *r = *state;
        struct jobs *first = r->jobs;
        struct error err = ERROR_INIT;

        assert_int_equal(registry_try(r, &err), -EBUSY);
        assert_non_null(strstr(err.message, "is used by another agent"));
        assert_ptr_equal(r->jobs, first);
        supervisor_on_room(r->base->supervisor, NULL, NULL);
        registry_reopen(r); /* once it is closed it is free */
}

static void refuse(struct registry *r, const char *dir)
{
        struct error err = ERROR_INIT;

        r->options.state_dir = dir;
        assert_true(registry_try(r, &err) < 0);
        assert_non_null(strstr(err.message, dir));
        assert_null(r->jobs);
}

static void test_foreign_directory(void **state)
{
        struct registry *r = *state;
        CLEANUP(mem_free) char *link = xasprintf("%s/link", r->state_dir);
        CLEANUP(mem_free) char *file = xasprintf("%s/file", r->state_dir);
        CLEANUP(mem_free) char *jobs = xasprintf("%s/jobs", r->state_dir);

        registry_close(r);
        assert_int_equal(chmod(r->state_dir, 0777), 0);
        refuse(r, r->state_dir);
        assert_int_equal(chmod(r->state_dir, 0700), 0);
        assert_int_equal(symlink("/tmp", link), 0);
        refuse(r, link);
        file_write(r->state_dir, "file", "");
        refuse(r, file);
        /* Nor what is below it. */
        assert_int_equal(rmdir(jobs), 0);
        assert_int_equal(symlink("/tmp", jobs), 0);
        r->options.state_dir = r->state_dir;
        refuse(r, r->state_dir);
        assert_int_equal(unlink(jobs), 0);
        registry_open(r);
}

/* Whatever stands in job.json, the directory goes, and nothing else does. */
static void test_damaged_facts(void **state)
{
        static const char *const texts[] = {
                "",
                "{",
                "null",
                "[1]",
                "{}",
                "{\"version\":1}",
                "\xff\xfe",
                "{\"version\":2,\"process_id\":\"ID\",\"execution_id\":\"exec_1\",\"order\":1,"
                "\"queued_ms\":1,\"name\":\"\",\"command\":\"\",\"timeout_ms\":0,"
                "\"has_terminal\":false,\"is_base64\":false}",
                "{\"version\":1,\"process_id\":\"other\",\"execution_id\":\"exec_1\",\"order\":1,"
                "\"queued_ms\":1,\"name\":\"\",\"command\":\"\",\"timeout_ms\":0,"
                "\"has_terminal\":false,\"is_base64\":false}",
                "{\"version\":1,\"process_id\":\"ID\",\"execution_id\":\"../../etc\",\"order\":1,"
                "\"queued_ms\":1,\"name\":\"\",\"command\":\"\",\"timeout_ms\":0,"
                "\"has_terminal\":false,\"is_base64\":false}",
                "{\"version\":1,\"process_id\":\"ID\",\"execution_id\":\"exec_1\",\"order\":-1,"
                "\"queued_ms\":1,\"name\":\"\",\"command\":\"\",\"timeout_ms\":0,"
                "\"has_terminal\":false,\"is_base64\":false}",
        };
        struct registry *r = *state;
        struct job *kept = job_add(r, "true");
        CLEANUP(mem_free) char *dir = xasprintf("%s/jobs/ID", r->state_dir);

        job_wait_end(r, kept, PHASE_COMPLETED);
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                registry_close(r);
                assert_int_equal(mkdir(dir, 0700), 0);
                file_write(dir, JOB_FACTS, texts[i]);
                registry_open(r);
                assert_int_equal(jobs_n_known(r->jobs), 1);
                assert_non_null(jobs_find(r->jobs, job_process_id(kept)));
                registry_wait_files(r, "jobs", 1);
        }
        assert_int_equal(r->starts.n, 0);
        job_unref(kept);
}

/* Files where directories should be, and links. */
static void test_rubbish(void **state)
{
        struct registry *r = *state;
        CLEANUP(mem_free) char *dir = xasprintf("%s/jobs", r->state_dir);
        CLEANUP(mem_free) char *link = xasprintf("%s/link", dir);
        CLEANUP(mem_free) char *empty = xasprintf("%s/proc_empty", dir);
        CLEANUP(mem_free) char *strange = xasprintf("%s/proc_strange/job.json", dir);

        registry_close(r);
        file_write(dir, "file", "");
        assert_int_equal(symlink("/tmp", link), 0);
        assert_int_equal(mkdir(empty, 0700), 0);
        file_write(empty, JOB_PROGRAM, "{}");
        *strrchr(strange, '/') = '\0';
        assert_int_equal(mkdir(strange, 0700), 0);
        strange[strlen(strange)] = '/';
        assert_int_equal(mkdir(strange, 0700), 0);
        registry_open(r);
        assert_int_equal(jobs_n_known(r->jobs), 0);
        registry_wait_files(r, "jobs", 0);
        assert_int_equal(access("/tmp", F_OK), 0);
}

/* The other files: each has its own consequence. */
static void test_damaged_others(void **state)
{
        struct registry *r = *state;
        struct job_new spec = { .callback_url = "http://127.0.0.1/" };
        struct job *status, *program, *callback;
        char *ids[3];

        status = job_add(r, "true");
        callback = job_add_as(r, "true", spec);
        job_wait_end(r, status, PHASE_COMPLETED);
        job_wait_end(r, callback, PHASE_COMPLETED);
        r->mode = OWNER_HOLDS;
        program = job_add(r, "true");
        ids[0] = xstrdup(job_process_id(status));
        ids[1] = xstrdup(job_process_id(callback));
        ids[2] = xstrdup(job_process_id(program));
        registry_close(r);
        file_write(job_dir(status), KEEPER_STATUS, "reason=exit\nexit_co");
        file_write(job_dir(callback), JOB_CALLBACK, "{\"status\":");
        file_write(job_dir(program), JOB_PROGRAM, "{\"script\":\"tru");
        job_unref(status);
        job_unref(callback);
        job_unref(program);
        r->mode = OWNER_LAUNCHES;
        registry_open(r);
        status = jobs_find(r->jobs, ids[0]);
        callback = jobs_find(r->jobs, ids[1]);
        program = jobs_find(r->jobs, ids[2]);
        job_wait_end(r, status, PHASE_FAILED); /* it has run, and nobody knows how it ended */
        assert_int_equal(job_result(status)->reason, KEEPER_LOST);
        assert_int_equal(job_phase(callback), PHASE_COMPLETED);
        assert_null(job_callback(callback));
        job_wait_end(r, program, PHASE_FAILED);
        assert_int_equal(job_failure(program)->problem, 9);
        assert_int_equal(r->n_read_errors, 1);
        registry_settle(r);
        assert_int_equal(r->ends.n, 3); /* the one with the callback among them */
        for (unsigned i = 0; i < 3; i++)
                free(ids[i]);
}

/* --- a full disk --- */

static void fill(const struct registry *r)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/ballast", r->state_dir);
        CLEANUP(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        static const char zeroes[4096];

        assert_true(fd >= 0);
        while (write(fd, zeroes, sizeof(zeroes)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
}

static void make_room(const struct registry *r)
{
        CLEANUP(mem_free) char *path = xasprintf("%s/ballast", r->state_dir);

        assert_int_equal(unlink(path), 0);
}

static bool has_callback_file(void *arg)
{
        return file_exists(job_dir(arg), JOB_CALLBACK);
}

static bool has_status_file(void *arg)
{
        return file_exists(job_dir(arg), KEEPER_STATUS);
}

static void expect_no_space(struct registry *r, const char *script)
{
        uint64_t n_rooms = registry_rooms(r);
        struct adding a;

        assert_int_equal(adding_begin(r, &a, script, (struct job_new){ 0 }), 0);
        WAIT_FOR(r, adding_is_done_, &a);
        assert_null(a.job);
        assert_int_equal(a.err.code, -ENOSPC);
        assert_non_null(strstr(a.err.message, "/jobs/proc_"));
        assert_non_null(strstr(a.err.message, ": No space left on device"));
        assert_int_equal(registry_rooms(r), n_rooms);
        assert_int_equal(jobs_n_queued(r->jobs), 0);
}

static void use_full_disk(void **state)
{
        struct registry *r = registry_in_child(*state);
        struct job_new spec = { .callback_url = "http://127.0.0.1/" };
        struct job *job, *held;
        CLEANUP(mem_free) char *large = xcalloc(1, 100 * KIB);
        void *own = r;

        if (!keeper_mount_disk(r->state_dir, "256k"))
                _exit(77);
        assert_int_equal(chmod(r->state_dir, 0711), 0); /* everybody's, else */
        registry_open(r);
        job = job_add_as(r, "true", spec);
        job_wait_end(r, job, PHASE_COMPLETED);
        r->mode = OWNER_HOLDS;
        held = job_add(r, "true");

        fill(r);
        expect_no_space(r, "true");
        expect_no_space(r, memset(large, '#', 100 * KIB - 1));
        assert_int_equal(registry_count_files(r, "jobs"), 2);
        job_set_callback(job, json_pack("{s:s}", "status", "delivered"), true);
        job_kill(held, 0);
        WAIT_FOR(r, job_has_ended_, held);
        assert_int_equal(job_phase(held), PHASE_KILLED);
        assert_true(has_status_file(held)); /* its space was there */
        while (job->is_storing || held->is_storing)
                registry_settle(r);
        assert_false(has_callback_file(job));
        assert_true(job_callback_is_final(job));

        make_room(r);
        WAIT_FOR(r, has_callback_file, job); /* by itself */
        job_unref(held);
        r->mode = OWNER_LAUNCHES;
        held = job_add(r, "true");
        job_wait_end(r, held, PHASE_COMPLETED);

        /* With space for the first files, but not for the logs. */
        r->mode = OWNER_HOLDS;
        job_unref(job);
        job = job_add(r, "true");
        fill(r);
        job_launch_script(job, "true");
        job_wait_end(r, job, PHASE_FAILED);
        assert_int_equal(job_result(job)->reason, KEEPER_SPAWN);
        make_room(r);
        WAIT_FOR(r, has_status_file, job);
        job_unref(job);
        job_unref(held);
        registry_kill_all(r);
        registry_close(r);
        WAIT_FOR(r, registry_has_no_child_, NULL);
        fixture_teardown(&r->base_state);
        (void)umount2(r->state_dir, MNT_DETACH);
        free(own);
}

static void test_full_disk(void **state)
{
        struct registry *r = *state;
        int status;
        pid_t pid;

        registry_close(r);
        pid = registry_fork(use_full_disk, r);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                SKIP_TEST("no mounting here");
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- the end --- */

/* Whoever is owed something hears of it; the others do not. */
static void test_close_while_workers_run(void **state)
{
        enum { N = 20 };
        struct registry *r = *state;
        struct job *running = job_add(r, "sleep 1000"), *ended = job_add(r, "true");
        struct adding a[N];

        job_wait_running(r, running);
        job_wait_end(r, ended, PHASE_COMPLETED);
        registry_limit(r, 2);
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(adding_begin(r, &a[i], "true", (struct job_new){ 0 }), 0);
        job_drop(ended);
        job_kill(running, 0);
        r->starts.n = r->ends.n = 0;
        registry_close(r);
        assert_int_equal(registry_rooms(r), 0);
        for (unsigned i = 0; i < N; i++) {
                assert_int_equal(a[i].n, 1);
                assert_non_null(a[i].job);
                assert_false(a[i].was_starting);
        }
        assert_int_equal(r->starts.n + r->ends.n, 0);
        registry_limit(r, 100);
        registry_open(r);
        for (unsigned i = 0; i < N; i++) {
                struct job *job = jobs_find(r->jobs, job_process_id(a[i].job));

                assert_non_null(job);
                job_wait_end(r, job, PHASE_COMPLETED);
                job_unref(a[i].job);
        }
        job_unref(running);
        job_unref(ended);
}

static void on_late_program(void *arg, json_t *program, const struct error *err)
{
        assert_null(program);
        assert_int_equal(err->code, -ESHUTDOWN);
        ++*(unsigned *)arg;
}

static void test_closing_accepts_nothing(void **state)
{
        struct registry *r = *state;
        struct adding a;
        struct job *job;
        unsigned n = 0;

        r->mode = OWNER_HOLDS;
        job = job_add(r, "true");
        jobs_close(r->jobs, registry_on_closed_, r);
        assert_int_equal(adding_begin(r, &a, "true", (struct job_new){ 0 }), -ESHUTDOWN);
        job_read_program(job, on_late_program, &n);
        assert_int_equal(n, 1);
        job_kill(job, 0);
        job_drop(job);
        job_launch_script(job, "true");
        assert_int_equal(job_phase(job), PHASE_QUEUED);
        WAIT_FOR(r, registry_is_closed_, r);
        job_read_program(job, on_late_program, &n);
        assert_int_equal(n, 2);
        job_unref(job);
        r->mode = OWNER_LAUNCHES;
        registry_open(r);
        job = jobs_newest(r->jobs);
        job_wait_end(r, job, PHASE_COMPLETED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                REGISTERED(test_modes),
                REGISTERED(test_lock),
                REGISTERED(test_foreign_directory),
                REGISTERED(test_damaged_facts),
                REGISTERED(test_rubbish),
                REGISTERED(test_damaged_others),
                REGISTERED(test_full_disk),
                REGISTERED(test_close_while_workers_run),
                REGISTERED(test_closing_accepts_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
