/* SPDX-License-Identifier: Apache-2.0 */

/* The store of results: what is found and for how long, the bounds of bytes and number, runs, and clearing. And the
 * digests that are its keys. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/clock.h"
#include "agent/base/limits.h"
#include "handlers/cache/results.h"
#include "proc/digest.h"
#include "tests/lib/loop_fixture.h"

#define SIZE   ((uint64_t)(8 * 64 * KIB)) /* of a store; a result may have an eighth */
#define ALWAYS UINT64_MAX

struct key {
        uint8_t bytes[RESULTS_KEY];
};

/* The first bytes are the same: they share a bucket. */
static struct key key_of(unsigned n)
{
        struct key k = { { 0 } };

        memcpy(k.bytes + 8, &n, sizeof(n));
        return k;
}

static void set_time(uint64_t ms)
{
        clock_set_fake(ms * 1000, 1700000000);
}

static bool put(struct results *r, unsigned n, size_t size, uint64_t ttl_ms)
{
        char *text = xcalloc(1, size + 1);

        memset(text, 'a' + (int)(n % 26), size);
        return results_put(r, key_of(n).bytes, text, size, ttl_ms, SIZE);
}

static bool has(struct results *r, unsigned n, uint64_t max_age_ms)
{
        struct results_found found;

        if (!results_find(r, key_of(n).bytes, max_age_ms, &found))
                return false;
        results_text_unref(found.text);
        return true;
}

static struct results_totals total(struct results *r)
{
        struct results_totals t;

        results_total(r, &t);
        return t;
}

static struct results *begin(void **state)
{
        set_time(1000);
        return results_new(*state);
}

static void end(void **state, struct results *r)
{
        clock_set_fake(0, -1);
        assert_null(results_free(r));
        (void)uv_run(&((struct loop *)*state)->uv, UV_RUN_DEFAULT);
}

static void test_life(void **state)
{
        struct results *r = begin(state);
        struct results_found found, again;
        size_t size;

        assert_false(has(r, 1, ALWAYS));
        assert_true(put(r, 1, 5, 1000));
        assert_false(has(r, 2, ALWAYS));
        set_time(1300);
        assert_true(results_find(r, key_of(1).bytes, ALWAYS, &found));
        assert_int_equal(found.age_ms, 300);

        /* It is replaced, and what was found before stays what it was. */
        assert_true(put(r, 1, 7, 1000));
        assert_int_equal(total(r).n_entries, 1);
        assert_true(results_find(r, key_of(1).bytes, ALWAYS, &again));
        assert_int_equal(again.age_ms, 0);
        assert_memory_equal(results_text_data(again.text, &size), "bbbbbbb", 7);
        assert_int_equal(size, 7);
        assert_memory_equal(results_text_data(found.text, &size), "bbbbb", 5);
        assert_int_equal(size, 5);
        end(state, r);
        assert_null(results_text_unref(found.text));
        assert_null(results_text_unref(again.text));
        assert_null(results_text_unref(NULL));
        assert_null(results_free(NULL));
}

static void test_time(void **state)
{
        struct results *r = begin(state);

        assert_true(put(r, 1, 5, 1000));
        assert_true(put(r, 2, 5, 3000));
        set_time(1500);
        assert_true(has(r, 1, 501));
        assert_false(has(r, 1, 500)); /* too old for this one, but not for others */
        assert_false(has(r, 1, 0));
        set_time(1999);
        assert_true(has(r, 1, ALWAYS));
        set_time(2000);
        assert_int_equal(total(r).n_entries, 1); /* gone, though nobody asked for it */
        assert_false(has(r, 1, ALWAYS));
        assert_true(has(r, 2, ALWAYS));
        results_skip(r, 1999); /* as if it were 3999 */
        assert_true(has(r, 2, ALWAYS));
        assert_true(put(r, 3, 5, 1));
        assert_true(has(r, 3, 1)); /* what comes later is not older */
        results_skip(r, 1);
        assert_false(has(r, 3, ALWAYS));
        assert_false(has(r, 2, ALWAYS));
        assert_int_equal(total(r).n_entries, 0);
        assert_int_equal(total(r).size, 0);
        assert_int_equal(total(r).evicted, 0);
        end(state, r);
}

static void test_bytes(void **state)
{
        struct results *r = begin(state);
        size_t largest = 0, size = SIZE / 8;

        while (results_fits(largest + 1, SIZE))
                largest++;
        assert_in_range(largest, size - 512, size - 1);
        assert_false(put(r, 0, largest + 1, 1000));
        assert_int_equal(total(r).n_entries, 0);

        for (unsigned n = 1; n <= 8; n++)
                assert_true(put(r, n, largest, 1000));
        assert_int_equal(total(r).n_entries, 8);
        assert_int_equal(total(r).size, SIZE);
        assert_true(has(r, 1, ALWAYS)); /* used: 2 is the oldest now */
        assert_true(put(r, 9, 10, 1000));
        assert_true(has(r, 1, ALWAYS));
        assert_false(has(r, 2, ALWAYS));
        assert_true(has(r, 3, ALWAYS));
        assert_int_equal(total(r).evicted, 1);
        assert_true(total(r).size <= SIZE);

        /* The option became smaller. */
        results_shrink(r, SIZE);
        assert_int_equal(total(r).evicted, 1);
        results_shrink(r, SIZE / 2);
        assert_in_range(total(r).size, 1, SIZE / 2);
        assert_true(has(r, 9, ALWAYS));
        assert_true(results_put(r, key_of(10).bytes, xcalloc(1, 8), 8, 1000, 64 * KIB));
        assert_true(total(r).size <= 64 * KIB);
        assert_true(has(r, 10, ALWAYS));
        end(state, r);
}

