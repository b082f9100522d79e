/* SPDX-License-Identifier: Apache-2.0 */

/* The store of answers to requests with an Idempotency-Key: identity, the bounds of number, bytes and time, and what is
 * left of an answer that is too large. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/limits.h"
#include "agent/http/idempotency.h"

struct id {
        uint8_t bytes[IDEMPOTENCY_DIGEST];
};

static const uint8_t body[IDEMPOTENCY_DIGEST] = { 1 };

static struct id id_of(unsigned n)
{
        char text[16];
        const char *parts[] = { "POST", text };
        struct id id;

        snprintf(text, sizeof(text), "%u", n);
        idempotency_id(parts, 2, id.bytes);
        return id;
}

static struct idempotency_entry *add(struct idempotency *i, unsigned n)
{
        return idempotency_add(i, id_of(n).bytes, body);
}

static struct idempotency_entry *find(struct idempotency *i, unsigned n)
{
        return idempotency_find(i, id_of(n).bytes);
}

static struct reply reply_of(size_t size)
{
        struct reply r = { 0 };
        char *data = xcalloc(1, size + 1);

        memset(data, 'x', size);
        reply_add_header(&r, "X-Test", "1");
        reply_set_bytes(&r, 200, "text/plain", data, size);
        return r;
}

static void keep(struct idempotency *i, unsigned n, size_t size, uint64_t now_ms)
{
        struct reply r = reply_of(size);

        idempotency_keep(i, add(i, n), &r, now_ms);
        reply_done(&r);
}

static void test_digest(void **state)
{
        static const uint8_t of_abc[4] = { 0xba, 0x78, 0x16, 0xbf };
        static const uint8_t of_nothing[4] = { 0xe3, 0xb0, 0xc4, 0x42 };
        uint8_t digest[IDEMPOTENCY_DIGEST];

        (void)state;
        idempotency_digest("abc", 3, digest);
        assert_memory_equal(digest, of_abc, 4);
        idempotency_digest(NULL, 0, digest);
        assert_memory_equal(digest, of_nothing, 4);
}

static void test_ids(void **state)
{
        static const char *const parts[][2] = {
                { "ab", "c" }, { "a", "bc" }, { "abc", "" }, { "", "abc" }, { "c", "ab" }
        };
        struct id ids[5];

        (void)state;
        for (unsigned i = 0; i < 5; i++) {
                idempotency_id(parts[i], 2, ids[i].bytes);
                for (unsigned k = 0; k < i; k++)
                        assert_memory_not_equal(&ids[i], &ids[k], sizeof(ids[i]));
        }
}

static void test_life(void **state)
{
        struct idempotency *i = idempotency_new();
        struct reply reply = reply_of(5), again = { 0 };
        struct idempotency_entry *e;

        (void)state;
        assert_null(find(i, 1));
        e = add(i, 1);
        assert_ptr_equal(find(i, 1), e);
        assert_null(find(i, 2));
        assert_false(e->has_ended);
        assert_memory_equal(e->body, body, sizeof(body));

        idempotency_keep(i, e, &reply, 100);
        assert_true(e->has_ended);
        assert_int_equal(idempotency_size(i), 5);
        reply_done(&reply);

        /* The bytes outlive the answer that they came with, and then the store. */
        reply_share(&find(i, 1)->reply, &again);
        idempotency_drop(i, e);
        assert_null(find(i, 1));
        assert_int_equal(idempotency_size(i), 0);
        assert_int_equal(idempotency_n_entries(i), 0);
        assert_null(idempotency_free(i));
        assert_int_equal(again.status, 200);
        assert_int_equal(again.size, 5);
        assert_memory_equal(again.data, "xxxxx", 5);
        assert_string_equal(again.headers[0].value, "1");
        reply_done(&again);
}

static void test_expiry(void **state)
{
        struct idempotency *i = idempotency_new();

        (void)state;
        add(i, 0);
        keep(i, 1, 1, 1000);
        keep(i, 2, 1, 1500);
        idempotency_expire(i, 1999, 1000);
        assert_non_null(find(i, 1));
        idempotency_expire(i, 2000, 1000);
        assert_null(find(i, 1));
        assert_non_null(find(i, 2));
        idempotency_expire(i, 2000, 500); /* the option may become shorter */
        assert_null(find(i, 2));
        keep(i, 3, 1, 2000);
        idempotency_expire(i, 2000, 0);
        assert_null(find(i, 3));

        /* What runs is not subject to time. */
        idempotency_expire(i, UINT64_MAX, 0);
        assert_non_null(find(i, 0));
        idempotency_drop(i, find(i, 0));
        idempotency_free(i);
}

