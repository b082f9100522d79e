/* SPDX-License-Identifier: Apache-2.0 */

/* What a receiver of callbacks gets to read, whatever a job wrote. */

#include "tests/lib/repair_utf8.h"
#include "tests/unit/callback_fixture.h"

/* --- how it ended --- */

static void test_completed(void **state)
{
        struct fixture *f = *state;
        json_auto_t *json = NULL;

        f->facts.language = "python";
        f->facts.name = "nightly \xc3\xa9";
        write_logs(f, "out \"1\"\n", "err\t2\n");
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_string_equal(text_of(json, "execution_id"), "exec_1");
        assert_string_equal(text_of(json, "process_id"), "proc_1");
        assert_string_equal(text_of(json, "status"), "completed");
        assert_true(bool_of(json, "success"));
        assert_string_equal(text_of(json, "stdout"), "out \"1\"\n");
        assert_string_equal(text_of(json, "stderr"), "err\t2\n");
        assert_int_equal(integer_of(json, "exit_code"), 0);
        assert_true(json_real_value(json_object_get(json, "execution_time")) == 1.25);
        assert_string_equal(text_of(json, "reason"), "exit");
        assert_string_equal(text_of(json, "language"), "python");
        assert_string_equal(text_of(json, "name"), "nightly \xc3\xa9");
        assert_string_equal(text_of(json, "encoding"), "utf-8");
        assert_false(bool_of(json, "stdout_truncated"));
        assert_false(bool_of(json, "stderr_truncated"));
        assert_int_equal(integer_of(json, "stdout_bytes"), 8);
        assert_int_equal(integer_of(json, "stderr_bytes"), 6);
        assert_string_equal(text_of(json, "started_at"), "2023-11-14T22:13:20.123Z");
        assert_string_equal(text_of(json, "completed_at"), "2023-11-14T22:13:21.373Z");
        assert_non_null(text_of(json, "timestamp"));
        expect_null(json, "error");
        assert_int_equal(json_array_size(json_object_get(json, "rich_outputs")), 0);
        expect_null(json, "usage");
        assert_int_equal(json_object_size(json), 22);
}

static void test_usage(void **state)
{
        struct fixture *f = *state;
        json_auto_t *json = NULL;
        const json_t *usage;

        f->result.usage = (struct usage){ .cpu_us = 1500000,
                                          .user_us = 1500000,
                                          .max_rss = 4096,
                                          .has_io = true,
                                          .peak_tasks = 3 };
        f->facts.ignores_tasks = true;
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        usage = json_object_get(json, "usage");
        assert_true(json_real_value(json_object_get(usage, "cpu_time")) == 1.5);
        assert_true(json_real_value(json_object_get(usage, "user_seconds")) == 1.5);
        assert_true(json_real_value(json_object_get(usage, "system_seconds")) == 0);
        assert_int_equal(integer_of(usage, "max_rss_bytes"), 4096);
        assert_int_equal(integer_of(usage, "io_read_bytes"), 0);
        assert_int_equal(integer_of(usage, "io_write_bytes"), 0);
        assert_int_equal(integer_of(usage, "peak_processes"), 3);
        assert_int_equal(json_object_size(usage), 7);
        assert_string_equal(
                json_string_value(json_array_get(json_object_get(json, "limits_not_enforced"), 0)),
                "max_processes");
}

static void expect_end(struct fixture *f, const char *status, const char *reason, const char *error)
{
        json_auto_t *json = make(f, CALLBACK_MAX_TEXT, NULL);

        assert_string_equal(text_of(json, "status"), status);
        assert_false(bool_of(json, "success"));
        if (reason)
                assert_string_equal(text_of(json, "reason"), reason);
        else
                expect_null(json, "reason");
        if (error)
                assert_string_equal(text_of(json, "error"), error);
        else
                expect_null(json, "error");
}

static void test_other_ends(void **state)
{
        const struct job_failure failure = { .message = "code: no \xc3\xa9 such thing \xc3" };
        struct fixture *f = *state;

        write_logs(f, "", "");
        f->facts.phase = PHASE_FAILED;
        f->result.exit_code = 3;
        expect_end(f, "failed", "exit", "exit code 3");
        f->result.reason = KEEPER_SIGNAL;
        f->result.signal = SIGSEGV;
        expect_end(f, "failed", "signal", "ended by SIGSEGV");
        f->result.reason = KEEPER_OOM;
        expect_end(f, "failed", "oom", "ran out of memory");
        f->result.reason = KEEPER_CPU_LIMIT;
        expect_end(f, "failed", "cpu_limit", "used up its processor time (cpu_seconds)");
        f->result.reason = KEEPER_SPAWN;
        expect_end(f, "failed", "spawn", "the program could not be started");
        f->result.reason = KEEPER_LOST;
        expect_end(f, "failed", "lost",
                   "the keeper of the job was killed, or the machine was restarted, and the job "
                   "with it; how it would have ended is not known");
        f->facts.failure = &failure;
        expect_end(f, "failed", "lost", "code: no \xc3\xa9 such thing ");
        f->facts.failure = NULL;

        f->facts.phase = PHASE_TIMED_OUT;
        f->facts.timeout_ms = 2500;
        f->result.reason = KEEPER_TIMEOUT;
        expect_end(f, "timeout", "timeout", "timed out after 2.5 s");
        f->facts.phase = PHASE_KILLED;
        f->result.reason = KEEPER_KILLED;
        expect_end(f, "killed", "killed", NULL);
}

