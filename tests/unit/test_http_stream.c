/* SPDX-License-Identifier: Apache-2.0 */

/* Streamed answers, from a producer to a socket: order, back-pressure, and every way to end. */

#include "agent/http/stream.h"

#include "tests/unit/http_stream_fixture.h"

/* More than all buffers between producer and client can hold. */
#define FLOOD (48 * MIB)

/* --- a flood --- */

static char pattern_at(uint64_t offset)
{
        return (char)('!' + (offset * 7 + offset / 1021) % 90);
}

/* Produces until told to stop. */
static void pump(struct fixture *f)
{
        char piece[1000];
        int r = 0;

        while (r == 0 && f->produced < f->total) {
                size_t n = (size_t)MIN((uint64_t)sizeof(piece), f->total - f->produced);

                for (size_t i = 0; i < n; i++)
                        piece[i] = pattern_at(f->produced + i);
                r = stream_write(f->stream, piece, n);
                f->produced += n;
        }
        if (f->produced == f->total)
                stream_end(f->stream);
}

static void on_writable(void *arg)
{
        struct fixture *f = arg;

        assert_true(stream_is_open(f->stream));
        f->n_writable++;
        pump(f);
}

struct stall {
        struct fixture *f;
        uint64_t produced;
        unsigned n_turns;
};

/* Nothing was produced in a hundred looks. */
static int is_stalled(void *arg)
{
        struct stall *stall = arg;

        stall->n_turns = stall->produced == stall->f->produced ? stall->n_turns + 1 : 0;
        stall->produced = stall->f->produced;
        return stall->n_turns > 100 && stall->produced > 0;
}

static void open_flood(struct fixture *f)
{
        struct stall stall = { .f = f };

        f->total = FLOOD;
        f->ops.on_writable = on_writable;
        f->on_start = pump;
        get(f, GET("/stream"), 16 * 1024);
        wait_until(f, is_stalled, &stall);
        assert_in_range(f->produced, LIMIT_STREAM_QUEUE / 4, FLOOD / 2);
        assert_non_null(f->stream);
}

/* --- the tests --- */

static void test_in_order(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        get(&f,
            "GET /stream HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n"
            "X-Request-ID: my-id\r\n\r\n",
            0);
        /* The header does not wait for the first line. */
        client_expect(&f.http, &f.client, "\r\n\r\n");
        assert_non_null(strstr(f.client.in.data, "HTTP/1.1 200 "));
        assert_non_null(strstr(f.client.in.data, "Content-Type: " STREAM_TYPE_NDJSON "\r\n"));
        assert_non_null(strstr(f.client.in.data, "Transfer-Encoding: chunked\r\n"));
        assert_non_null(strstr(f.client.in.data, "X-Request-ID: my-id\r\n"));
        assert_non_null(strstr(f.client.in.data, "X-Test: yes\r\n"));
        assert_non_null(strstr(f.client.in.data, "Cache-Control: no-cache\r\n"));
        assert_non_null(
                strstr(f.client.in.data, "Access-Control-Allow-Origin: https://page.example\r\n"));
        expect_body(&f, "", false);

        assert_true(stream_is_idle(f.stream));
        assert_int_equal(write_text(&f, "one\n"), 0);
        assert_false(stream_is_idle(f.stream));
        client_expect(&f.http, &f.client, "one\n");
        assert_true(stream_is_idle(f.stream));
        assert_int_equal(write_text(&f, "two\n"), 0);
        assert_int_equal(write_text(&f, ""), 0);
        assert_int_equal(write_text(&f, "three\n"), 0);
        client_expect(&f.http, &f.client, "three\n");
        expect_body(&f, "one\ntwo\nthree\n", false);
        assert_int_equal(f.n_closed, 0);

        assert_int_equal(write_text(&f, "four\n"), 0);
        stream_end(f.stream);
        assert_false(stream_is_open(f.stream));
        assert_int_equal(write_text(&f, "too late\n"), 0);
        stream_end(f.stream);
        wait_until(&f, is_counted, &f.n_closed);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        expect_body(&f, "one\ntwo\nthree\nfour\n", true);
        assert_int_equal(f.n_writable, 0);

        /* The connection lives on. */
        client_send(&f.client, GET("/plain"));
        client_expect(&f.http, &f.client, "\r\n\r\nplain");
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

static void write_and_end(struct fixture *f)
{
        assert_int_equal(write_text(f, "all at once\n"), 0);
        stream_end(f->stream);
}

static void end(struct fixture *f)
{
        stream_end(f->stream);
}

static void test_end_in_handler(void **state)
{
        static const struct {
                void (*on_start)(struct fixture *f);
                const char *body;
        } cases[] = { { write_and_end, "all at once\n" }, { end, "" } };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                start(&f, *state, 60000);
                f.on_start = cases[i].on_start;
                get(&f, GET("/stream"), 0);
                client_expect(&f.http, &f.client, "0\r\n\r\n");
                expect_body(&f, cases[i].body, true);
                http_stop(&f.http);
                assert_int_equal(f.n_closed, 1);
                client_close(&f.client);
        }
}

