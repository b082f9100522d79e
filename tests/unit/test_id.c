/* SPDX-License-Identifier: Apache-2.0 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include <cmocka.h>

#include "agent/base/id.h"

/* In place of the kernel's. */
static unsigned char next_random;
static unsigned n_calls;

ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
        (void)flags;
        n_calls++;
        memset(buffer, next_random, size);
        return (ssize_t)size;
}

/* A machine may be saved and started many times. If ids came from anything that was drawn before, they would be the
 * same in all of them. */
static void test_nothing_is_kept_from_before(void **state)
{
        char id[ID_SIZE];

        (void)state;
        n_calls = 0;
        for (unsigned i = 0; i < 3; i++) {
                next_random = (unsigned char)(0xa0 + i);
                (void)id_new(id, "");
                assert_int_equal(n_calls, i + 1);
                assert_int_equal(strspn(id, (char[]){ 'a', (char)('0' + i), '\0' }), 24);
        }
}

static void test_form(void **state)
{
        char id[ID_SIZE];

        (void)state;
        assert_ptr_equal(id_new(id, "req_"), id);
        assert_int_equal(strlen(id), 28);
        assert_memory_equal(id, "req_", 4);
        assert_int_equal(strspn(id + 4, "0123456789abcdef"), 24);

        assert_int_equal(strlen(id_new(id, "12345678")), 32);
        assert_int_equal(strlen(id_new(id, "")), 24);
}

static void test_differ(void **state)
{
        char ids[64][ID_SIZE];

        (void)state;
        for (size_t i = 0; i < 64; i++) {
                next_random = (unsigned char)i;
                id_new(ids[i], "x");
                for (size_t k = 0; k < i; k++)
                        assert_string_not_equal(ids[i], ids[k]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_differ),
                cmocka_unit_test(test_nothing_is_kept_from_before),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
