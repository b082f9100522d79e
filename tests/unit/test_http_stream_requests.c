/* SPDX-License-Identifier: Apache-2.0 */

/* Streamed answers to all kinds of requests: old ones, without a body, answered late or never; and what is logged. */

#include "agent/http/stream.h"

#include <fcntl.h>

#include "agent/access_log.h"
#include "tests/unit/http_stream_fixture.h"

/* A client that cannot read chunks: the end of the connection is the end of the answer. */
static void test_http_1_0(void **state)
{
        static const char *const requests[] = {
                "GET /stream HTTP/1.0\r\n\r\n",
                "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
                start(&f, *state, 60000);
                get(&f, requests[i], 0);
                wait_until(&f, has_stream, &f);
                assert_int_equal(write_text(&f, "one\n"), 0);
                client_expect(&f.http, &f.client, "one\n");
                assert_int_equal(write_text(&f, "two\n"), 0);
                stream_end(f.stream);
                client_expect_end(&f.http, &f.client);
                assert_true(f.client.is_eof);
                assert_null(strstr(f.client.in.data, "Transfer-Encoding"));
                assert_string_equal(client_body(&f.client), "one\ntwo\n");
                assert_int_equal(f.n_closed, 1);
                http_stop(&f.http);
                client_close(&f.client);
        }
}

/* Then an ordinary end must not be the end of an answer that is not complete. */
static void test_http_1_0_broken(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        get(&f, "GET /stream HTTP/1.0\r\n\r\n", 0);
        wait_until(&f, has_stream, &f);
        assert_int_equal(write_text(&f, "one\n"), 0);
        client_expect(&f.http, &f.client, "one\n");
        stream_break(f.stream);
        client_expect_end(&f.http, &f.client);
        assert_true(f.client.is_reset);
        wait_until(&f, is_counted, &f.n_closed);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

static void test_connection_close(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        get(&f, "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 0);
        wait_until(&f, has_stream, &f);
        assert_int_equal(write_text(&f, "one\n"), 0);
        stream_end(f.stream);
        client_expect_end(&f.http, &f.client);
        assert_true(f.client.is_eof);
        expect_body(&f, "one\n", true);
        http_stop(&f.http);
        client_close(&f.client);
}

static void write_in_handler(struct fixture *f)
{
        assert_int_equal(write_text(f, "nobody wants to see this\n"), 0);
}

static void test_head(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        f.on_start = write_in_handler;
        get(&f, "HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        /* Whatever follows the header would be taken for the next answer. */
        client_expect_end(&f.http, &f.client);
        assert_true(f.client.is_eof);
        assert_non_null(strstr(f.client.in.data, "HTTP/1.1 200 "));
        assert_non_null(strstr(f.client.in.data, "Content-Type: " STREAM_TYPE_NDJSON "\r\n"));
        assert_null(strstr(f.client.in.data, "chunked"));
        assert_string_equal(client_body(&f.client), "");
        assert_int_equal(f.n_closed, 1);
        http_stop(&f.http);
        client_close(&f.client);
}

static void start_late(struct fixture *f, struct loop *loop)
{
        start(f, loop, 60000);
        get(f, GET("/late"), 0);
        wait_until(f, has_late, f);
}

static void answer_late(struct fixture *f)
{
        f->stream = request_reply_stream(f->late, 200, STREAM_TYPE_NDJSON, &f->ops, f);
        f->late = request_unref(f->late);
}

static void test_late(void **state)
{
        struct fixture f;

        start_late(&f, *state);
        answer_late(&f);
        assert_int_equal(write_text(&f, "late\n"), 0);
        stream_end(f.stream);
        client_expect(&f.http, &f.client, "0\r\n\r\n");
        expect_body(&f, "late\n", true);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

/* There is no stream, and so nothing to close. */
static void test_late_for_nobody(void **state)
{
        struct fixture f;

        start_late(&f, *state);
        client_close(&f.client);
        wait_until(&f, is_counted_64, &f.http.metrics.hangups);
        answer_late(&f);
        assert_null(f.stream);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 0);
}

static void test_late_for_the_agent(void **state)
{
        struct fixture f;

        start_late(&f, *state);
        http_drain(&f.http);
        answer_late(&f);
        assert_null(f.stream);
        client_expect(&f.http, &f.client, "SERVICE_UNAVAILABLE");
        wait_until(&f, is_true, &f.http.is_idle);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 0);
        client_close(&f.client);
}

static void test_late_finite_for_the_agent(void **state)
{
        struct fixture f;

        start_late(&f, *state);
        f.ops.is_finite = true;
        http_drain(&f.http);
        answer_late(&f);
        assert_non_null(f.stream);
        assert_int_equal(write_text(&f, "in time\n"), 0);
        stream_end(f.stream);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        expect_body(&f, "in time\n", true);
        wait_until(&f, is_true, &f.http.is_idle);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

/* --- what is logged --- */

static void finish(struct fixture *f)
{
        stream_end(f->stream);
        client_expect(&f->http, &f->client, "0\r\n\r\n");
}

static void leave(struct fixture *f)
{
        client_abort(&f->client);
        wait_until(f, is_counted, &f->n_closed);
}

static void test_access_log(void **state)
{
        void (*const ends[])(struct fixture * f) = { finish, leave };
        char path[] = "/tmp/test-stream-XXXXXX";
        int log_fd = mkstemp(path), stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        char line[1024] = "";
        struct fixture f;

        assert_true(log_fd >= 0 && stderr_fd >= 0);
        unlink(path);
        for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
                start(&f, *state, 60000);
                log_set_level(LOG_LEVEL_INFO);
                get(&f, GET("/stream"), 0);
                wait_until(&f, has_stream, &f);
                assert_int_equal(write_text(&f, "12345\n"), 0);
                client_expect(&f.http, &f.client, "12345\n");

                assert_int_equal(ftruncate(log_fd, 0), 0);
                assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
                assert_int_equal(dup2(log_fd, STDERR_FILENO), STDERR_FILENO);
                ends[i](&f);
                wait_until(&f, is_counted, &f.n_closed);
                access_log_flush();
                assert_int_equal(dup2(stderr_fd, STDERR_FILENO), STDERR_FILENO);

                assert_true(pread(log_fd, line, sizeof(line) - 1, 0) > 0);
                assert_non_null(strstr(line, "route=/stream status=200 "));
                assert_non_null(strstr(line, " sent=6 "));
                http_stop(&f.http);
                if (ends[i] == finish)
                        client_close(&f.client);
        }
        close(log_fd);
        close(stderr_fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_http_1_0, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_http_1_0_broken, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_connection_close, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_head, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_late, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_late_for_nobody, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_late_for_the_agent, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_late_finite_for_the_agent, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_access_log, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
