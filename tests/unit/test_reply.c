/* SPDX-License-Identifier: Apache-2.0 */

/* Answers: bytes, JSON, small and large documents, and the error document. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/buf.h"
#include "agent/base/limits.h"
#include "agent/http/problem.h"
#include "agent/http/reply.h"
#include "agent/json/document.h"

static struct buf read_all(struct reply *r, size_t step)
{
        char piece[4096];
        struct buf b;
        size_t n;

        assert_true(step <= sizeof(piece));
        buf_init(&b, 0);
        while ((n = reply_read(r, piece, step)) > 0)
                assert_int_equal(buf_append(&b, piece, n), 0);
        return b;
}

static void test_bytes(void **state)
{
        struct reply r = { 0 };
        struct buf b;

        (void)state;
        reply_set_bytes(&r, 201, "text/plain", strdup("hello"), 5);
        b = read_all(&r, 16);
        assert_int_equal(r.status, 201);
        assert_int_equal(b.size, 5);
        assert_memory_equal(b.data, "hello", 5);
        buf_done(&b);
        reply_done(&r);
        assert_false(r.is_set);
}

static void test_later_payload_wins(void **state)
{
        struct reply r = { 0 };
        struct buf b;

        (void)state;
        reply_add_header(&r, "X-A", "1");
        reply_set_bytes(&r, 200, "text/plain", strdup("old"), 3);
        reply_set_json(&r, 404, json_pack("{s:i}", "a", 1));
        b = read_all(&r, 16);
        assert_int_equal(r.status, 404);
        assert_string_equal(b.data, "{\"a\":1}");
        assert_string_equal(r.headers[0].value, "1");
        buf_done(&b);
        reply_done(&r);
}

static void test_unencodable_json(void **state)
{
        struct reply r = { 0 };
        struct buf b;
        json_t *doc;

        (void)state;
        reply_set_json(&r, 200, NULL); /* what json_pack returns for a bug */
        assert_int_equal(r.status, 500);
        b = read_all(&r, 64);
        doc = json_loadb(b.data, b.size, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(doc, "code")), "INTERNAL_ERROR");
        json_decref(doc);
        buf_done(&b);
        reply_done(&r);
}

static unsigned n_released;

static void release(void *arg)
{
        free(arg);
        n_released++;
}

static void check_document(size_t size, bool is_flat)
{
        struct reply r = { 0 };
        char *text = malloc(size);
        struct document *d = document_new(json_pack("{s:i}", "n", 7));
        json_t *doc;
        struct buf b;

        memset(text, 'x', size);
        n_released = 0;
        document_add_text(d, "text", DOCUMENT_UTF8, &(struct document_piece){ text, size }, 1,
                          release, text);
        reply_set_document(&r, 200, d);
        assert_int_equal(n_released, is_flat ? 1 : 0);
        b = read_all(&r, 1000);
        doc = json_loadb(b.data, b.size, 0, NULL);
        assert_non_null(doc);
        assert_int_equal(json_string_length(json_object_get(doc, "text")), size);
        assert_int_equal(json_integer_value(json_object_get(doc, "n")), 7);
        json_decref(doc);
        buf_done(&b);
        reply_done(&r);
        assert_int_equal(n_released, 1);
}

static void test_documents(void **state)
{
        (void)state;
        check_document(100, true);
        check_document(LIMIT_REPLY_INLINE, true);
        check_document(LIMIT_REPLY_INLINE + 1, false);
        check_document(1000 * 1000, false);
}

static void test_problem_document(void **state)
{
        json_t *doc = problem_document(PROBLEM_INVALID_REQUEST, "timeout: bad", "/timeout",
                                       "req_1");

        (void)state;
        assert_string_equal(json_string_value(json_object_get(doc, "error")), "timeout: bad");
        assert_string_equal(json_string_value(json_object_get(doc, "message")), "timeout: bad");
        assert_string_equal(json_string_value(json_object_get(doc, "code")), "INVALID_REQUEST");
        assert_string_equal(json_string_value(json_object_get(doc, "request_id")), "req_1");
        assert_string_equal(
                json_string_value(json_object_get(json_object_get(doc, "details"), "field")),
                "/timeout");
        json_decref(doc);

        doc = problem_document(PROBLEM_NOT_FOUND, "cut \xc3", NULL, "req_2");
        assert_string_equal(json_string_value(json_object_get(doc, "error")), "cut ");
        assert_null(json_object_get(doc, "details"));
        json_decref(doc);

        doc = problem_document(PROBLEM_NOT_FOUND, "bad \xff here", NULL, "req_3");
        assert_string_equal(json_string_value(json_object_get(doc, "error")), "bad ? here");
        assert_string_equal(json_string_value(json_object_get(doc, "message")), "bad ? here");
        json_decref(doc);
}

static void test_problem_table(void **state)
{
        (void)state;
        for (int p = 0; p < N_PROBLEMS; p++) {
                assert_in_range(problem_status((enum problem)p), 400, 507);
                assert_true(strlen(problem_code((enum problem)p)) > 3);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_later_payload_wins),
                cmocka_unit_test(test_unencodable_json),
                cmocka_unit_test(test_documents),
                cmocka_unit_test(test_problem_document),
                cmocka_unit_test(test_problem_table),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