static void test_back_pressure(void **state)
{
        CLEANUP(buf_done) struct buf body;
        struct fixture f;

        start(&f, *state, 60000);
        open_flood(&f);
        assert_false(stream_is_idle(f.stream));
        assert_int_equal(f.n_closed, 0);

        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        buf_init(&body, 0);
        assert_true(client_dechunk(&f.client, &body));
        assert_int_equal(body.size, FLOOD);
        for (uint64_t i = 0; i < FLOOD; i++)
                if (body.data[i] != pattern_at(i))
                        fail_msg("byte %llu is wrong", (unsigned long long)i);
        assert_true(f.n_writable > 10);
        wait_until(&f, is_counted, &f.n_closed);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

/* Goes on although it is told not to. */
static void overrun(struct fixture *f)
{
        static char piece[64 * KIB];

        while (stream_is_open(f->stream)) {
                int r = stream_write(f->stream, piece, sizeof(piece));

                if (f->produced >= LIMIT_STREAM_QUEUE / 2 && stream_is_open(f->stream))
                        assert_int_equal(r, 1);
                f->produced += sizeof(piece);
                assert_true(f->produced <= LIMIT_STREAM_QUEUE + sizeof(piece));
        }
}

static void write_without_memory(struct fixture *f)
{
        alloc_fail_after(1);
        assert_int_equal(write_text(f, "lost"), 0);
        alloc_fail_after(0);
        assert_false(stream_is_open(f->stream));
        assert_int_equal(write_text(f, "as well"), 0);
}

static void break_it(struct fixture *f)
{
        assert_int_equal(write_text(f, "the beginning"), 0);
        stream_break(f->stream);
        assert_false(stream_is_open(f->stream));
        assert_int_equal(write_text(f, "too late"), 0);
        stream_end(f->stream);
        stream_break(f->stream);
}

static void end_and_break(struct fixture *f)
{
        assert_int_equal(write_text(f, "something"), 0);
        stream_end(f->stream);
        stream_break(f->stream);
}

/* A part is missing, and the client can tell. */
static void test_broken(void **state)
{
        void (*const breaks[])(struct fixture * f) = { overrun, write_without_memory, break_it,
                                                       end_and_break };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(breaks); i++) {
                start(&f, *state, 60000);
                f.on_start = breaks[i];
                get(&f, GET("/stream"), 0);
                client_expect_end(&f.http, &f.client);
                expect_body(&f, "", false);
                assert_int_equal(f.n_closed, 1);
                http_stop(&f.http);
                client_close(&f.client);
        }
}

static void test_broken_in_the_middle(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        open_stream(&f);
        assert_int_equal(write_text(&f, "one\n"), 0);
        client_expect(&f.http, &f.client, "one\n\r\n");
        stream_break(f.stream);
        client_expect_end(&f.http, &f.client);
        expect_body(&f, "one\n", false);
        wait_until(&f, is_counted, &f.n_closed);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
        client_close(&f.client);
}

static void half_close(struct client *c)
{
        assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
}

static void test_left_while_quiet(void **state)
{
        void (*const leave[])(struct client * c) = { client_close, client_abort, half_close };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(leave); i++) {
                start(&f, *state, 60000);
                open_stream(&f);
                assert_int_equal(write_text(&f, "quiet\n"), 0);
                client_expect(&f.http, &f.client, "quiet\n");
                leave[i](&f.client);
                /* Nothing is written, and no heartbeat is due. */
                wait_until(&f, is_counted, &f.n_closed);
                if (leave[i] == half_close)
                        client_close(&f.client);
                http_stop(&f.http);
                assert_int_equal(f.n_closed, 1);
        }
}

static void test_left_while_full(void **state)
{
        void (*const leave[])(struct client * c) = { client_close, client_abort };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(leave); i++) {
                start(&f, *state, 60000);
                open_flood(&f);
                leave[i](&f.client);
                wait_until(&f, is_counted, &f.n_closed);
                http_stop(&f.http);
                assert_int_equal(f.n_closed, 1);
        }
}

