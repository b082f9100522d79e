/* SPDX-License-Identifier: Apache-2.0 */

/* Requests with an Idempotency-Key, and what can go wrong between them: the first one's client has left, its handler
 * fails or forgets it, there is no memory, the server stops. */

#include "agent/http/idempotency_request.h"

#include "agent/http/request.h"
#include "agent/http/request_private.h"
#include "agent/json/document.h"
#include "tests/unit/http_fixture.h"

#define N_CLIENTS 3

struct fixture {
        struct http http; /* first: also the app */
        struct client clients[N_CLIENTS];
        struct request *job; /* a reference: its handler has not answered */
        unsigned n_runs;
        unsigned n_cancelled;
        unsigned n_released;
        unsigned n_wanted;
        bool has_repeat;
        struct request_repeat repeat;
};

static void on_cancel(void *arg)
{
        ((struct fixture *)arg)->n_cancelled++;
}

static int job_post(struct request *req)
{
        struct fixture *f = (struct fixture *)request_app(req);

        f->n_runs++;
        assert_null(f->job);
        f->job = request_ref(req);
        request_on_cancel(req, on_cancel, f);
        return 0;
}

/* One that knows by itself what was done. */
static int known_post(struct request *req)
{
        struct fixture *f = (struct fixture *)request_app(req);

        f->has_repeat = request_repeat(req, &f->repeat);
        f->n_runs++;
        if (f->n_runs == 2)
                return request_fail_reused(req);
        request_set_header(req, "Idempotency-Replayed", "true");
        return request_reply_json(req, 200, json_object());
}

static const struct route routes[] = {
        { .method = HTTP_POST,
          .path = "/job",
          .handler = job_post,
          .body = BODY_JSON,
          .flags = ROUTE_IDEMPOTENT },
        { .method = HTTP_POST,
          .path = "/known",
          .handler = known_post,
          .body = BODY_JSON,
          .flags = ROUTE_IDEMPOTENT },
};

static void start(struct fixture *f, struct loop *loop)
{
        struct server_options o = http_options();

        *f = (struct fixture){ .n_runs = 0 };
        o.idempotency_ttl_ms = 60000;
        http_start(&f->http, loop, routes, ARRAY_LEN(routes), &o);
}

static void post(struct fixture *f, unsigned client)
{
        client_connect(&f->clients[client], &f->http, 0);
        client_send(&f->clients[client], "POST /job HTTP/1.1\r\nHost: a\r\nIdempotency-Key: key\r\n"
                                         "Content-Length: 2\r\n\r\n{}");
}

struct count {
        uint64_t *counter;
        uint64_t wanted;
};

static int has_count(void *arg)
{
        return *((struct count *)arg)->counter == ((struct count *)arg)->wanted;
}

static void wait_for_count(struct fixture *f, uint64_t *counter, uint64_t wanted)
{
        struct count c = { counter, wanted };

        assert_true(loop_run_until(f->http.loop, has_count, &c, HANG_MS));
}

static int has_job(void *arg)
{
        return ((struct fixture *)arg)->job != NULL;
}

static int has_waiters(void *arg)
{
        const struct fixture *f = arg;

        return f->job->claim->n_waiters == f->n_wanted;
}

static int is_settled(void *arg)
{
        return ((struct request *)arg)->claim == NULL;
}

/* The first request runs, and so many others wait for it. */
static void start_job(struct fixture *f, unsigned n_waiters)
{
        post(f, 0);
        assert_true(loop_run_until(f->http.loop, has_job, f, HANG_MS));
        for (unsigned i = 1; i <= n_waiters; i++) {
                post(f, i);
                f->n_wanted = i;
                assert_true(loop_run_until(f->http.loop, has_waiters, f, HANG_MS));
        }
}

static void leave(struct fixture *f, unsigned client)
{
        uint64_t n = f->http.metrics.connections;

        client_close(&f->clients[client]);
        wait_for_count(f, &f->http.metrics.connections, n - 1);
}

static struct request *take_job(struct fixture *f)
{
        struct request *req = f->job;

        f->job = NULL;
        return req;
}

static void answer(struct fixture *f, const char *text)
{
        struct request *req = take_job(f);

        request_reply_bytes(req, 200, "text/plain", text, strlen(text));
        request_unref(req);
}

static void expect(struct fixture *f, unsigned client, const char *text)
{
        client_expect(&f->http, &f->clients[client], text);
}

