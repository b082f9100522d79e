/* SPDX-License-Identifier: Apache-2.0 */

/* Bodies that a handler reads piece by piece: they arrive whole, wait when they have to, and end in one way. */

#include "tests/unit/http_body_fixture.h"

static void test_a_body_arrives(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        put(&f, PUT("Content-Length: 5\r\n") "hello");
        client_expect(&f.http, &f.client, "received 5");
        assert_true(f.has_announced);
        assert_int_equal(f.announced, 5);
        assert_string_equal(f.body.data, "hello");
        assert_int_equal(f.n_ended, 1);
        assert_int_equal(f.n_aborted + f.n_cancelled, 0);
        stop(&f);
}

static void test_no_body_is_an_empty_one(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        put(&f, PUT("") PUT("Content-Length: 0\r\n")
                        PUT("Transfer-Encoding: chunked\r\n") "0\r\n\r\n" GET_PLAIN);
        client_expect(&f.http, &f.client, "plain");
        assert_int_equal(f.n_handled, 3);
        assert_false(f.has_announced);
        assert_int_equal(f.received, 0);
        stop(&f);
}

static void test_chunks(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.pause_every = 1;
        put(&f,
            PUT("Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\n"
                                                  "Trailer: x\r\n\r\n" GET_PLAIN);
        for (int i = 0; i < 3; i++) {
                wait_until(&f, is_true, &f.is_paused);
                go_on(&f);
        }
        client_expect(&f.http, &f.client, "received 11");
        client_expect(&f.http, &f.client, "plain");
        assert_string_equal(f.body.data, "hello world");
        stop(&f);
}

/* Whoever sends more than is taken has to wait, and nothing is lost. */
static void test_a_slow_reader_slows_the_client(void **state)
{
        struct fixture f;
        struct sender s = { .f = &f, .size = 64 * MIB };
        uint64_t stuck_at;

        start(&f, *state, 0, 0);
        f.pause_every = 256 * KIB;
        put(&f, PUT("Content-Length: 67108864\r\n"));
        do {
                (void)send_more(&s);
                wait_until(&f, is_true, &f.is_paused);
                (void)send_more(&s);
        } while (!s.is_stuck);
        stuck_at = s.sent;
        assert_true(stuck_at < 32 * MIB);
        assert_true(f.received < 256 * KIB + 2 * BODY_MAX_PIECE);

        client_read(&f.client);
        while (f.received < s.size) {
                if (f.is_paused)
                        go_on(&f);
                (void)send_more(&s);
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
        }
        if (f.is_paused)
                go_on(&f);
        client_expect(&f.http, &f.client, "received 67108864");
        for (uint64_t i = 0; i < f.body.size; i++)
                assert_int_equal(f.body.data[i], pattern(i));
        stop(&f);
}

static void test_a_client_waits_for_the_word_to_go_on(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.start = READ_LATER;
        put(&f, PUT("Content-Length: 5\r\nExpect: 100-continue\r\n"));
        wait_until(&f, has_request, &f);
        for (int i = 0; i < 20; i++)
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
        client_read(&f.client);
        assert_int_equal(f.client.in.size, 0);
        assert_true(request_read_body(f.req, &body_ops, &f));
        client_expect(&f.http, &f.client, "HTTP/1.1 100 Continue\r\n\r\n");
        client_send(&f.client, "hello");
        client_expect(&f.http, &f.client, "received 5");
        stop(&f);
}

static void test_a_refusal_instead_of_that_word(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.start = READ_LATER;
        put(&f, PUT("Content-Length: 5\r\nExpect: 100-continue\r\n"));
        wait_until(&f, has_request, &f);
        finish(&f, false);
        client_expect(&f.http, &f.client, "no such place");
        assert_null(strstr(f.client.in.data, "100 Continue"));
        client_expect_end(&f.http, &f.client); /* the body may come all the same, or not */
        stop(&f);
}

static void test_other_expectations(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        put(&f, PUT("Content-Length: 5\r\nExpect: the-unexpected\r\n"));
        client_expect(&f.http, &f.client, "HTTP/1.1 417 ");
        client_expect_end(&f.http, &f.client);
        assert_int_equal(f.n_handled, 0);
        stop(&f);
}

static void test_the_next_request_follows(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.pause_every = 3;
        put(&f, PUT("Content-Length: 5\r\n") "hello" GET_PLAIN);
        wait_until(&f, is_true, &f.is_paused);
        go_on(&f);
        client_expect(&f.http, &f.client, "received 5");
        client_expect(&f.http, &f.client, "plain");
        assert_string_equal(f.body.data, "hello");
        stop(&f);
}

static void test_a_small_refused_body_is_read(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.start = REFUSE_AT_ONCE;
        put(&f, PUT("Content-Length: 5\r\n"));
        wait_until(&f, is_counted, &f.n_handled);
        client_send(&f.client, "hello" GET_PLAIN);
        client_expect(&f.http, &f.client, "no such place");
        client_expect(&f.http, &f.client, "plain");
        assert_int_equal(f.n_ended + f.n_aborted, 0);

        f.start = READ_AT_ONCE;
        f.answer_at = 2;
        client_send(&f.client, PUT("Content-Length: 5\r\n") "he");
        client_expect(&f.http, &f.client, "plain");
        while (f.received < 2)
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
        assert_null(f.req);
        f.client.in.size = 0;
        client_send(&f.client, "llo" GET_PLAIN);
        client_expect(&f.http, &f.client, "no such place");
        client_expect(&f.http, &f.client, "plain");
        assert_int_equal(f.n_ended + f.n_aborted + f.n_cancelled, 0);
        stop(&f);
}

/* The answer to a large body that is not wanted comes at once, and the client can finish sending and read it. */
static void refuse_large(struct loop *loop, bool chunked, uint64_t answer_at)
{
        struct fixture f;
        struct sender s = { .f = &f, .size = 32 * MIB };

        start(&f, loop, 0, 0);
        f.start = answer_at > 0 ? READ_AT_ONCE : REFUSE_AT_ONCE;
        f.answer_at = answer_at;
        if (chunked)
                put(&f,
                    PUT("Origin: https://page.example\r\nTransfer-Encoding: chunked\r\n") "2000000\r\n");
        else
                put(&f, PUT("Origin: https://page.example\r\nContent-Length: 33554432\r\n"));
        if (answer_at == 0) /* before anything was sent */
                client_expect(&f.http, &f.client, "no such place");
        wait_until(&f, send_more, &s);
        assert_false(s.is_broken);
        client_expect(&f.http, &f.client, "no such place");
        assert_non_null(strstr(f.client.in.data, "HTTP/1.1 400 Bad Request\r\n"));
        assert_non_null(strstr(f.client.in.data, "Connection: close\r\n"));
        assert_non_null(strstr(f.client.in.data, "X-Test: refused\r\n"));
        assert_non_null(strstr(f.client.in.data, "X-Request-ID: req_"));
        assert_non_null(
                strstr(f.client.in.data, "Access-Control-Allow-Origin: https://page.example\r\n"));
        client_expect_end(&f.http, &f.client);
        assert_false(f.client.is_reset);
        assert_int_equal(f.n_ended + f.n_aborted + f.n_cancelled, 0);
        wait_until(&f, has_no_connection, &f);
        assert_int_equal(f.http.metrics.errors_client, 1);
        stop(&f);
}

static void test_a_large_refused_body_is_not_waited_for(void **state)
{
        refuse_large(*state, false, 0);
        refuse_large(*state, true, 0);
        refuse_large(*state, false, 1);
        refuse_large(*state, true, 5 * MIB);
}

static void test_a_refusal_while_paused(void **state)
{
        struct fixture f;
        struct sender s = { .f = &f, .size = 32 * MIB };

        start(&f, *state, 0, 0);
        f.pause_every = 64 * KIB;
        put(&f, PUT("Content-Length: 33554432\r\n"));
        (void)send_more(&s);
        wait_until(&f, is_true, &f.is_paused);
        finish(&f, false);
        wait_until(&f, send_more, &s);
        assert_false(s.is_broken);
        client_expect(&f.http, &f.client, "no such place");
        stop(&f);
}

static void test_too_large_by_its_header(void **state)
{
        struct fixture f;

        start(&f, *state, 10, 0);
        put(&f,
            PUT("Content-Length: 11\r\n") "hello world" PUT("Content-Length: 10\r\n") "0123456789");
        client_expect(&f.http, &f.client, "PAYLOAD_TOO_LARGE");
        client_expect(&f.http, &f.client, "received 10");
        assert_int_equal(f.n_handled, 1);
        client_close(&f.client);

        put(&f, PUT("Content-Length: 99999999999999\r\nExpect: 100-continue\r\n"));
        client_expect(&f.http, &f.client, "HTTP/1.1 413 ");
        client_expect_end(&f.http, &f.client);
        stop(&f);
}

static void test_too_large_as_it_comes(void **state)
{
        struct fixture f;
        struct sender s = { .f = &f, .size = 8 * MIB };

        start(&f, *state, MIB, 0);
        put(&f, PUT("Transfer-Encoding: chunked\r\n") "2000000\r\n");
        wait_until(&f, send_more, &s);
        assert_false(s.is_broken);
        client_expect(&f.http, &f.client, "HTTP/1.1 413 ");
        client_expect(&f.http, &f.client, "PAYLOAD_TOO_LARGE");
        assert_int_equal(f.n_aborted, 1);
        assert_int_equal(f.why, BODY_TOO_LARGE);
        assert_true(f.received <= MIB);
        assert_int_equal(f.n_ended + f.n_cancelled, 0);
        stop(&f);
}

/* Wherever the client is cut off, there is one end and nothing left over. */
static void test_a_client_that_leaves_anywhere(void **state)
{
        static const char request[] = PUT(
                "Transfer-Encoding: chunked\r\n") "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
        struct fixture f;

        start(&f, *state, 0, 0);
        for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
                for (int how = 0; how < 4; how++) {
                        char *part = xstrndup(request, cut);

                        f.n_aborted = f.n_ended = 0;
                        f.pause_every = how & 1 ? 1 : 0;
                        f.start = how == 3 ? READ_LATER : READ_AT_ONCE;
                        f.n_handled = f.n_cancelled = 0;
                        put(&f, part);
                        wait_until(&f, has_connection, &f);
                        if (cut >= strlen(PUT("Transfer-Encoding: chunked\r\n")))
                                wait_until(&f, is_counted, &f.n_handled);
                        if (how & 2)
                                client_abort(&f.client);
                        else
                                client_close(&f.client);
                        wait_until(&f, has_no_connection, &f);
                        assert_null(f.req);
                        assert_int_equal(f.n_ended, 0);
                        assert_int_equal(f.n_aborted + f.n_cancelled, f.n_handled);
                        if (f.n_aborted > 0)
                                assert_int_equal(f.why, BODY_CLIENT_LEFT);
                        free(part);
                }
        }
        f.client.fd = -1;
        stop(&f);
}