/* No directory, no result: what could not be started. */
static void test_never_ran(void **state)
{
        struct fixture *f = *state;
        json_auto_t *json = NULL;

        f->facts.phase = PHASE_FAILED;
        f->facts.result = NULL;
        f->facts.started_ms = 0;
        expect_end(f, "failed", NULL, "the program could not be started");
        assert_int_equal(rmdir(f->dir), 0);
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_int_equal(mkdir(f->dir, 0700), 0);
        expect_null(json, "exit_code");
        expect_null(json, "started_at");
        expect_null(json, "language");
        expect_null(json, "name");
        assert_string_equal(text_of(json, "stdout"), "");
        assert_false(bool_of(json, "stdout_truncated"));
}

/* --- what it wrote --- */

static void test_any_bytes(void **state)
{
        struct fixture *f = *state;
        char bytes[1024], repaired[3 * sizeof(bytes)];
        CLEANUP(mem_free) char *exact = NULL;
        json_auto_t *json = NULL, *base64 = NULL;
        size_t size;

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)(i < 256 ? i : (i * 0x9e3779b1u) >> 24);
        write_log(f, JOBLOG_STDOUT, bytes, sizeof(bytes), CAPACITY);
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        size = repair_utf8(repaired, bytes, sizeof(bytes));
        assert_int_equal(json_string_length(json_object_get(json, "stdout")), size);
        assert_memory_equal(text_of(json, "stdout"), repaired, size);

        f->facts.is_base64 = true;
        base64 = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_string_equal(text_of(base64, "encoding"), "base64");
        assert_int_equal(base64_to_bytes(text_of(base64, "stdout"),
                                         strlen(text_of(base64, "stdout")), &exact, &size),
                         0);
        assert_int_equal(size, sizeof(bytes));
        assert_memory_equal(exact, bytes, size);
}

/* A ring that has come around: the end is there, and the total is told. */
static void test_old_output_is_gone(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *bytes = xcalloc(1, 10001);
        json_auto_t *json = NULL;

        memset(bytes, 'a', 6000);
        memset(bytes + 6000, 'b', 4000);
        write_log(f, JOBLOG_STDOUT, bytes, 10000, 4096);
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_int_equal(integer_of(json, "stdout_bytes"), 10000);
        assert_true(bool_of(json, "stdout_truncated"));
        assert_int_equal(strlen(text_of(json, "stdout")), 4096);
        assert_string_equal(text_of(json, "stdout") + 4096 - 4000, bytes + 6000);
}

static void test_no_character_is_cut(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *bytes = xcalloc(1, 9001);

        for (size_t i = 0; i < 9000; i += 3)
                memcpy(bytes + i, "\xe2\x82\xac", 3);
        for (uint64_t capacity = 4096; capacity < 4100; capacity++) {
                json_auto_t *json = NULL;
                size_t size;

                write_log(f, JOBLOG_STDOUT, bytes, 9000, capacity);
                json = make(f, CALLBACK_MAX_TEXT, NULL);
                size = strlen(text_of(json, "stdout"));
                assert_int_equal(size, capacity / 3 * 3);
                assert_string_equal(text_of(json, "stdout"), bytes + 9000 - size);
        }
        /* What was never whole is not our cut. */
        write_log(f, JOBLOG_STDOUT, "\x82\xac!", 3, CAPACITY);
        {
                json_auto_t *json = make(f, CALLBACK_MAX_TEXT, NULL);

                assert_string_equal(text_of(json, "stdout"), "\xef\xbf\xbd\xef\xbf\xbd!");
        }
}