static void test_kept_without_clients(void **state)
{
        struct fixture f;

        start(&f, *state);
        start_job(&f, 0);
        leave(&f, 0);
        assert_int_equal(f.n_cancelled, 0);
        assert_int_equal(f.http.metrics.requests_live, 1);
        answer(&f, "done");
        assert_int_equal(f.http.metrics.requests_live, 0);

        post(&f, 1);
        expect(&f, 1, "done");
        expect(&f, 1, "Idempotency-Replayed: true");
        assert_int_equal(f.n_runs, 1);
        http_stop(&f.http);
        client_close(&f.clients[1]);
}

static void test_failures_are_passed_on_but_not_kept(void **state)
{
        struct request *req;
        struct fixture f;

        start(&f, *state);
        start_job(&f, 2);
        leave(&f, 0);
        req = take_job(&f);
        request_set_header(req, "Retry-After", "7");
        request_fail(req, PROBLEM_UNAVAILABLE, "no room");
        request_unref(req);
        for (unsigned i = 1; i <= 2; i++) {
                expect(&f, i, "no room");
                expect(&f, i, " 503 ");
                expect(&f, i, "Retry-After: 7");
                client_close(&f.clients[i]);
        }

        start_job(&f, 0);
        assert_int_equal(f.n_runs, 2);
        answer(&f, "second");
        expect(&f, 0, "second");
        http_stop(&f.http);
        client_close(&f.clients[0]);
}

/* As an operation that was cancelled before it began. */
static void test_no_answer_at_all(void **state)
{
        struct fixture f;

        start(&f, *state);
        start_job(&f, 1);
        leave(&f, 0);
        request_unref(take_job(&f));
        expect(&f, 1, " 503 ");
        client_close(&f.clients[1]);
        start_job(&f, 0);
        answer(&f, "second");
        expect(&f, 0, "second");
        http_stop(&f.http);
        client_close(&f.clients[0]);
}

static void test_stop_cancels_once(void **state)
{
        struct fixture f;

        for (unsigned n_waiters = 0; n_waiters < N_CLIENTS; n_waiters++) {
                start(&f, *state);
                start_job(&f, n_waiters);
                leave(&f, 0);
                assert_int_equal(f.n_cancelled, 0);
                http_drain(&f.http);
                assert_int_equal(f.n_cancelled, 0);
                server_cancel_requests(f.http.server);
                assert_int_equal(f.n_cancelled, 1);
                server_cancel_requests(f.http.server);
                assert_int_equal(f.n_cancelled, 1);
                answer(&f, "too late");
                http_stop(&f.http);
                for (unsigned i = 1; i <= n_waiters; i++)
                        client_close(&f.clients[i]);
        }
}

static void test_stop_with_the_client(void **state)
{
        struct fixture f;

        start(&f, *state);
        start_job(&f, 1);
        http_drain(&f.http);
        server_cancel_requests(f.http.server);
        assert_int_equal(f.n_cancelled, 1);
        request_unref(take_job(&f));
        http_stop(&f.http);
        client_close(&f.clients[0]);
        client_close(&f.clients[1]);
}

/* --- large documents --- */

static void on_released(void *arg)
{
        ((struct fixture *)arg)->n_released++;
}

static void answer_large(struct fixture *f, const char *text, size_t size)
{
        struct document *d = document_new(json_pack("{s:i}", "exit_code", 3));
        struct request *req = take_job(f);

        document_add_text(d, "stdout", DOCUMENT_UTF8, &(struct document_piece){ text, size }, 1,
                          on_released, f);
        request_set_header(req, "X-Test", "yes");
        request_reply_document(req, 200, d);
        request_unref(req);
}

static void expect_large(struct fixture *f, unsigned client, size_t size)
{
        const struct client *c = &f->clients[client];
        CLEANUP(buf_done) struct buf body;
        json_t *doc;

        expect(f, client, "X-Test: yes");
        buf_init(&body, 0);
        if (strstr(c->in.data, "Transfer-Encoding")) {
                expect(f, client, "\r\n0\r\n\r\n");
                assert_true(client_dechunk(c, &body));
        } else {
                expect(f, client, "\"}");
                buf_append_str(&body, client_body(c));
        }
        doc = json_loadb(body.data, body.size, 0, NULL);
        assert_non_null(doc);
        assert_int_equal(json_string_length(json_object_get(doc, "stdout")), size);
        assert_int_equal(json_integer_value(json_object_get(doc, "exit_code")), 3);
        json_decref(doc);
}

