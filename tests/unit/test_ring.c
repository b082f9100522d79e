/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/alloc.h"
#include "agent/base/ring.h"

/* The bytes from @offset on must be @expected; they are copied for that, so that a sanitizer sees
 * slices which are too long. */
static void check_from(const struct ring *r, uint64_t offset, const char *expected, size_t size)
{
        CLEANUP(mem_free) char *copy = malloc(size + 1);
        struct ring_slice slices[2];
        unsigned n;

        assert_int_equal(r->end - offset, size);
        n = ring_peek(r, offset, slices);
        assert_int_equal(slices[0].size + slices[1].size, size);
        assert_int_equal(n, (slices[0].size > 0) + (slices[1].size > 0));
        assert_true(slices[0].size > 0 || slices[1].size == 0);
        memcpy(copy, slices[0].data, slices[0].size);
        memcpy(copy + slices[0].size, slices[1].data, slices[1].size);
        assert_memory_equal(copy, expected, size);
}

static void check(const struct ring *r, uint64_t start, const char *expected, size_t size)
{
        assert_int_equal(r->start, start);
        assert_int_equal(ring_size(r), size);
        assert_true(r->capacity <= r->max);
        assert_int_equal(r->data != NULL, r->capacity > 0);
        check_from(r, start, expected, size);
}

/* Bytes with which no two places of a ring look alike. */
static char *make_noise(size_t size)
{
        char *data = malloc(size);

        for (size_t i = 0; i < size; i++)
                data[i] = (char)(random() >> 8);
        return data;
}

static void test_empty(void **state)
{
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 100);
        check(&r, 0, "", 0);
        ring_append(&r, NULL, 0);
        ring_discard(&r, 0);
        check(&r, 0, "", 0);
        assert_null(r.data);
}

static void test_wraps(void **state)
{
        CLEANUP(ring_done) struct ring r;
        struct ring_slice slices[2];

        (void)state;
        ring_init(&r, 8);
        ring_append(&r, "abcdef", 6);
        check(&r, 0, "abcdef", 6);
        ring_append(&r, "ghij", 4);
        check(&r, 2, "cdefghij", 8);
        assert_int_equal(ring_peek(&r, 2, slices), 2);
        check_from(&r, 7, "hij", 3);
        check_from(&r, 8, "ij", 2);
        check_from(&r, 10, "", 0);
        ring_append(&r, "klmnopqr", 8); /* exactly all */
        check(&r, 10, "klmnopqr", 8);
        assert_int_equal(r.capacity, 8);

        ring_done(&r);
        check(&r, 0, "", 0);
        ring_append(&r, "123456789", 9); /* with the same cap */
        check(&r, 1, "23456789", 8);
}

static void test_larger_than_max(void **state)
{
        CLEANUP(mem_free) char *noise = make_noise(50000);
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 10000);
        ring_append(&r, noise, 50000); /* into nothing */
        check(&r, 40000, noise + 40000, 10000);
        ring_append(&r, noise, 77);
        ring_append(&r, noise, 50000); /* over something that is wrapped */
        check(&r, 90077, noise + 40000, 10000);
}

static void test_keeps_nothing(void **state)
{
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 0);
        ring_append(&r, "abc", 3);
        check(&r, 3, "", 0);
        assert_null(r.data);
}

/* From every kind of fill of the first 4 KiB, by doubling and up to a cap that is no power of two. */
static void grow_from(size_t head, size_t used, size_t more, const char *noise)
{
        CLEANUP(ring_done) struct ring r;
        struct ring_slice slices[2];

        ring_init(&r, 20000);
        ring_append(&r, noise, head + 1);
        ring_discard(&r, head); /* an empty ring would begin anew */
        ring_append(&r, noise + head + 1, used - 1);
        assert_int_equal(r.capacity, 4096);
        assert_int_equal(ring_peek(&r, head, slices), head + used > 4096 ? 2 : 1);

        ring_append(&r, noise + head + used, more);
        assert_true(r.capacity > 4096);
        check(&r, head, noise + head, used + more);
        ring_append(&r, noise + head + used + more, 16000);
        check(&r, head + used + more - 4000, noise + head + used + more - 4000, 20000);
}

static void test_grows_while_wrapped(void **state)
{
        CLEANUP(mem_free) char *noise = make_noise(40000);

        (void)state;
        for (size_t head = 0; head < 4096; head += 105) /* 4095 is one of them */
                for (size_t used = 1; used <= 4096; used += 117)
                        for (size_t more = 4096; more < 15000; more += 3600)
                                grow_from(head, used, more, noise);
}

/* Capacity follows the content: 4 KiB at first, doubled, never over the cap. */
static void test_capacity(void **state)
{
        CLEANUP(mem_free) char *noise = make_noise(20000);
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 20000);
        ring_append(&r, noise, 1);
        assert_int_equal(r.capacity, 4096);
        ring_append(&r, noise + 1, 4096);
        assert_int_equal(r.capacity, 8192);
        ring_append(&r, noise + 4097, 12287);
        assert_int_equal(r.capacity, 16384);
        ring_append(&r, noise + 16384, 1);
        assert_int_equal(r.capacity, 20000);
        check(&r, 0, noise, 16385);
}