static void test_number(void **state)
{
        struct results *r = begin(state);

        for (unsigned n = 0; n < LIMIT_CACHE_ENTRIES + 10; n++) {
                uint8_t key[RESULTS_KEY] = { (uint8_t)n, (uint8_t)(n >> 8) };

                assert_true(results_put(r, key, xcalloc(1, 1), 1, 1000, GIB));
        }
        assert_int_equal(total(r).n_entries, LIMIT_CACHE_ENTRIES);
        assert_int_equal(total(r).evicted, 10);
        assert_int_equal(total(r).stored, LIMIT_CACHE_ENTRIES + 10);
        end(state, r);
}

static void test_runs(void **state)
{
        struct results *r = begin(state);
        struct results_run one = { .key = { 1 } }, two = { .key = { 2 } };
        uint64_t n, size;

        assert_null(results_find_run(r, one.key));
        results_begin(r, &one);
        results_begin(r, &two);
        assert_ptr_equal(results_find_run(r, one.key), &one);
        assert_ptr_equal(results_find_run(r, two.key), &two);
        assert_true(results_end(&one));
        assert_false(results_end(&one));
        assert_null(results_find_run(r, one.key));

        /* What runs when everything is forgotten brings nothing that may be kept. */
        results_clear(r, &n, &size);
        assert_null(results_find_run(r, two.key));
        assert_false(results_end(&two));
        results_begin(r, &two);
        end(state, r);
        assert_false(results_end(&two));
}

static void test_clear(void **state)
{
        struct results *r = begin(state);
        struct results_found found;
        uint64_t n, size, before;
        size_t length;

        for (unsigned i = 0; i < 5; i++)
                assert_true(put(r, i, 1000, i == 4 ? 1 : 5000));
        results_count(r, true);
        results_count(r, false);
        results_count(r, true);
        set_time(2000);
        before = total(r).size;
        assert_true(results_find(r, key_of(3).bytes, ALWAYS, &found));
        results_clear(r, &n, &size);
        assert_int_equal(n, 4); /* the fifth was over */
        assert_int_equal(size, before);
        assert_int_equal(total(r).n_entries, 0);
        assert_int_equal(total(r).size, 0);
        assert_int_equal(total(r).hits, 2);
        assert_int_equal(total(r).misses, 1);
        assert_false(has(r, 3, ALWAYS));
        assert_int_equal(results_text_data(found.text, &length)[999], 'd');
        results_clear(r, &n, &size);
        assert_int_equal(n, 0);
        assert_int_equal(size, 0);
        assert_true(put(r, 3, 5, 1000));
        end(state, r);
        results_text_unref(found.text);
}

static struct key digest_of(const char *const *parts, size_t n)
{
        struct digest d;
        struct key k;

        digest_init(&d);
        for (size_t i = 0; i < n; i++)
                digest_text(&d, parts[i]);
        digest_end(&d, k.bytes);
        return k;
}

static void test_digests(void **state)
{
        static const char *const lists[][2] = { { "ab", "c" }, { "a", "bc" },   { "abc", "" },
                                                { "", "abc" }, { "abc", NULL }, { NULL, "abc" } };
        struct key keys[6];
        char hex[DIGEST_HEX_SIZE];

        (void)state;
        for (unsigned i = 0; i < 6; i++) {
                struct key again;

                keys[i] = digest_of(lists[i], 2);
                again = digest_of(lists[i], 2);
                assert_memory_equal(&keys[i], &again, sizeof(again));
                for (unsigned k = 0; k < i; k++)
                        assert_memory_not_equal(&keys[i], &keys[k], sizeof(keys[i]));
        }
        digest_hex((uint8_t[DIGEST_SIZE]){ 0x0f, 0xa0 }, hex);
        assert_int_equal(strlen(hex), 64);
        assert_memory_equal(hex, "0fa000", 6);
}

static struct key digest_of_file(const char *path)
{
        struct digest d;
        struct key k;

        digest_init(&d);
        digest_file(&d, path);
        digest_end(&d, k.bytes);
        return k;
}

static void test_file_digests(void **state)
{
        char path[] = "/tmp/test-result-cache-XXXXXX";
        int fd = mkstemp(path);
        struct key before, after;

        (void)state;
        assert_true(fd >= 0);
        before = digest_of_file(path);
        after = digest_of_file(path);
        assert_memory_equal(&before, &after, sizeof(after));
        assert_int_equal(write(fd, "x", 1), 1);
        after = digest_of_file(path);
        assert_memory_not_equal(&before, &after, sizeof(after));
        assert_int_equal(unlink(path), 0);
        before = digest_of_file(path);
        assert_memory_not_equal(&before, &after, sizeof(after));
        close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_life, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_time, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_bytes, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_number, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_runs, loop_setup, loop_teardown),
                cmocka_unit_test_setup_teardown(test_clear, loop_setup, loop_teardown),
                cmocka_unit_test(test_digests),
                cmocka_unit_test(test_file_digests),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