static void test_number(void **state)
{
        struct idempotency *i = idempotency_new();
        struct reply reply = reply_of(1);

        (void)state;
        for (unsigned n = 0; n < LIMIT_IDEMPOTENCY_ENTRIES; n++)
                assert_non_null(add(i, n));
        assert_null(add(i, LIMIT_IDEMPOTENCY_ENTRIES)); /* all of them run */

        idempotency_keep(i, find(i, 7), &reply, 1);
        idempotency_keep(i, find(i, 5), &reply, 2);
        assert_non_null(add(i, LIMIT_IDEMPOTENCY_ENTRIES));
        assert_null(find(i, 7));
        assert_non_null(find(i, 5));
        assert_non_null(add(i, LIMIT_IDEMPOTENCY_ENTRIES + 1));
        assert_null(find(i, 5));
        assert_null(add(i, 5));
        assert_int_equal(idempotency_n_entries(i), LIMIT_IDEMPOTENCY_ENTRIES);

        for (unsigned n = 0; n < LIMIT_IDEMPOTENCY_ENTRIES + 2; n++)
                if (find(i, n))
                        idempotency_drop(i, find(i, n));
        assert_null(idempotency_free(i));
        reply_done(&reply);
}

static void test_bytes(void **state)
{
        const unsigned n_fit = LIMIT_IDEMPOTENCY_TOTAL / LIMIT_IDEMPOTENCY_ANSWER;
        struct idempotency *i = idempotency_new();

        (void)state;
        for (unsigned n = 0; n < n_fit; n++)
                keep(i, n, LIMIT_IDEMPOTENCY_ANSWER, n);
        assert_int_equal(idempotency_size(i), LIMIT_IDEMPOTENCY_TOTAL);
        keep(i, n_fit, 1, n_fit);
        assert_null(find(i, 0));
        assert_non_null(find(i, 1));
        keep(i, n_fit + 1, LIMIT_IDEMPOTENCY_ANSWER, n_fit + 1);
        assert_null(find(i, 1));
        assert_int_equal(idempotency_n_entries(i), n_fit);
        assert_true(idempotency_size(i) <= LIMIT_IDEMPOTENCY_TOTAL);
        idempotency_free(i);
}

static void expect_facts(const char *head, const char *expected)
{
        struct idempotency *i = idempotency_new();
        struct idempotency_entry *e = add(i, 1);
        char *copy = strndup(head, strlen(head)), *text;

        idempotency_keep_facts(i, e, copy, strlen(copy), 1);
        free(copy);
        assert_true(e->has_ended);
        assert_false(e->reply.is_set);
        text = json_dumps(e->facts, JSON_COMPACT);
        assert_string_equal(text, expected);
        free(text);
        idempotency_free(i);
}

static void test_facts(void **state)
{
        (void)state;
        expect_facts("", "{}");
        expect_facts("no json at all", "{}");
        expect_facts("{\"a\":1", "{}"); /* perhaps 12 */
        expect_facts("{\"a\":1,", "{\"a\":1}");
        expect_facts("{\"a\":1,\"b\":\"cut", "{\"a\":1}");
        expect_facts("{\"a\":{\"b\":[1,2],\"c\":3},\"d\":[1,", "{\"a\":{\"b\":[1,2],\"c\":3}}");
        expect_facts("{\"a\":\"},\\\",{\\\\\",\"b\":\"x\\", "{\"a\":\"},\\\",{\\\\\"}");
        expect_facts("]]]],\"a\":1,\"b\":2", "{}");
}

static void test_facts_of_a_large_answer(void **state)
{
        const size_t size = 2 * LIMIT_IDEMPOTENCY_FACTS;
        char *head = xcalloc(1, size + 1);

        (void)state;
        memset(head, 'x', size);
        memcpy(head, "{\"exit_code\":3,\"stdout\":\"", 25);
        head[size - 2] = '"'; /* complete, but too late */
        head[size - 1] = ',';
        expect_facts(head, "{\"exit_code\":3}");
        free(head);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_digest), cmocka_unit_test(test_ids),
                cmocka_unit_test(test_life),   cmocka_unit_test(test_expiry),
                cmocka_unit_test(test_number), cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_facts),  cmocka_unit_test(test_facts_of_a_large_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