/* It is there, but takes nothing. */
static void test_full_for_too_long(void **state)
{
        struct server_options o = http_options();
        struct fixture f = { .ops = { .on_closed = on_closed } };

        o.idle_timeout_ms = 1000;
        http_start(&f.http, *state, routes, ARRAY_LEN(routes), &o);
        open_flood(&f);
        wait_until(&f, is_counted, &f.n_closed);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_left_at_once(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        get(&f, GET("/stream"), 0);
        client_close(&f.client); /* before the handler is called */
        wait_until(&f, is_counted, &f.n_closed);
        http_stop(&f.http);
        assert_int_equal(f.n_closed, 1);
}

static void test_shutdown_ends_quiet(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        open_stream(&f);
        assert_int_equal(write_text(&f, "last\n"), 0);
        http_drain(&f.http);
        assert_false(stream_is_open(f.stream));
        wait_until(&f, is_true, &f.http.is_idle);
        assert_int_equal(f.n_closed, 1);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        expect_body(&f, "last\n", true);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_shutdown_lets_finite_go_on(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        f.ops.is_finite = true;
        open_stream(&f);
        http_drain(&f.http);
        assert_true(stream_is_open(f.stream));
        assert_int_equal(write_text(&f, "all of it\n"), 0);
        client_expect(&f.http, &f.client, "all of it\n");
        assert_false(f.http.is_idle);
        stream_end(f.stream);
        wait_until(&f, is_true, &f.http.is_idle);
        assert_int_equal(f.n_closed, 1);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        expect_body(&f, "all of it\n", true);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_shutdown_breaks_finite(void **state)
{
        struct fixture f;

        start(&f, *state, 60000);
        f.ops.is_finite = true;
        open_stream(&f);
        assert_int_equal(write_text(&f, "a part\n"), 0);
        client_expect(&f.http, &f.client, "a part\n\r\n");
        http_drain(&f.http);
        server_cancel_requests(f.http.server);
        client_expect_end(&f.http, &f.client);
        expect_body(&f, "a part\n", false);
        wait_until(&f, is_true, &f.http.is_idle);
        assert_int_equal(f.n_closed, 1);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_shutdown_cuts_full(void **state)
{
        struct stall stall = { .f = NULL };
        struct fixture f;

        start(&f, *state, 60000);
        open_flood(&f);
        http_drain(&f.http);
        stall.f = &f;
        wait_until(&f, is_stalled, &stall);
        assert_false(f.http.is_idle);
        assert_int_equal(f.n_closed, 0);
        server_cancel_requests(f.http.server);
        wait_until(&f, is_true, &f.http.is_idle);
        assert_int_equal(f.n_closed, 1);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_heartbeat(void **state)
{
        struct fixture f;
        uint64_t begun_ms;

        start(&f, *state, 40);
        f.ops.heartbeat = STREAM_HEARTBEAT_NDJSON;
        begun_ms = clock_now_ms();
        open_stream(&f);
        client_expect(&f.http, &f.client, "\r\n\r\n1\r\n\n\r\n1\r\n\n\r\n");
        assert_true(clock_now_ms() - begun_ms >= 80);
        assert_int_equal(write_text(&f, "data\n"), 0);
        client_expect(&f.http, &f.client, "data\n\r\n1\r\n\n\r\n");
        stream_end(f.stream);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        http_stop(&f.http);
        client_close(&f.client);
}

static int never(void *arg)
{
        (void)arg;
        return 0;
}

static void test_no_heartbeat(void **state)
{
        struct fixture f;

        start(&f, *state, 20);
        open_stream(&f);
        (void)loop_run_until(f.http.loop, never, NULL, 100);
        stream_end(f.stream);
        client_expect(&f.http, &f.client, "0\r\n\r\n");
        expect_body(&f, "", true);
        http_stop(&f.http);
        client_close(&f.client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_in_order, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_end_in_handler, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_back_pressure, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_broken, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_broken_in_the_middle, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_left_while_quiet, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_left_while_full, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_full_for_too_long, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_left_at_once, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_shutdown_ends_quiet, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_shutdown_lets_finite_go_on, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_shutdown_breaks_finite, loop_setup,
                                                loop_teardown),
                cmocka_unit_test_setup_teardown(test_shutdown_cuts_full, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_heartbeat, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_no_heartbeat, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