static void test_discard(void **state)
{
        CLEANUP(mem_free) char *noise = make_noise(200000);
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 200000);
        ring_append(&r, noise, 64 * KIB);
        ring_discard(&r, 1000);
        check(&r, 1000, noise + 1000, 64 * KIB - 1000);
        ring_discard(&r, 10); /* long gone */
        check(&r, 1000, noise + 1000, 64 * KIB - 1000);
        ring_discard(&r, 64 * KIB);
        check(&r, 64 * KIB, "", 0);
        assert_int_equal(r.capacity, 64 * KIB); /* worth keeping */

        ring_append(&r, noise, 64 * KIB + 1);
        assert_true(r.capacity > 64 * KIB);
        ring_discard(&r, 128 * KIB);
        assert_true(r.capacity > 64 * KIB); /* there is one byte left */
        check(&r, 128 * KIB, noise + 64 * KIB, 1);
        ring_discard(&r, 128 * KIB + 1);
        check(&r, 128 * KIB + 1, "", 0);
        assert_int_equal(r.capacity, 0);

        ring_append(&r, "again", 5); /* the offsets go on */
        check(&r, 128 * KIB + 1, "again", 5);
}

static void test_no_memory(void **state)
{
        CLEANUP(mem_free) char *noise = make_noise(20000);
        CLEANUP(ring_done) struct ring r;

        (void)state;
        ring_init(&r, 20000);
        alloc_fail_after(1);
        ring_append(&r, noise, 100); /* none at all */
        check(&r, 100, "", 0);
        assert_null(r.data);

        ring_append(&r, noise + 100, 4000);
        check(&r, 100, noise + 100, 4000);
        alloc_fail_after(1);
        ring_append(&r, noise + 4100, 200); /* no more than 4 KiB */
        check(&r, 204, noise + 204, 4096);
        alloc_fail_after(1);
        ring_append(&r, noise + 4300, 5000); /* more than that at once */
        check(&r, 9300 - 4096, noise + 9300 - 4096, 4096);

        ring_append(&r, noise + 9300, 1000); /* it has come back */
        check(&r, 9300 - 4096, noise + 9300 - 4096, 5096);
        alloc_fail_after(0);
}

/* The same as a ring: a plain array that is moved. */
struct model {
        char *data;
        size_t size;
        uint64_t start;
};

static void model_forget(struct model *m, size_t size)
{
        m->size -= size;
        m->start += size;
        memmove(m->data, m->data + size, m->size);
}

static void run_against_model(size_t max, const char *noise, size_t noise_size)
{
        size_t largest = max + max / 4 + 8;
        struct model m = { .data = malloc(max + largest) };
        CLEANUP(ring_done) struct ring r;

        assert_true(largest < noise_size);
        ring_init(&r, max);
        for (unsigned i = 0; i < 2000; i++) {
                unsigned kind = (unsigned)random() % 16;

                if (kind < 12) {
                        size_t limit = kind == 0 ? largest : kind < 4 ? max / 8 + 1 : max / 64 + 8;
                        size_t size = (size_t)random() % limit;
                        const char *src = noise + (size_t)random() % (noise_size - size);
                        bool fails = m.size + size > r.capacity && random() % 8 == 0;
                        size_t kept = fails ? r.capacity : max;

                        alloc_fail_after(fails ? 1 : 0);
                        ring_append(&r, src, size);
                        alloc_fail_after(0);
                        memcpy(m.data + m.size, src, size);
                        m.size += size;
                        if (m.size > kept)
                                model_forget(&m, m.size - kept);
                } else {
                        size_t size = kind == 15 ? m.size : (size_t)random() % (m.size / 4 + 1);

                        ring_discard(&r, m.start + size);
                        model_forget(&m, size);
                }

                check(&r, m.start, m.data, m.size);
                if (m.size > 0) {
                        size_t skip = (size_t)random() % m.size;

                        check_from(&r, m.start + skip, m.data + skip, m.size - skip);
                }
        }
        free(m.data);
}

static void test_against_model(void **state)
{
        static const size_t caps[] = { 1, 2, 7, 100, 4095, 4096, 4097, 8192, 10000, 70000, 200000 };
        size_t noise_size = 300000;
        CLEANUP(mem_free) char *noise = make_noise(noise_size);

        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(caps); i++)
                run_against_model(caps[i], noise, noise_size);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_wraps),
                cmocka_unit_test(test_larger_than_max),
                cmocka_unit_test(test_keeps_nothing),
                cmocka_unit_test(test_grows_while_wrapped),
                cmocka_unit_test(test_capacity),
                cmocka_unit_test(test_discard),
                cmocka_unit_test(test_no_memory),
                cmocka_unit_test(test_against_model),
        };

        srandom(1); /* the same run every time */
        return cmocka_run_group_tests(tests, NULL, NULL);
}