/* The worst bytes for each form, at full size. */
static void test_body_is_limited(void **state)
{
        static const unsigned char worst[] = { 0x01, 0xff, '"', 'x' };
        struct fixture *f = *state;
        CLEANUP(mem_free) char *bytes = xcalloc(1, CAPACITY);

        for (unsigned i = 0; i < sizeof(worst); i++) {
                memset(bytes, worst[i], CAPACITY);
                write_log(f, JOBLOG_STDOUT, bytes, CAPACITY, CAPACITY);
                write_log(f, JOBLOG_STDERR, bytes, CAPACITY, CAPACITY);
                for (int base64 = 0; base64 < 2; base64++) {
                        json_auto_t *json = NULL;
                        size_t size;

                        f->facts.is_base64 = base64;
                        json = make(f, CALLBACK_MAX_TEXT, &size);
                        assert_true(size <= LIMIT_WEBHOOK_BODY);
                        assert_true(bool_of(json, "stdout_truncated"));
                        assert_int_equal(integer_of(json, "stderr_bytes"), CAPACITY);
                        if (worst[i] == 0x01 && !base64) /* there is no room for all */
                                assert_true(size > LIMIT_WEBHOOK_BODY - 2 * MIB);
                        else if (!base64)
                                assert_int_equal(
                                        json_string_length(json_object_get(json, "stderr")),
                                        LIMIT_JOB_CALLBACK * (worst[i] == 0xff ? 3 : 1));
                }
        }
}

static void expect_shares(struct fixture *f, size_t n_out, size_t n_err, size_t max_text,
                          size_t expected_out, size_t expected_err)
{
        CLEANUP(mem_free) char *bytes = xcalloc(1, 1000);
        json_auto_t *json = NULL;
        size_t size;

        memset(bytes, '\n', 1000);
        write_log(f, JOBLOG_STDOUT, bytes, n_out, CAPACITY);
        write_log(f, JOBLOG_STDERR, bytes, n_err, CAPACITY);
        json = make(f, max_text, &size);
        assert_int_equal(json_string_length(json_object_get(json, "stdout")), expected_out);
        assert_int_equal(json_string_length(json_object_get(json, "stderr")), expected_err);
        assert_int_equal(bool_of(json, "stdout_truncated"), expected_out < n_out);
        assert_int_equal(bool_of(json, "stderr_truncated"), expected_err < n_err);
}

/* A newline takes two bytes. */
static void test_streams_share(void **state)
{
        struct fixture *f = *state;

        expect_shares(f, 50, 50, 200, 50, 50);
        expect_shares(f, 51, 50, 200, 50, 50);
        expect_shares(f, 1000, 1000, 200, 50, 50);
        expect_shares(f, 1000, 10, 200, 90, 10);
        expect_shares(f, 10, 1000, 200, 10, 90);
        expect_shares(f, 0, 1000, 200, 0, 100);
        expect_shares(f, 1000, 1000, 0, 0, 0);
}

/* --- what may be in the way --- */

static void test_damaged_log(void **state)
{
        struct fixture *f = *state;
        CLEANUP(mem_free) char *path = xasprintf("%s/%s", f->dir, JOBLOG_STDOUT);
        json_auto_t *json = NULL;

        write_logs(f, "out", "err");
        assert_int_equal(truncate(path, 100), 0);
        json = make(f, CALLBACK_MAX_TEXT, NULL);
        assert_string_equal(text_of(json, "stdout"), "");
        assert_string_equal(text_of(json, "stderr"), "err");
}

static void test_no_descriptors(void **state)
{
        struct fixture *f = *state;
        struct error err = ERROR_INIT;
        struct rlimit limit, none;
        char *body = NULL;
        size_t size;
        int r;

        write_logs(f, "out", "err");
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = 0;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = callback_body_make(callback_fields(&f->facts), f->dir, false,
                               limits_of(CALLBACK_MAX_TEXT), &body, &size, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_int_equal(r, -EMFILE);
        assert_null(body);
}

static void test_no_memory(void **state)
{
        struct fixture *f = *state;
        unsigned n_failed = 0;
        int r;

        write_logs(f, "out", "err");
        do {
                struct error err = ERROR_INIT;
                char *body = NULL;
                size_t size;

                alloc_fail_after(n_failed + 1);
                r = callback_body_make(callback_fields(&f->facts), f->dir, false,
                                       limits_of(CALLBACK_MAX_TEXT), &body, &size, &err);
                alloc_fail_after(0);
                free(body);
                if (r < 0)
                        assert_int_equal(r, -ENOMEM);
        } while (r < 0 && ++n_failed < 20);
        assert_int_equal(r, 0);
        assert_int_equal(n_failed, 3); /* both streams, and the body */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_completed),           TEST(test_usage),
                TEST(test_other_ends),          TEST(test_never_ran),
                TEST(test_any_bytes),           TEST(test_old_output_is_gone),
                TEST(test_no_character_is_cut), TEST(test_body_is_limited),
                TEST(test_streams_share),       TEST(test_damaged_log),
                TEST(test_no_descriptors),      TEST(test_no_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
