/* SPDX-License-Identifier: Apache-2.0 */

/* Server-Sent Events: their form, and over a real stream. */

#include "agent/http/sse.h"

#include "tests/unit/http_stream_fixture.h"

#define DATA(text) .data = (text), .data_size = sizeof(text) - 1

static void test_form(void **state)
{
        static const struct {
                struct sse_event event;
                const char *text;
        } cases[] = {
                { { DATA("x") }, "data: x\n\n" },
                { { .id = "7", .event = "stdout", DATA("x"), .retry_ms = 1500 },
                  "retry: 1500\nid: 7\nevent: stdout\ndata: x\n\n" },
                { { .id = "7" }, "id: 7\n\n" },
                { { .id = "" }, "id: \n\n" },
                { { .retry_ms = 1 }, "retry: 1\n\n" },
                /* Clients drop one space behind the colon, and one line break at the end. */
                { { DATA(" x") }, "data:  x\n\n" },
                { { DATA("") }, "data: \n\n" },
                { { DATA("a\n") }, "data: a\ndata: \n\n" },
                { { DATA("a\nb") }, "data: a\ndata: b\n\n" },
                { { DATA("a\rb") }, "data: a\ndata: b\n\n" },
                { { DATA("a\r\nb") }, "data: a\ndata: b\n\n" },
                { { DATA("a\n\rb") }, "data: a\ndata: \ndata: b\n\n" },
                { { DATA("a\n\nb") }, "data: a\ndata: \ndata: b\n\n" },
                { { DATA("a\r\r\nb\r") }, "data: a\ndata: \ndata: b\ndata: \n\n" },
                { { DATA("\n\nid: 9\n\nevent: evil") },
                  "data: \ndata: \ndata: id: 9\ndata: \ndata: event: evil\n\n" },
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                CLEANUP(buf_done) struct buf b;

                buf_init(&b, 0);
                assert_int_equal(sse_append(&b, &cases[i].event), 0);
                assert_string_equal(b.data, cases[i].text);
        }
}

static void test_bytes(void **state)
{
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(sse_append(&b, &(struct sse_event){ .data = "a\0b\nxx", .data_size = 4 }),
                         0);
        assert_int_equal(b.size, 18);
        assert_memory_equal(b.data, "data: a\0b\ndata: \n\n", 18);
}

static void test_line_breaks_in_names(void **state)
{
        static const struct sse_event bad[] = {
                { .id = "1\n2", DATA("x") },
                { .id = "1\r", DATA("x") },
                { .event = "a\ndata: y", DATA("x") },
                { .event = "\r", DATA("x") },
        };
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 0);
        assert_int_equal(sse_append(&b, &(struct sse_event){ DATA("before") }), 0);
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
                assert_int_equal(sse_append(&b, &bad[i]), -EINVAL);
        assert_string_equal(b.data, "data: before\n\n");
}

static void test_all_or_nothing(void **state)
{
        struct sse_event e = { .id = "7", DATA("a\nb") };
        CLEANUP(buf_done) struct buf b;

        (void)state;
        buf_init(&b, 24);
        assert_int_equal(sse_append(&b, &(struct sse_event){ DATA("x") }), 0);
        assert_int_equal(sse_append(&b, &e), -EFBIG);
        assert_int_equal(b.size, strlen("data: x\n\n"));
        assert_string_equal(b.data, "data: x\n\n");
}

/* --- on a stream --- */

static char last_event_id[64];

static int events_get(struct request *req)
{
        struct fixture *f = app_of(req);
        const char *id = sse_last_event_id(req);

        (void)snprintf(last_event_id, sizeof(last_event_id), "%s", id ? id : "none");
        f->stream = request_reply_stream(req, 200, SSE_TYPE, &f->ops, f);
        return 0;
}

static const struct route event_routes[] = {
        { .method = HTTP_GET, .path = "/events", .handler = events_get },
};

static void open_events(struct fixture *f, struct loop *loop, uint64_t heartbeat_ms,
                        const char *header)
{
        CLEANUP(mem_free)
        char *request = xasprintf("GET /events HTTP/1.1\r\nHost: a\r\n%s\r\n", header);
        struct server_options o = http_options();

        *f = (struct fixture){ .ops = { .on_closed = on_closed, .heartbeat = SSE_HEARTBEAT } };
        o.heartbeat_ms = heartbeat_ms;
        http_start(&f->http, loop, event_routes, ARRAY_LEN(event_routes), &o);
        get(f, request, 0);
        wait_until(f, has_stream, f);
}

static void test_stream(void **state)
{
        struct fixture f;

        open_events(&f, *state, 60000, "");
        assert_int_equal(sse_write(f.stream, &(struct sse_event){ .id = "1", DATA("a\nb") }), 0);
        assert_int_equal(sse_write(f.stream, &(struct sse_event){ .event = "end", DATA("") }), 0);
        stream_end(f.stream);
        client_expect(&f.http, &f.client, "\r\n0\r\n\r\n");
        assert_non_null(strstr(f.client.in.data, "Content-Type: text/event-stream\r\n"));
        expect_body(&f, "id: 1\ndata: a\ndata: b\n\nevent: end\ndata: \n\n", true);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_heartbeat(void **state)
{
        struct fixture f;

        open_events(&f, *state, 40, "");
        client_expect(&f.http, &f.client, ": \n\n");
        http_stop(&f.http);
        client_close(&f.client);
}

/* What is missing must not go unnoticed. */
static void test_unwritable(void **state)
{
        struct fixture f;

        open_events(&f, *state, 60000, "");
        assert_int_equal(sse_write(f.stream, &(struct sse_event){ .id = "\n" }), 0);
        assert_false(stream_is_open(f.stream));
        client_expect_end(&f.http, &f.client);
        expect_body(&f, "", false);
        http_stop(&f.http);
        client_close(&f.client);
}

static void test_last_event_id(void **state)
{
        static const char *const cases[][2] = {
                { "", "none" },
                { "Last-Event-ID: 17\r\n", "17" },
                { "last-event-id: stdout:5,stderr:0\r\n", "stdout:5,stderr:0" },
                { "Last-Event-ID:\r\n", "none" },
        };
        struct fixture f;

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                open_events(&f, *state, 60000, cases[i][0]);
                assert_string_equal(last_event_id, cases[i][1]);
                http_stop(&f.http);
                client_close(&f.client);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_line_breaks_in_names),
                cmocka_unit_test(test_all_or_nothing),
                cmocka_unit_test_setup_teardown(test_stream, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_heartbeat, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_unwritable, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_last_event_id, loop_setup, loop_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