/* @fails: memory does, when the worker asks for it. */
static void check_large(struct loop *loop, size_t size, bool leaves, bool fails)
{
        bool is_kept = size < LIMIT_IDEMPOTENCY_ANSWER && !fails;
        char *text = xcalloc(1, size);
        struct request *req;
        struct fixture f;

        memset(text, 'x', size);
        start(&f, loop);
        start_job(&f, 2);
        req = request_ref(f.job);
        if (leaves)
                leave(&f, 0);
        alloc_fail_after(fails ? 1 : 0);
        answer_large(&f, text, size);
        assert_true(loop_run_until(loop, is_settled, req, HANG_MS));
        alloc_fail_after(0); /* the clients have buffers, too */
        request_unref(req);
        expect_large(&f, leaves ? 1 : 0, size);
        if (is_kept)
                expect_large(&f, 2, size);
        else
                expect(&f, 2, " 409 ");
        client_close(&f.clients[2]);
        post(&f, 2);
        if (is_kept)
                expect_large(&f, 2, size);
        else
                expect(&f, 2, fails ? "\"result\":{}" : "\"result\":{\"exit_code\":3}");
        http_stop(&f.http);
        assert_int_equal(f.n_released, 1);
        assert_int_equal(f.n_runs, 1);
        for (unsigned i = leaves; i < N_CLIENTS; i++)
                client_close(&f.clients[i]);
        free(text);
}

static void test_large_documents(void **state)
{
        check_large(*state, MIB, false, false);
        check_large(*state, MIB, true, false);
}

static void test_too_large_documents(void **state)
{
        check_large(*state, LIMIT_IDEMPOTENCY_ANSWER, false, false);
        check_large(*state, LIMIT_IDEMPOTENCY_ANSWER + 1, false, false);
        check_large(*state, LIMIT_IDEMPOTENCY_ANSWER + 1, true, false);
}

static void test_large_documents_without_memory(void **state)
{
        check_large(*state, MIB, false, true);
        check_large(*state, MIB, true, true);
}

static void test_stop_while_encoding(void **state)
{
        static char text[MIB];
        struct fixture f;

        memset(text, 'x', sizeof(text));
        start(&f, *state);
        start_job(&f, 1);
        answer_large(&f, text, sizeof(text));
        http_stop(&f.http);
        assert_int_equal(f.n_cancelled, 0);
        assert_int_equal(f.n_released, 1);
        client_close(&f.clients[0]);
        client_close(&f.clients[1]);
}

static void post_known(struct fixture *f, const char *headers, const char *wanted)
{
        CLEANUP(mem_free)
        char *text = xasprintf("POST /known HTTP/1.1\r\nHost: a\r\n%sContent-Length: 2\r\n\r\n{}",
                               headers);

        client_connect(&f->clients[0], &f->http, 0);
        client_send(&f->clients[0], text);
        expect(f, 0, wanted);
        client_close(&f->clients[0]);
}

/* It is asked each time, and the same client is the same to it. */
static void test_known_by_the_handler(void **state)
{
        struct request_repeat first;
        struct fixture f;

        start(&f, *state);
        post_known(&f, "Idempotency-Key: key\r\n", "Idempotency-Replayed: true");
        first = f.repeat;
        assert_true(f.has_repeat);
        assert_int_equal(strlen(first.id), 64);
        assert_string_equal(first.body, /* of {} */
                            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        post_known(&f, "Idempotency-Key: key\r\n", "IDEMPOTENCY_KEY_REUSED");
        post_known(&f, "Idempotency-Key: key\r\n", " 200 ");
        assert_int_equal(f.n_runs, 3);
        assert_memory_equal(&f.repeat, &first, sizeof(first));
        post_known(&f, "Idempotency-Key: other\r\n", " 200 ");
        assert_string_not_equal(f.repeat.id, first.id);
        post_known(&f, "", " 200 ");
        assert_false(f.has_repeat);
        http_stop(&f.http);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, loop_setup, loop_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_kept_without_clients), TEST(test_failures_are_passed_on_but_not_kept),
                TEST(test_no_answer_at_all),     TEST(test_stop_cancels_once),
                TEST(test_stop_with_the_client), TEST(test_large_documents),
                TEST(test_too_large_documents),  TEST(test_large_documents_without_memory),
                TEST(test_stop_while_encoding),  TEST(test_known_by_the_handler),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