/* MHD looks at what is behind the piece although nobody wants more for now. */
static void test_nonsense_behind_a_pause(void **state)
{
        static const char *const rests[] = {
                "zz\r\nab\r\n", "\r\n\r\n",        "ffffffffffffffffffff\r\n",
                "5 5\r\n",      "5\r\nhelloworld",
        };
        struct fixture f;

        start(&f, *state, 0, 0);
        f.pause_every = 1;
        for (size_t i = 0; i < ARRAY_LEN(rests); i++) {
                char *request = xasprintf("%s5\r\nhello\r\n%s",
                                          PUT("Transfer-Encoding: chunked\r\n"), rests[i]);

                put(&f, request);
                free(request);
                wait_until(&f, is_true, &f.is_paused);
                while (f.req) {
                        if (f.is_paused)
                                go_on(&f);
                        (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
                }
                client_expect(&f.http, &f.client, "HTTP/1.1 4");
                client_expect_end(&f.http, &f.client);
                client_close(&f.client);
                wait_until(&f, has_no_connection, &f);
                assert_int_equal(f.n_aborted, 1);
                assert_int_equal(f.why, BODY_CLIENT_LEFT);
                assert_int_equal(f.n_ended + f.n_cancelled, 0);
                f.is_paused = false;
        }
        f.client.fd = -1;
        stop(&f);
}

static void test_the_agent_stops(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        put(&f, PUT("Content-Length: 5\r\n") "he");
        wait_until(&f, has_request, &f);
        http_drain(&f.http);
        server_cancel_requests(f.http.server);
        assert_int_equal(f.n_aborted, 1);
        assert_int_equal(f.why, BODY_STOPPED);
        assert_int_equal(f.n_cancelled, 0);
        stop(&f);
}

static void test_the_agent_stops_while_paused(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.pause_every = 1;
        put(&f, PUT("Content-Length: 500\r\n") "he");
        wait_until(&f, is_true, &f.is_paused);
        http_drain(&f.http);
        server_cancel_requests(f.http.server);
        assert_int_equal(f.n_aborted, 1);
        stop(&f);
}

static void test_a_body_that_starts_during_a_stop(void **state)
{
        struct fixture f;

        start(&f, *state, 0, 0);
        f.start = READ_LATER;
        put(&f, PUT("Content-Length: 5\r\n") "hello");
        wait_until(&f, has_request, &f);
        http_drain(&f.http);
        assert_true(request_read_body(f.req, &body_ops, &f));
        client_expect(&f.http, &f.client, "received 5"); /* there is a time of grace */
        stop(&f);
}

static void test_reading_after_the_client_has_left(void **state)
{
        struct fixture f;
        struct request *req;

        start(&f, *state, 0, 0);
        f.start = READ_LATER;
        put(&f, PUT("Content-Length: 5\r\n"));
        wait_until(&f, has_request, &f);
        req = request_ref(f.req);
        client_close(&f.client);
        wait_until(&f, is_counted, &f.n_cancelled);
        assert_false(request_read_body(req, &body_ops, &f));
        request_body_resume(req);
        request_unref(req);
        assert_int_equal(f.n_aborted, 0);
        f.client.fd = -1;
        stop(&f);
}

/* A client that sends a byte now and then is cut; one that makes progress is not, however long it takes all in all. */
static void test_progress_is_wanted(void **state)
{
        struct fixture f;
        struct sender s = { .f = &f, .size = 0 };
        uint64_t started = clock_now_ms(), next = started;

        start(&f, *state, 0, 200);
        put(&f, PUT("Content-Length: 67108864\r\n"));
        while (clock_now_ms() < started + 700) { /* longer than the timeout, step by step */
                if (clock_now_ms() >= next) {
                        s.size += 8 * KIB;
                        next += 50;
                }
                (void)send_more(&s);
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
                assert_int_equal(f.n_aborted, 0);
        }
        while (f.n_aborted == 0) {
                if (clock_now_ms() >= next) {
                        s.size++;
                        next += 50;
                }
                (void)send_more(&s);
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
                assert_true(clock_now_ms() < started + HANG_MS);
        }
        assert_int_equal(f.why, BODY_CLIENT_LEFT);
        assert_int_equal(f.http.metrics.connections_cut, 1);
        stop(&f);
}

/* While the handler is the slow one, nobody is cut. */
static void test_a_pause_may_be_long(void **state)
{
        struct fixture f;
        uint64_t started;

        start(&f, *state, 0, 50);
        f.pause_every = 1;
        put(&f, PUT("Content-Length: 2\r\n") "a");
        wait_until(&f, is_true, &f.is_paused);
        started = clock_now_ms();
        while (clock_now_ms() < started + 300)
                (void)uv_run(&f.http.loop->uv, UV_RUN_ONCE);
        assert_int_equal(f.n_aborted, 0);
        client_send(&f.client, "b");
        f.pause_every = 0;
        f.next_pause = 100;
        go_on(&f);
        client_expect(&f.http, &f.client, "received 2");
        stop(&f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_body_arrives),
                TEST(test_no_body_is_an_empty_one),
                TEST(test_chunks),
                TEST(test_a_slow_reader_slows_the_client),
                TEST(test_a_client_waits_for_the_word_to_go_on),
                TEST(test_a_refusal_instead_of_that_word),
                TEST(test_other_expectations),
                TEST(test_the_next_request_follows),
                TEST(test_a_small_refused_body_is_read),
                TEST(test_a_large_refused_body_is_not_waited_for),
                TEST(test_a_refusal_while_paused),
                TEST(test_too_large_by_its_header),
                TEST(test_too_large_as_it_comes),
                TEST(test_a_client_that_leaves_anywhere),
                TEST(test_nonsense_behind_a_pause),
                TEST(test_the_agent_stops),
                TEST(test_the_agent_stops_while_paused),
                TEST(test_a_body_that_starts_during_a_stop),
                TEST(test_reading_after_the_client_has_left),
                TEST(test_progress_is_wanted),
                TEST(test_a_pause_may_be_long),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
